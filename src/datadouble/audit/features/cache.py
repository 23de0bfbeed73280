"""Features on disk: Parquet files keyed by picture, one folder for each extractor fingerprint.

Every finished stretch of work becomes one more part file, so that an extraction cut off anywhere goes on from there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datadouble import files


class FeatureCache:
    """Maps picture hashes to feature vectors in ``folder/<extractor>-<fingerprint>/``.

    Parameters
    ----------
    folder : Path or None
        None keeps nothing.
    name, fingerprint : str
        Of the extractor.
    """

    def __init__(self, folder: Path | None, name: str, fingerprint: str) -> None:
        self._folder = None if folder is None else Path(folder) / f"{name}-{fingerprint}"

    def read(self, wanted: set[str], dimension: int) -> dict[str, np.ndarray]:
        """Vectors (dimension,) of those of the ``wanted`` hashes that are stored; damaged parts are passed over."""
        found: dict[str, np.ndarray] = {}
        if self._folder is None or not self._folder.is_dir():
            return found
        import pyarrow as pa
        import pyarrow.parquet as pq

        for part in sorted(self._folder.glob("part-*.parquet")):
            try:
                table = pq.read_table(part)
                keys = table.column("picture").to_pylist()
                values = table.column("features").combine_chunks().flatten().to_numpy().reshape(len(keys), -1)
            except (pa.ArrowException, OSError, ValueError, KeyError):
                continue  # its pictures are computed again
            if values.shape[1] == dimension:
                found.update((key, values[row]) for row, key in enumerate(keys) if key in wanted)
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
        pq.write_table(table, sink, compression="zstd")
        files.write_bytes(
            self._folder / f"part-{files.fingerprint(*keys)}.parquet", sink.getvalue().to_pybytes()
        )
