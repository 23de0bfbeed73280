"""Features of a cohort or of a sequence of pictures: cached, sharded, one batch of pictures in memory at a time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datadouble.audit.features.base import Extractor, ExtractorSource, Features
from datadouble.audit.features.cache import FeatureCache
from datadouble.audit.features.registry import load_extractor
from datadouble.cohort.pixels import fit_square, read_image
from datadouble.errors import DataDoubleError
from datadouble.progress import Bar

if TYPE_CHECKING:
    from datadouble.audit.pictures import Pictures
    from datadouble.cohort.cohort import Cohort

PART = 2048  # pictures in one part of the cache: about 10 MB of features, a minute's work on one core

# A picture to extract: an array, or a file with the name it has in messages.
Source = np.ndarray | tuple[Path, str]


def extract_features(
    pictures: Cohort | Pictures | Sequence[np.ndarray] | np.ndarray,
    extractor: str | Extractor = "efficientnet-lite0",
    *,
    weights: Path | str | None = None,
    precision: str = "auto",
    batch: int = 64,
    cache_dir: Path | None = None,
    processes: int = 1,
    at_size: int = 0,
) -> Features:
    """Feature vectors of every readable picture.

    Parameters
    ----------
    pictures : Cohort, Pictures, sequence of ndarray or ndarray
        A cohort, pictures already read, or uint8/uint16 arrays (H, W) or (H, W, 3), also as one array (n, H, W).
    extractor : str or Extractor
        Registry name, or a loaded extractor.
    weights : Path or str, optional
        Weight file or folder, where a name is given that needs one.
    precision : str
        Where a name is given: ``"fp32"``, ``"bf16"`` or ``"auto"``; see :func:`load_extractor`. Privacy asks for
        fp32.
    batch : int
        Pictures a forward pass.
    cache_dir : Path, optional
        Folder for the Parquet cache, keyed by picture, extractor, weights, preprocessing and precision.
    processes : int
        Shards, each a process that loads the extractor from the registry as it was loaded here (one built by hand
        runs in this process), with its share of the cores. In a script this needs the ``if __name__ ==
        "__main__"`` that Python's process pools ask for.
    at_size : int
        Bring every picture to this side first, then to the extractor's: so that a double of 128 px is compared with
        real pictures at 128 px. 0: no.

    Returns
    -------
    Features
        Rows in the order given; unreadable pictures are listed in ``broken``, with their reason, and left out.

    Raises
    ------
    DataDoubleError
        Where the extractor cannot be loaded, or no picture is readable.
    """
    loaded = (
        load_extractor(extractor, weights, precision=precision) if isinstance(extractor, str) else extractor
    )
    origin: ExtractorSource | None = getattr(loaded, "source", None)  # an extractor of others may have none
    sources, ids, patients, labels = _sources(pictures)
    keys, broken = _hashes(sources, ids)
    fingerprint = f"{loaded.fingerprint}-at{at_size}" if at_size else loaded.fingerprint
    cache = FeatureCache(cache_dir, loaded.name, fingerprint)
    known = cache.read({key for key in keys if key}, loaded.dimension)
    pending = [row for row, key in enumerate(keys) if key and key not in known]
    reasons: dict[int, str] = {}

    with Bar(f"features ({loaded.name})", total=len(pending)) as bar:
        workers: ProcessPoolExecutor | None = None
        if processes > 1 and len(pending) > batch and origin is not None:
            import multiprocessing

            threads = max(1, (os.cpu_count() or 1) // processes)
            workers = ProcessPoolExecutor(
                processes, multiprocessing.get_context("spawn"), _start_worker, (origin, threads)
            )
        try:
            for start in range(0, len(pending), PART):
                part = pending[start : start + PART]
                chunks = [part[i : i + batch] for i in range(0, len(part), batch)]
                work = [([sources[row] for row in chunk], at_size) for chunk in chunks]
                results: Iterator[tuple[np.ndarray, dict[int, str]]]
                results = workers.map(_work, work) if workers else (_extract_batch(loaded, *w) for w in work)
                fresh: dict[str, np.ndarray] = {}
                for chunk, (vectors, failed) in zip(chunks, results, strict=True):
                    reasons.update((chunk[position], reason) for position, reason in failed.items())
                    good = [row for position, row in enumerate(chunk) if position not in failed]
                    fresh.update((keys[row], vector) for row, vector in zip(good, vectors, strict=True))
                    bar.advance(len(chunk))
                if fresh:
                    cache.write(list(fresh), np.stack(list(fresh.values())))
                known.update(fresh)
        finally:
            if workers:
                workers.shutdown(cancel_futures=True)

    rows = np.array([row for row, key in enumerate(keys) if key in known], dtype=np.int64)
    broken += [(ids[row], reason) for row, reason in sorted(reasons.items())]
    if len(rows) == 0:
        raise DataDoubleError(
            "no readable picture",
            where=broken[0][0] if broken else "pictures",
            found=broken[0][1] if broken else "none given",
            remedy="run `datadouble check` on the cohort",
        )
    return Features(
        np.stack([known[keys[row]] for row in rows]).astype(np.float32, copy=False),
        np.array(ids)[rows],
        np.array(patients)[rows],
        np.array(labels)[rows],
        rows,
        fingerprint,
        broken,
    )


def _sources(
    pictures: Cohort | Pictures | Sequence[np.ndarray] | np.ndarray,
) -> tuple[list[Source], list[str], list[str], list[str]]:
    from datadouble.audit.pictures import Pictures
    from datadouble.cohort.cohort import Cohort

    if isinstance(pictures, Cohort):
        table = pictures.table
        paths: list[Source] = [(pictures.path / str(name), str(name)) for name in table["file_name"]]
        return paths, list(table["image_id"]), list(table["patient_id"]), list(table["label"])
    if isinstance(pictures, Pictures):
        columns = (pictures.image_ids, pictures.patients, pictures.labels)
        ids, patients, labels = ([str(value) for value in column] for column in columns)
        return list(pictures.array), ids, patients, labels
    arrays: list[Source] = list(pictures)
    return arrays, [str(i) for i in range(len(arrays))], [""] * len(arrays), [""] * len(arrays)


def _hashes(sources: Sequence[Source], ids: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """A key for each picture, from its file's bytes or its pixels; ``""`` and a reason where a file is missing."""
    keys, broken = [], []
    for source, image_id in zip(sources, ids, strict=True):
        if isinstance(source, np.ndarray):
            header = f"{source.dtype}{source.shape}".encode()
            keys.append(hashlib.sha256(header + np.ascontiguousarray(source).tobytes()).hexdigest())
            continue
        try:
            keys.append(hashlib.sha256(source[0].read_bytes()).hexdigest())
        except OSError:
            keys.append("")
            broken.append((image_id, f"{source[1]}: file cannot be read"))
    return keys, broken


def _extract_batch(
    extractor: Extractor, sources: Sequence[Source], at_size: int
) -> tuple[np.ndarray, dict[int, str]]:
    """Vectors of the readable pictures, in order, and why each of the others failed (position -> reason)."""
    prepared, failed = [], {}
    for position, source in enumerate(sources):
        try:
            picture = source if isinstance(source, np.ndarray) else read_image(source[0], name=source[1])
            if at_size:
                picture = fit_square(picture, at_size)
            scale = 255.0 / np.iinfo(picture.dtype).max
            prepared.append(fit_square(picture, extractor.input_size).astype(np.float32) * scale)
        except (DataDoubleError, ValueError) as error:
            failed[position] = str(error)
    if not prepared:
        return np.empty((0, extractor.dimension), np.float32), failed
    return extractor.features(np.stack(prepared)), failed


_worker_extractor: list[Extractor] = []  # one in each worker process, set by its initialiser


def _start_worker(origin: ExtractorSource, threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    _worker_extractor[:] = [load_extractor(origin.name, origin.weights, precision=origin.precision)]


def _work(work: tuple[Sequence[Source], int]) -> tuple[np.ndarray, dict[int, str]]:
    return _extract_batch(_worker_extractor[0], *work)
