"""Look-alikes that hashes miss: one picture is a crop of another, or shares a large part with it.

Every picture is searched among the others by local patches (:mod:`datadouble.matching`). A pair counts where its best
local correlation stands outside what chance gives in this cohort, *and* the texture agrees over a large area of what
both show. Words, rulers, logos and screen frames, which all scans of one device share, do not make a pair: what many
pictures show at the same place is blurred away first, and what is left of it is small.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from datadouble.progress import Bar

if TYPE_CHECKING:
    import torch

    from datadouble.matching.gallery import Gallery
    from datadouble.matching.search import Matches

SIDE = 128
"""Side in pixels to which pictures are brought for the search."""
ALPHA = 0.01
"""Probability that, in a cohort without crops, any pair passes the first of the two conditions."""
LEAST_AREA = 0.08
"""Least share of the wider picture's area that must agree. On BUSI the true pairs have 0.5 and more, the others less
than 0.05."""
LEAST_AGREEING = 0.4
"""Least share of the textured overlap that must agree."""
CROP = 0.8
"""Share of the overlap from which all of it agrees: a ``"crop"``; below, a ``"part"``."""

_BLOCK = 2000  # pictures of a gallery: 0.45 GB
_CHUNK = 32  # pictures searched, or described, at a time
_SECONDS, _SECONDS_EACH = 0.2, 0.0001  # a picture, and for each other picture, on one core
_ROUNDS = 4  # a search gives the best match alone: what has found one is searched again without it


def minutes(pictures: int) -> float:
    """What the search takes on one core, roughly."""
    return pictures * (_SECONDS + _SECONDS_EACH * pictures) / 60


class Crop(NamedTuple):
    """Two pictures (indices, first < second) of which one shows a piece of the other.

    ``similarity``: correlation of the whitened texture over what both show. ``overlap``: share of the wider picture's
    area whose texture agrees; clipped (black, white) places do not count.
    """

    first: int
    second: int
    similarity: float
    mirrored: bool
    kind: Literal["crop", "part"]
    overlap: float


class _Candidates(NamedTuple):
    """Alignments (m, ...) to be looked at closely: pictures, transform of the query to the other, mirrored."""

    query: np.ndarray
    other: np.ndarray
    transform: np.ndarray
    mirrored: np.ndarray

    def take(self, keep: np.ndarray) -> _Candidates:
        return _Candidates(*(values[keep] for values in self))


class _Shared(NamedTuple):
    """What candidates' pictures share (m,): see :class:`datadouble.matching.overlap.Overlap`."""

    textured: np.ndarray
    agreeing: np.ndarray
    correlation: np.ndarray

    @property
    def large(self) -> np.ndarray:
        """Whether a large area agrees."""
        return (self.agreeing >= LEAST_AREA) & (self.agreeing >= LEAST_AGREEING * self.textured)


def find_crops(
    pictures: np.ndarray, groups: Sequence[Sequence[int]] = (), *, alpha: float = ALPHA
) -> list[Crop]:
    """Find pairs of pictures that share a piece.

    Parameters
    ----------
    pictures : ndarray
        (n, 128, 128) uint8.
    groups
        Pictures known to look alike: these are not searched in each other.
    alpha : float
        See :data:`ALPHA`.

    Notes
    -----
    About 0.3 s a picture on one core where there are 1,000 (5 minutes), 0.4 s where there are 2,000; galleries hold no
    more than that. Memory: 70 kB a picture, and about 2 GB at most. The chance level is read off the cohort's own best
    scores (see :mod:`datadouble.matching.chance`); below 20 pictures the area alone decides.
    """
    from datadouble.matching.chance import Chance, learn_chance
    from datadouble.matching.common import without_common

    n = len(pictures)
    if n < 2:
        return []
    together = np.arange(n)  # a name for each picture's group
    for group in groups:
        together[list(group)] = min(group)
    pictures = without_common(pictures, together)
    search = _Search(pictures)
    found: dict[tuple[int, int], Crop] = {}
    chance: Chance | None = None
    pending = np.arange(n)
    for _ in range(_ROUNDS):
        matches = search.best(pending, together)
        row, window = _worth_a_look(matches, together[matches.row] != together[pending][:, None])
        candidates = _Candidates(
            pending[row], *(v[row, window] for v in (matches.row, matches.transform, matches.mirrored))
        )
        shared = _shared(pictures, candidates, search.gain)
        if chance is None:  # learnt from the pictures that share nothing with their best matches
            others = np.setdiff1d(np.arange(n), row[shared.large])
            chance = learn_chance(matches.correlation[others], n, alpha=alpha)
        standing = chance.scores(matches.correlation)[row, window] > chance.threshold
        fresh = _crops(candidates, shared, standing & shared.large)
        for crop in fresh:
            known = found.get(crop[:2])
            found[crop[:2]] = crop if known is None or crop.overlap > known.overlap else known
            together[together == together[crop.second]] = together[crop.first]
        pending = np.array(sorted({i for crop in fresh for i in crop[:2]}), dtype=np.int64)
        if not len(pending):
            break
    return [found[key] for key in sorted(found)]


class _Search:
    """All pictures as galleries, of which one is kept at a time."""

    def __init__(self, pictures: np.ndarray) -> None:
        self._pictures = pictures
        self._blocks = np.array_split(np.arange(len(pictures)), -(-len(pictures) // _BLOCK))
        self._kept: tuple[int, Gallery] | None = None

    @property
    def gain(self) -> torch.Tensor:
        """The filter that whitens."""
        return self._gallery(0 if self._kept is None else self._kept[0]).gain

    def best(self, pending: np.ndarray, together: np.ndarray) -> Matches:
        """The best matches of some pictures among those of other groups; ``row`` is a picture's number."""
        from datadouble.matching.search import Matches, search_gallery

        best: Matches | None = None
        total = len(pending) * len(self._blocks)
        with Bar("crops", total=total) as bar:
            for number, block in enumerate(self._blocks):
                gallery, parts = self._gallery(number), []
                for start in range(0, len(pending), _CHUNK):
                    rows = pending[start : start + _CHUNK]
                    left_out = [np.flatnonzero(together[block] == together[row]) for row in rows]
                    parts.append(search_gallery(self._pictures[rows], gallery, (), left_out))
                    bar.advance(len(rows))
                here = Matches(*(np.concatenate(values) for values in zip(*parts, strict=True)))
                best = _better(best, here._replace(row=block[here.row]))
        assert best is not None
        return best

    def _gallery(self, number: int) -> Gallery:
        from datadouble.matching.gallery import prepare_gallery

        if self._kept is None or self._kept[0] != number:
            self._kept = None  # before the next one is made
            self._kept = number, prepare_gallery(self._pictures[self._blocks[number]])
        return self._kept[1]


def _better(a: Matches | None, b: Matches) -> Matches:
    if a is None:
        return b
    higher = b.correlation > a.correlation
    pairs = zip(a, b, strict=True)
    return type(b)(*(np.where(higher.reshape(*higher.shape, *[1] * (x.ndim - 2)), y, x) for x, y in pairs))


def _worth_a_look(matches: Matches, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and windows of the alignments, each once; boxes smaller than `LEAST_AREA` are left out."""
    from datadouble.matching.alignment import WINDOWS

    big = [h * w >= 0.75 * LEAST_AREA * SIDE**2 for h, w in WINDOWS]
    row, window = np.nonzero(allowed & np.array(big))
    coarse = np.round(matches.transform[row, window] / [0.02, 0.02, 1, 1])
    key = np.column_stack([row, matches.row[row, window], matches.mirrored[row, window], coarse])
    _, once = np.unique(key[::-1], axis=0, return_index=True)  # the last, largest window of each
    keep = np.sort(len(key) - 1 - once)
    return row[keep], window[keep]


def _shared(pictures: np.ndarray, candidates: _Candidates, gain: torch.Tensor) -> _Shared:
    """What each candidate's pictures share."""
    from datadouble.matching.overlap import overlap

    parts: list[tuple[np.ndarray, ...]] = []
    for start in range(0, len(candidates.query), _CHUNK):
        some = candidates.take(np.arange(start, min(start + _CHUNK, len(candidates.query))))
        seen = overlap(pictures[some.query], pictures[some.other], some.transform, some.mirrored, gain)
        parts.append((seen.textured, seen.agreeing, seen.correlation))
    if not parts:
        return _Shared(np.zeros(0), np.zeros(0), np.zeros(0))
    return _Shared(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _crops(candidates: _Candidates, shared: _Shared, keep: np.ndarray) -> list[Crop]:
    """The largest of each pair's candidates, of those to keep."""
    crops: dict[tuple[int, int], Crop] = {}
    for k in np.flatnonzero(keep)[np.argsort(-shared.agreeing[keep], kind="stable")]:
        first, second = sorted((int(candidates.query[k]), int(candidates.other[k])))
        agreeing, textured = float(shared.agreeing[k]), float(shared.textured[k])
        kind: Literal["crop", "part"] = "crop" if agreeing >= CROP * textured else "part"
        similarity, mirrored = round(float(shared.correlation[k]), 4), bool(candidates.mirrored[k])
        crops.setdefault((first, second), Crop(first, second, similarity, mirrored, kind, round(agreeing, 4)))
    return list(crops.values())
