"""Copies of training pictures, and of pieces of them, in a double: the search of `datadouble.matching`, resumable.

What it takes to be a copy is learnt from real pictures of other patients (see `copy_threshold`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datadouble.audit.features.cache import FeatureCache
from datadouble.matching.gallery import Gallery, check_pictures
from datadouble.matching.search import Matches, pack, search_gallery, unpack, width
from datadouble.progress import Bar

_CHUNK = 32  # queries at a time, and pictures in one part of the cache


def join_matches(parts: Sequence[Matches]) -> Matches:
    """Matches of several sets of pictures in the same gallery, one after another."""
    return Matches(*(np.concatenate(values) for values in zip(*parts)))


def find_matches(
    pictures: np.ndarray,
    gallery: Gallery,
    *,
    left_out: Sequence[np.ndarray] | None = None,
    cache_dir: Path | None = None,
    description: str = "copies",
) -> Matches:
    """Best match of every picture in the gallery.

    Parameters
    ----------
    pictures : ndarray
        (n, s, s) uint8, of any s.
    gallery : Gallery
    left_out : sequence of ndarray, optional
        For each picture the gallery rows that do not count: for training pictures, those of their own patient.
    cache_dir : Path, optional
        Finished pictures are kept there; a search that was cut off goes on from it.

    Notes
    -----
    Memory: the gallery, and about 150 MB. A picture's matches do not depend on the others'.
    """
    check_pictures(pictures)
    cache = FeatureCache(cache_dir, "copies", gallery.fingerprint)
    keys = [
        hashlib.sha256(
            np.ascontiguousarray(p).tobytes()
            + str(p.shape).encode()
            + (b"" if left_out is None else np.asarray(left_out[i], np.int64).tobytes())
        ).hexdigest()
        for i, p in enumerate(pictures)
    ]
    columns = width(gallery)
    known = cache.read(set(keys), columns)
    pending = [i for i, key in enumerate(keys) if key not in known]
    with Bar(description, total=len(pictures), done=len(pictures) - len(pending)) as bar:
        for start in range(0, len(pending), _CHUNK):
            part = pending[start : start + _CHUNK]
            found = pack(
                search_gallery(
                    pictures[part],
                    gallery,
                    left_out=None if left_out is None else [left_out[i] for i in part],
                )
            )
            cache.write([keys[i] for i in part], found)
            known.update((keys[i], values) for i, values in zip(part, found))
            bar.advance(len(part))
    if not len(keys):
        return unpack(np.zeros((0, columns), np.float32))
    return unpack(np.stack([known[key] for key in keys]))
