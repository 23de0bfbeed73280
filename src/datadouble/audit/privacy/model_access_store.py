"""Figures of each batch of pictures on disk, so that a cut-off measurement goes on where it stopped."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from datadouble import files


class PartStore:
    """One .npy file a batch, in a folder named after all that decides the figures.

    Parameters
    ----------
    cache_dir : Path or None
        None keeps nothing.
    *key : str
        Whatever besides the pictures and labels decides the figures.
    pictures, labels : ndarray
        (n, c, h, w) and (n,).
    """

    def __init__(self, cache_dir: Path | None, *key: str, pictures: np.ndarray, labels: np.ndarray) -> None:
        self._folder: Path | None = None
        if cache_dir is None:
            return
        content = np.ascontiguousarray(pictures, dtype=np.float32)
        name = files.fingerprint(
            *key, repr(content.shape), content.tobytes(), np.asarray(labels, dtype=np.int64).tobytes()
        )
        self._folder = Path(cache_dir) / f"probes-{name}"
        self._folder.mkdir(parents=True, exist_ok=True)

    def has(self, start: int) -> bool:
        """Whether the batch that begins at row `start` is there."""
        path = self._path(start)
        return path is not None and path.is_file()

    def load(self, start: int) -> np.ndarray | None:
        """Return the batch's figures, or None."""
        path = self._path(start)
        return np.load(path, allow_pickle=False) if path is not None and path.is_file() else None

    def save(self, start: int, part: np.ndarray) -> None:
        """Keep the batch's figures."""
        path = self._path(start)
        if path is not None:
            buffer = io.BytesIO()
            np.save(buffer, part, allow_pickle=False)
            files.write_bytes(path, buffer.getvalue())

    def _path(self, start: int) -> Path | None:
        return None if self._folder is None else self._folder / f"{start:07d}.npy"
