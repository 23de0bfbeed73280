"""Exhaustive search of pictures, and of pieces of them, in a gallery.

Every picture is searched in the whole gallery by local patches and as a whole; the best candidates are aligned and
compared pixel by pixel. A picture's evidence is its best local correlation over boxes of several sizes and, where the
gallery's lesions are known, over the outline of one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from datadouble.matching import alignment, candidates
from datadouble.matching.alignment import WINDOWS
from datadouble.matching.candidates import Hypotheses
from datadouble.matching.gallery import Gallery
from datadouble.matching.keypoints import SIDE, Blobs, find_blobs, to_working
from datadouble.matching.lesions import Lesions, find_lesions, level

CANDIDATES = 12  # pairs of a query that are aligned, from patches
LESIONS = 8  # more pairs, from the patches of lesions alone
VIEWS = 2  # pairs of a query that are aligned, from each other view
ALIGNED = 6  # pairs of a query whose alignment is refined over the whole picture
_NUMBERS = 11  # that one match is stored as


class Matches(NamedTuple):
    """The best match of each of n pictures, for boxes of several sizes.

    The columns are the sizes of ``alignment.WINDOWS`` and, where the gallery was given masks that hold lesions, one
    more for lesions (see :mod:`.lesions`), whose boxes are of any size.

    Parameters
    ----------
    correlation : ndarray
        (n, columns): greatest local correlation after alignment; a lesion's is told as the correlation over a standard
        number of samples that would surprise as much.
    row : ndarray
        (n, columns): row of the gallery picture.
    mirrored : ndarray of bool
        (n, columns).
    place : ndarray
        (n, columns, 2): left, top of the box in the picture, working pixels (of ``keypoints.SIDE``).
    transform : ndarray
        (n, columns, 4): where the box lies in the gallery picture (see :mod:`.alignment`), mirrored beforehand.
    size : ndarray
        (n, columns, 2): height, width of the box, working pixels.
    """

    correlation: np.ndarray
    row: np.ndarray
    mirrored: np.ndarray
    place: np.ndarray
    transform: np.ndarray
    size: np.ndarray

    def rows(self, keep: np.ndarray) -> Matches:
        """The matches of some pictures."""
        return Matches(*(values[keep] for values in self))


@torch.no_grad()
def search_gallery(
    pictures: np.ndarray,
    gallery: Gallery,
    views: Sequence[np.ndarray] = (),
    left_out: Sequence[np.ndarray] | None = None,
) -> Matches:
    """Best matches of n pictures (n, s, s) uint8 in the gallery, all at once: for some dozens of pictures.

    ``views``: further candidates, (n, k) gallery rows each. ``left_out``: for each picture the rows that do not count.
    """
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
    whitened = alignment.whiten(details, gallery.gain)
    hypotheses = _refine_pieces(hypotheses, details, whitened, gallery, n)
    others = _from_views(whole, views, details, gallery, left_out)
    hypotheses = Hypotheses(*(torch.cat(pair) for pair in zip(hypotheses, others)))
    packed = evenly(_compare(hypotheses, details, gallery, n), details, gallery)
    if gallery.pieces is not None:
        packed = np.concatenate([packed, _lesions(details, whitened, gallery.pieces, left_out)], 1)
    return unpack(packed.reshape(n, -1))


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
    """Refine over all that agrees, compare box by box, keep the best of each query and size (n, windows, 11)."""
    packed = np.zeros((n, len(WINDOWS), _NUMBERS), np.float32)
    packed[:, :, 0] = -1
    packed[:, :, -2:] = WINDOWS
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
                        packed[q, k, :-2] = [
                            fit.correlation[i, k],
                            float(h.gallery[i]),
                            float(h.mirrored[i]),
                            SIDE - WINDOWS[k][1] - left if bool(h.mirrored[i]) else left,
                            top,
                            *transform[i].tolist(),
                        ]
    return packed


def evenly(packed: np.ndarray, details: torch.Tensor, gallery: Gallery) -> np.ndarray:
    """Matches (n, windows, 11), none above what it is once texture counts alike everywhere in its box.

    A line or a mark on the screen that two scans share outweighs the speckle around it; levelled it does not.
    """
    flat = packed.reshape(-1, packed.shape[-1]).copy()
    query = np.repeat(np.arange(len(packed)), packed.shape[1])
    own = np.concatenate([query[:, None], flat[:, 1:3], flat[:, 5:9]], 1)
    kept = np.flatnonzero(flat[:, 0] > 0)
    pairs, which = np.unique(own[kept], axis=0, return_inverse=True)
    which = which.ravel()
    for start in range(0, len(pairs), 32):
        part = torch.from_numpy(pairs[start : start + 32])
        queries = details[part[:, 0].long()]
        mirrored = part[:, 2] > 0.5
        queries = torch.where(mirrored[:, None, None], queries.flip(-1), queries)
        a, b, valid = alignment.laid(
            queries, gallery.details[part[:, 1].long()], part[:, 3:].float(), gallery.gain
        )
        a, b = level(a) * valid, level(b) * valid
        for entry in np.flatnonzero((which >= start) & (which < start + 32)):
            row, i = kept[entry], int(which[entry]) - start
            left, top, height, width = (round(float(flat[row, k])) for k in (3, 4, 9, 10))
            left = SIDE - width - left if bool(mirrored[i]) else left
            box = (i, slice(top, top + height), slice(left, left + width))
            flat[row, 0] = min(float(flat[row, 0]), alignment.box_correlation(a[box], b[box]))
    return flat.reshape(packed.shape)


def _lesions(
    details: torch.Tensor,
    whitened: torch.Tensor,
    pieces: Lesions,
    left_out: Sequence[np.ndarray] | None,
) -> np.ndarray:
    """The most alike lesion of each query (n, 1, 11)."""
    found = find_lesions(details, whitened, pieces, left_out)
    left, top, width, height = found.box.unbind(1)
    left = torch.where(found.mirrored, SIDE - width - left, left)
    values = [
        found.correlation,
        found.row,
        found.mirrored,
        left,
        top,
        *found.transform.unbind(1),
        height,
        width,
    ]
    return torch.stack([v.float() for v in values], 1).numpy()[:, None]


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


def width(gallery: Gallery) -> int:
    """How many numbers a picture's matches in this gallery are."""
    return (len(WINDOWS) + (gallery.pieces is not None)) * _NUMBERS


def unpack(values: np.ndarray) -> Matches:
    """Matches from (n, width) values, as `pack` writes them."""
    v = np.asarray(values, np.float32)
    v = v.reshape(len(v), v.shape[1] // _NUMBERS, _NUMBERS)
    return Matches(
        v[..., 0], v[..., 1].astype(np.int64), v[..., 2] > 0.5, v[..., 3:5], v[..., 5:9], v[..., 9:]
    )


def pack(matches: Matches) -> np.ndarray:
    """Matches as (n, width) float32, to be stored."""
    row, mirrored = (np.asarray(v, np.float32)[..., None] for v in (matches.row, matches.mirrored))
    parts = [matches.correlation[..., None], row, mirrored, matches.place, matches.transform, matches.size]
    return np.concatenate(parts, axis=-1, dtype=np.float32).reshape(len(matches.row), -1)
