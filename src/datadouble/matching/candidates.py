"""Which training pictures a picture may hold a piece of: every pair is looked at, by patches and as a whole."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from datadouble.matching.keypoints import BLOBS, SIDE, Blobs, blur, normalise_locally

DIMENSION = 80  # of a patch's description
LESION_BLOBS = 20  # of each polarity
LIKE = 0.5  # patches less alike than this say nothing
_ROWS = 1024  # query patches compared at a time
_BLOCK = 64  # gallery pictures compared at a time: 32 MB of similarities
_THUMBNAIL = 32
_MATCHES = 28  # patches of a pair that may vote
_ZOOM = 1.8


class Describer(NamedTuple):
    """Whitened projection of patches: ``mean`` (2k, grid) by polarity, ``matrix`` (grid, d)."""

    mean: torch.Tensor
    matrix: torch.Tensor

    def describe(self, blobs: Blobs) -> torch.Tensor:
        """(n, 2k, d) of norm 1; 0 in empty places."""
        z = (torch.from_numpy(blobs.patch) - self.mean) @ self.matrix
        z = z / z.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        return z * torch.from_numpy(blobs.sigma > 0)[..., None]


class Hypotheses(NamedTuple):
    """Where pieces may come from; each (m,) or (m, .): pair (query, gallery, mirrored), transform, centre, strength."""

    query: torch.Tensor
    gallery: torch.Tensor
    mirrored: torch.Tensor
    transform: torch.Tensor
    centre: torch.Tensor
    strength: torch.Tensor

    def take(self, keep: torch.Tensor) -> Hypotheses:
        """Some of them."""
        return Hypotheses(*(values[keep] for values in self))


def learn_describer(blobs: Blobs, *, most: int = 60_000) -> Describer:
    """What the patches of a gallery have in common (the blob itself, above all) is taken out of each."""
    n = len(blobs.sigma)
    polarity = np.repeat([0, 1], BLOBS)
    mean = np.zeros((2, blobs.patch.shape[-1]), np.float32)
    kept = []
    step = max(1, n * 2 * BLOBS // most)
    for side in (0, 1):
        valid = blobs.sigma[:, polarity == side] > 0
        patches = blobs.patch[:, polarity == side][valid]
        if len(patches):
            mean[side] = patches.mean(0)
            kept.append(patches[::step] - mean[side])
    if sum(len(patches) for patches in kept) < 2:  # pictures without texture: nothing to learn from
        plain = torch.eye(mean.shape[1])[:, :DIMENSION]
        return Describer(torch.from_numpy(mean[polarity]), plain)
    values, vectors = np.linalg.eigh(np.cov(np.concatenate(kept).T.astype(np.float64)))
    values, vectors = values[::-1].clip(1e-9), vectors[:, ::-1]
    d = min(DIMENSION, len(values) - 1)
    matrix = vectors[:, :d] * (values[:d] + values[d]) ** -0.5
    return Describer(torch.from_numpy(mean[polarity]), torch.from_numpy(matrix.astype(np.float32)))


def patches_inside(described: torch.Tensor, blobs: Blobs, inside: np.ndarray) -> torch.Tensor:
    """Each picture's patches inside its mask, the coarsest first: (g, 2 * LESION_BLOBS, d), 0 where there are fewer.

    Parameters
    ----------
    inside : ndarray of bool
        (g, s, s), of any s.
    """
    scale = inside.shape[-1] / SIDE
    x, y = (np.clip((blobs.place[..., i] + 0.5) * scale, 0, inside.shape[-1] - 1).astype(int) for i in (0, 1))
    size = np.where(inside[np.arange(len(inside))[:, None], y, x], blobs.sigma, 0)
    halves = []
    for half in (slice(0, BLOBS), slice(BLOBS, 2 * BLOBS)):
        order = np.argsort(-size[:, half], axis=1, kind="stable")[:, :LESION_BLOBS]
        rows = np.arange(len(order))[:, None]
        found = torch.from_numpy(size[:, half][rows, order] > 0)
        halves.append(described[:, half][torch.from_numpy(rows), torch.from_numpy(order)] * found[..., None])
    return torch.cat(halves, 1)


def pair_scores(queries: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
    """How much of each query (n, 2k, d) may come from each gallery picture (g, 2l, d): (n, g) float32.

    For each query patch its most similar patch of the same polarity in the gallery picture; the sum over patches of
    (similarity - LIKE)^4 where that is positive: a small piece gives few matches, but close ones.
    """
    low = torch.bfloat16 if _fast_bfloat16() else torch.float32
    score = torch.zeros(len(queries), len(gallery))
    each = gallery.shape[1] // 2
    for side in (0, 1):
        asked = queries[:, side * BLOBS : (side + 1) * BLOBS].to(low)
        rows = asked.reshape(-1, asked.shape[-1])
        for start in range(0, len(gallery), _BLOCK):
            block = gallery[start : start + _BLOCK, side * each : (side + 1) * each].to(low)
            columns = block.reshape(-1, block.shape[-1]).T
            best = torch.cat(
                [
                    (rows[i : i + _ROWS] @ columns).view(-1, len(block), each).amax(2).float()
                    for i in range(0, len(rows), _ROWS)
                ]
            )
            gain = (best - LIKE).clamp_min(0).square_().square_()
            score[:, start : start + len(block)] += gain.view(len(queries), BLOBS, -1).sum(1)
    return score


def thumbnails(working: torch.Tensor) -> torch.Tensor:
    """(n, SIDE, SIDE) -> (n, 1024): the whole picture, small, high-passed, norm 1."""
    small = functional.avg_pool2d(normalise_locally(working, wide=12.0)[:, None], SIDE // _THUMBNAIL)[:, 0]
    small = (small - blur(small, 5.0)).flatten(1)
    return small / small.norm(dim=1, keepdim=True).clamp_min(1e-6)


def propose(
    query: int,
    gallery: int,
    mirrored: bool,
    asked: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    *,
    most: int = 2,
) -> list[tuple[int, int, bool, torch.Tensor, torch.Tensor, float]]:
    """Transforms that lay a gallery picture on a query, from patches that agree on place and scale.

    Parameters
    ----------
    asked, found : tuple of Tensor
        Descriptions (2k, d), places (2k, 2) and sigmas (2k,) of the query and of the gallery picture.
    most : int
        Transforms to give, the best supported first.
    """
    similarity = torch.cat(
        [
            (asked[0][half] @ found[0][half].T).max(1).values
            for half in (slice(0, BLOBS), slice(BLOBS, 2 * BLOBS))
        ]
    )
    partner = torch.cat(
        [
            (asked[0][half] @ found[0][half].T).argmax(1) + half.start
            for half in (slice(0, BLOBS), slice(BLOBS, 2 * BLOBS))
        ]
    )
    value, index = similarity.topk(min(_MATCHES, len(similarity)))
    partner = partner[index]
    p, u = asked[1][index], found[1][partner]
    zoom = found[2][partner] / asked[2][index].clamp_min(1e-3)
    usable = (value > LIKE) & (zoom < _ZOOM) & (zoom > 1 / _ZOOM)
    value, p, u, zoom = value[usable], p[usable], u[usable], zoom[usable]
    if len(value) == 0:
        return []
    # A scale from one blob is good to a tenth, so what follows from it may be out by as much of the distance.
    offset = p[None] - p[:, None]
    error = (u[:, None] + zoom[:, None, None] * offset - u[None]).norm(dim=-1)
    agree = (error < 2.0 + 0.2 * offset.norm(dim=-1)) & ((zoom[:, None] / zoom[None]).log().abs() < 0.35)
    weight = (value - LIKE + 0.05).square()
    found_transforms = []
    left = torch.ones(len(value), dtype=torch.bool)
    for _ in range(most):
        support = (agree & left).float() @ weight
        support[~left] = -1
        lead = int(support.argmax())
        if support[lead] <= 0:
            break
        members = agree[lead] & left
        transform, centre = _fit(p[members], u[members], weight[members], zoom[lead])
        found_transforms.append((query, gallery, mirrored, transform, centre, float(support[lead])))
        left &= ~members
    return found_transforms


def _fit(
    p: torch.Tensor, u: torch.Tensor, weight: torch.Tensor, zoom: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """One scale and a shift by weighted least squares; the scale is held to the blobs' where they stand close."""
    w = weight / weight.sum()
    pc, uc = (w[:, None] * p).sum(0), (w[:, None] * u).sum(0)
    dp, du = p - pc, u - uc
    prior = 25.0 / len(
        w
    )  # square working pixels: how far apart blobs must stand to say more than their sizes
    spread = (w[:, None] * dp * dp).sum() + prior
    scale = ((w[:, None] * dp * du).sum() + prior * zoom) / spread
    scale = scale.clamp(1 / _ZOOM, _ZOOM)
    shift = uc - scale * pc
    return torch.stack([scale, scale, shift[0], shift[1]]), pc


def _fast_bfloat16() -> bool:
    check = getattr(torch.backends.cpu, "get_cpu_capability", None)
    return bool(check and "AVX512" in str(check())) and bool(
        getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    )
