"""Features on disk: Parquet files keyed by picture, one folder for each extractor fingerprint.

Every finished stretch of work becomes one more part file, so that an extraction cut off anywhere goes on from
there. Many small parts are merged when they are read, so that a cache filled a few pictures at a time stays fast.
"""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

import numpy as np

from datadouble import files

MERGE_FROM = 16  # small parts: fewer are read in no time
SMALL = 8 * 2**20  # bytes; a full part of 2,048 pictures and 1,280 values is 10 MB
MERGED = 256 * 2**20  # bytes of features in one merged part


class FeatureCache:
    """Maps picture hashes to feature vectors in ``folder/<extractor>-<fingerprint>/``.

    Parameters
    ----------
    folder : Path or None
        None keeps nothing.
    name, fingerprint : str
        Of the extractor; the fingerprint stands for weights, preprocessing and precision.
    """

    def __init__(self, folder: Path | None, name: str, fingerprint: str) -> None:
        self._folder = None if folder is None else Path(folder) / f"{name}-{fingerprint}"

    def read(self, wanted: Set[str], dimension: int) -> dict[str, np.ndarray]:
        """Vectors (dimension,) of those of the ``wanted`` hashes that are stored; damaged parts are passed over."""
        found: dict[str, np.ndarray] = {}
        if self._folder is None or not self._folder.is_dir():
            return found
        self._merge(dimension)
        done: set[Path] = set()
        # Another process may merge parts while this one reads: look again until nothing is new.
        while fresh := sorted(set(self._folder.glob("part-*.parquet")) - done):
            for part in fresh:
                keys, values = _read_part(part, wanted, dimension)
                found.update(zip(keys, values, strict=True))
            done.update(fresh)
        return found

    def write(self, keys: list[str], values: np.ndarray) -> None:
        """Store (n, d) float32 vectors as one more part, in one atomic step."""
        if self._folder is None or not keys:
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._folder.mkdir(parents=True, exist_ok=True)
        flat = pa.array(np.ascontiguousarray(values, dtype=np.float32).ravel())
        table = pa.table(
            {"picture": keys, "features": pa.FixedSizeListArray.from_arrays(flat, values.shape[1])}
        )
        sink = pa.BufferOutputStream()
        # Hashes and floats do not compress: a quarter is saved at ten times the reading time.
        pq.write_table(table, sink, compression="none", use_dictionary=False)
        files.write_bytes(self._part(keys), sink.getvalue().to_pybytes())

    def _part(self, keys: list[str]) -> Path:
        assert self._folder is not None
        return self._folder / f"part-{files.fingerprint(*keys)}.parquet"

    def _merge(self, dimension: int) -> None:
        """Write small parts together into large ones, then delete them; cut off in between, both stay."""
        import fcntl

        assert self._folder is not None
        small = []
        for part in sorted(self._folder.glob("part-*.parquet")):
            try:
                if part.stat().st_size < SMALL:
                    small.append(part)
            except OSError:
                continue  # another process has merged it
        if len(small) < MERGE_FROM:
            return
        pending: dict[str, np.ndarray] = {}
        sources: list[Path] = []

        def flush() -> None:
            if pending:
                keys = sorted(pending)
                self.write(keys, np.stack([pending[key] for key in keys]))
                for source in set(sources) - {self._part(keys)}:
                    source.unlink(missing_ok=True)
            pending.clear()
            sources.clear()

        with open(self._folder / ".merging", "wb") as lock:
            try:
                fcntl.flock(
                    lock, fcntl.LOCK_EX | fcntl.LOCK_NB
                )  # let go by the system if this process is killed
            except OSError:
                return  # another process is at it
            for part in small:
                keys, values = _read_part(part, None, dimension)
                if len(keys) == 0:
                    continue
                pending.update(zip(keys, values, strict=True))
                sources.append(part)
                if 4 * dimension * len(pending) > MERGED:
                    flush()
            flush()


def _read_part(part: Path, wanted: Set[str] | None, dimension: int) -> tuple[list[str], np.ndarray]:
    """Wanted keys of a part, and their vectors; none where it is damaged, gone, or of another dimension."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    nothing: tuple[list[str], np.ndarray] = ([], np.empty((0, dimension), np.float32))
    try:
        with pq.ParquetFile(part) as file:
            keys = file.read(columns=["picture"]).column("picture").to_pylist()
            rows = [row for row, key in enumerate(keys) if wanted is None or key in wanted]
            if not rows:
                return nothing
            column = file.read(columns=["features"]).column("features").combine_chunks()
        values = column.flatten().to_numpy().reshape(len(keys), -1)
    except (pa.ArrowException, OSError, ValueError, KeyError):
        return nothing  # its pictures are computed again
    if values.shape[1] != dimension:
        return nothing
    return [keys[row] for row in rows], values[rows] if len(rows) < len(keys) else values
