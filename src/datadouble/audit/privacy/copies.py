"""Copies of training pictures, and of pieces of them, in a double: exhaustive search, alignment, local comparison.

Every picture is searched in the whole gallery by local patches and as a whole; the best candidates are aligned and
compared pixel by pixel. A picture's evidence is its best local correlation over boxes of several
sizes; what it takes to be a copy is learnt from real pictures of other patients (see `copy_threshold`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from datadouble.audit.features.cache import FeatureCache
from datadouble.audit.privacy import alignment, candidates
from datadouble.audit.privacy.alignment import WINDOWS
from datadouble.audit.privacy.candidates import Hypotheses
from datadouble.audit.privacy.copy_gallery import Gallery, check_pictures
from datadouble.audit.privacy.keypoints import SIDE, Blobs, find_blobs, to_working
from datadouble.progress import Bar

CANDIDATES = 12  # pairs of a query that are aligned, from patches
LESIONS = 8  # more pairs, from the patches of lesions alone
VIEWS = 2  # pairs of a query that are aligned, from each other view
ALIGNED = 6  # pairs of a query whose alignment is refined over the whole picture
_CHUNK = 32  # queries at a time, and pictures in one part of the cache


class Matches(NamedTuple):
    """The best match of each of n pictures, for boxes of several sizes.

    Parameters
    ----------
    correlation : ndarray
        (n, windows): greatest local correlation after alignment, for each size of ``alignment.WINDOWS``.
    row : ndarray
        (n, windows): row of the gallery picture.
    mirrored : ndarray of bool
        (n, windows).
    place : ndarray
        (n, windows, 2): left, top of the box in the picture, working pixels (of ``keypoints.SIDE``).
    transform : ndarray
        (n, windows, 4): where the box lies in the gallery picture (see :mod:`.alignment`), mirrored beforehand.
    """

    correlation: np.ndarray
    row: np.ndarray
    mirrored: np.ndarray
    place: np.ndarray
    transform: np.ndarray

    def rows(self, keep: np.ndarray) -> Matches:
        """The matches of some pictures."""
        return Matches(*(values[keep] for values in self))


def join_matches(parts: Sequence[Matches]) -> Matches:
    """Matches of several sets of pictures in the same gallery, one after another."""
    return Matches(*(np.concatenate(values) for values in zip(*parts)))


def find_matches(
    pictures: np.ndarray,
    gallery: Gallery,
    *,
    views: Sequence[np.ndarray] = (),
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
    views : sequence of ndarray
        Further candidates, (n, k) gallery rows each: nearest neighbours by deep features, say (see
        :func:`feature_view`).
    left_out : sequence of ndarray, optional
        For each picture the gallery rows that do not count: for training pictures, those of their own patient.
    cache_dir : Path, optional
        Finished pictures are kept there; a search that was cut off goes on from it.

    Notes
    -----
    Memory: the gallery, and about 150 MB. A picture's matches do not depend on the others'.
    """
    check_pictures(pictures)
    width = len(WINDOWS) * 9
    cache = FeatureCache(cache_dir, "copies", gallery.fingerprint)
    keys = [
        hashlib.sha256(
            np.ascontiguousarray(p).tobytes()
            + str(p.shape).encode()
            + b"".join(np.asarray(v[i], np.int64).tobytes() for v in views)
            + (b"" if left_out is None else np.asarray(left_out[i], np.int64).tobytes())
        ).hexdigest()
        for i, p in enumerate(pictures)
    ]
    known = cache.read(set(keys), width)
    pending = [i for i, key in enumerate(keys) if key not in known]
    with Bar(description, total=len(pictures), done=len(pictures) - len(pending)) as bar:
        for start in range(0, len(pending), _CHUNK):
            part = pending[start : start + _CHUNK]
            found = _search(
                pictures[part],
                gallery,
                [np.asarray(v)[part] for v in views],
                None if left_out is None else [left_out[i] for i in part],
            )
            cache.write([keys[i] for i in part], found)
            known.update((keys[i], values) for i, values in zip(part, found))
            bar.advance(len(part))
    if not len(keys):
        return _unpack(np.zeros((0, width), np.float32))
    return _unpack(np.stack([known[key] for key in keys]))


def feature_view(
    queries: np.ndarray, mirrored: np.ndarray | None, gallery: np.ndarray, *, k: int = VIEWS
) -> np.ndarray:
    """Nearest gallery rows (n, k or 2k) by cosine similarity of features, of pictures and of mirrored pictures."""
    from datadouble.audit.privacy.neighbours import nearest_neighbours

    k = min(k, len(gallery))
    found = [nearest_neighbours(q, gallery, k=k).rows for q in (queries, mirrored) if q is not None]
    return np.concatenate(found, axis=1)


@torch.no_grad()
def _search(
    pictures: np.ndarray, gallery: Gallery, views: Sequence[np.ndarray], left_out: Sequence[np.ndarray] | None
) -> np.ndarray:
    """Packed matches (n, windows * 9) of a chunk of pictures."""
    n = len(pictures)
    blobs = find_blobs(pictures)
    working = to_working(pictures)
    details = alignment.detail(working)
    sides = [blobs, blobs.mirrored()]
    described = [gallery.describer.describe(b) for b in sides]
    scores = torch.stack([candidates.pair_scores(d, gallery.described) for d in described])  # (2, n, g)
    searches = [(scores, CANDIDATES)]
    if gallery.lesions is not None:
        lesions = torch.stack([candidates.pair_scores(d, gallery.lesions) for d in described])
        searches.append((lesions, LESIONS))
    whole = torch.stack(
        [candidates.thumbnails(w) @ gallery.thumbnails.T for w in (working, working.flip(-1))]
    )
    if left_out is not None:
        for i, rows in enumerate(left_out):
            for found, _ in searches:
                found[:, i, np.asarray(rows, np.int64)] = -1
            whole[:, i, np.asarray(rows, np.int64)] = -2
    hypotheses = _from_patches(searches, sides, described, gallery)
    hypotheses = _refine_pieces(hypotheses, details, alignment.whiten(details, gallery.gain), gallery, n)
    others = _from_views(whole, views, details, gallery, left_out)
    hypotheses = Hypotheses(*(torch.cat(pair) for pair in zip(hypotheses, others)))
    return _compare(hypotheses, details, gallery, n)


def _from_patches(
    searches: Sequence[tuple[torch.Tensor, int]],
    sides: Sequence[Blobs],
    described: Sequence[torch.Tensor],
    gallery: Gallery,
) -> Hypotheses:
    n, size = searches[0][0].shape[1:]
    flat = [(s.permute(1, 0, 2).reshape(n, 2 * size), most) for s, most in searches]
    tops = [s.topk(min(most, 2 * size), dim=1) for s, most in flat]
    rows: list[tuple[int, int, bool, torch.Tensor, torch.Tensor, float]] = []
    places = [torch.from_numpy(b.place) for b in sides]
    sigmas = [torch.from_numpy(b.sigma) for b in sides]
    for q in range(n):
        for column in sorted({int(c) for top in tops for c in top.indices[q][top.values[q] > 0]}):
            side, g = divmod(column, size)
            found = (
                gallery.described[g],
                torch.from_numpy(gallery.blobs.place[g]),
                torch.from_numpy(gallery.blobs.sigma[g]),
            )
            asked = (described[side][q], places[side][q], sigmas[side][q])
            rows += candidates.propose(q, g, bool(side), asked, found)
    return _stack(rows)


def _refine_pieces(
    hypotheses: Hypotheses, details: torch.Tensor, whitened: torch.Tensor, gallery: Gallery, n: int
) -> Hypotheses:
    """Refine each on a small square, and keep each query's best few by the correlation of whitened texture."""
    if not len(hypotheses.query):
        return hypotheses
    parts = []
    for start in range(0, len(hypotheses.query), 256):
        h = hypotheses.take(torch.arange(start, min(start + 256, len(hypotheses.query))))
        transform, _ = alignment.refine(
            _of_query(h, details), gallery.details[h.gallery], h.transform, h.centre
        )
        value = alignment.patch_correlation(
            _of_query(h, whitened), gallery.whitened[h.gallery], transform, h.centre
        )
        parts.append(h._replace(transform=transform, strength=value))
    refined = Hypotheses(*(torch.cat(values) for values in zip(*parts)))
    keep = []
    for q in range(n):
        mine = torch.nonzero(refined.query == q)[:, 0]
        keep.append(mine[refined.strength[mine].argsort(descending=True)[:ALIGNED]])
    return refined.take(torch.cat(keep))


def _from_views(
    whole: torch.Tensor,
    views: Sequence[np.ndarray],
    details: torch.Tensor,
    gallery: Gallery,
    left_out: Sequence[np.ndarray] | None,
) -> Hypotheses:
    """Whole pictures that look alike, shifted by what correlates best."""
    n, size = whole.shape[1:]
    top = whole.permute(1, 0, 2).reshape(n, 2 * size).topk(min(VIEWS, 2 * size), dim=1).indices
    pairs = {(q, c % size, c >= size) for q in range(n) for c in top[q].tolist()}
    pairs |= {
        (q, int(g), side)
        for view in views
        for q in range(n)
        for g in view[q]
        for side in (False, True)
        if left_out is None or int(g) not in set(np.asarray(left_out[q]).tolist())
    }
    centre = torch.full((2,), (SIDE - 1) / 2)
    start = torch.tensor([1.0, 1.0, 0.0, 0.0])
    h = _stack([(q, g, side, start, centre, 0.0) for q, g, side in sorted(pairs)])
    moved = h.transform.clone()
    for i in range(0, len(h.query), 64):
        some = h.take(torch.arange(i, min(i + 64, len(h.query))))
        moved[i : i + 64, 2:] = alignment.best_shift(
            _of_query(some, details), gallery.details[some.gallery], gallery.gain
        )
    return h._replace(transform=moved)


def _compare(hypotheses: Hypotheses, details: torch.Tensor, gallery: Gallery, n: int) -> np.ndarray:
    """Refine over all that agrees, compare box by box, keep the best of each query and size."""
    packed = np.zeros((n, len(WINDOWS), 9), np.float32)
    packed[:, :, 0] = -1
    for start in range(0, len(hypotheses.query), 32):
        h = hypotheses.take(torch.arange(start, min(start + 32, len(hypotheses.query))))
        query, found = _of_query(h, details), gallery.details[h.gallery]
        transforms = [h.transform]
        weight = alignment.agreement(query, found, h.transform)
        spread = weight.flatten(1).sum(1) > 80
        if bool(spread.any()):
            grown, _ = alignment.refine(
                query[spread],
                found[spread],
                h.transform[spread],
                h.centre[spread],
                weight=weight[spread],
                steps=3,
            )
            second = h.transform.clone()
            second[spread] = grown
            transforms.append(second)
        for transform in transforms:
            fit = alignment.compare(query, found, transform, gallery.gain, h.centre)
            for i, q in enumerate(h.query.tolist()):
                for k in range(len(WINDOWS)):
                    if fit.correlation[i, k] > packed[q, k, 0]:
                        left, top = fit.place[i, k].tolist()
                        packed[q, k] = [
                            fit.correlation[i, k],
                            float(h.gallery[i]),
                            float(h.mirrored[i]),
                            SIDE - WINDOWS[k][1] - left if bool(h.mirrored[i]) else left,
                            top,
                            *transform[i].tolist(),
                        ]
    return packed.reshape(n, -1)


def _of_query(h: Hypotheses, pictures: torch.Tensor) -> torch.Tensor:
    """The queries' pictures, mirrored where the hypothesis says so."""
    chosen = pictures[h.query]
    return torch.where(h.mirrored[:, None, None], chosen.flip(-1), chosen)


def _stack(rows: list[tuple[int, int, bool, torch.Tensor, torch.Tensor, float]]) -> Hypotheses:
    if not rows:
        empty = torch.zeros(0, dtype=torch.long)
        return Hypotheses(empty, empty, empty.bool(), torch.zeros(0, 4), torch.zeros(0, 2), torch.zeros(0))
    query, found, mirrored, transform, centre, strength = zip(*rows)
    return Hypotheses(
        torch.tensor(query),
        torch.tensor(found),
        torch.tensor(mirrored),
        torch.stack(transform),
        torch.stack(centre),
        torch.tensor(strength),
    )


def _unpack(values: np.ndarray) -> Matches:
    v = np.asarray(values, np.float32).reshape(len(values), len(WINDOWS), 9)
    return Matches(v[..., 0], v[..., 1].astype(np.int64), v[..., 2] > 0.5, v[..., 3:5], v[..., 5:])
