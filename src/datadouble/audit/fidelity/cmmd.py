"""CMMD (Jayasumana et al., CVPR 2024): squared MMD with a Gaussian kernel on CLIP embeddings of unit length.

k(x, y) = exp(-|x - y|^2 / (2 sigma^2)) with sigma = 10; values are multiplied by 1,000, as in the paper. Unlike a
Frechet distance it assumes no Gaussian features and needs few pictures. On unit vectors so wide a kernel is nearly
linear: it sees how far apart the means are, and little of the spread.

The paper's CLIP is ViT-L/14 at 336 px, so the name says which extractor was used; other features than CLIP's are
brought to unit length likewise, and the distance is then called ``MMD-rbf``.
"""

from __future__ import annotations

import numpy as np

from datadouble.audit.fidelity.kernel_distance import kernel_distance_interval, squared_mmd
from datadouble.stats import Estimate

SIGMA = 10.0
SCALE = 1000.0


def cmmd_name(extractor: str) -> str:
    """Honest name: ``CMMD(clip-vit-b32)``, or ``MMD-rbf(efficientnet-lite0)`` where the features are not CLIP's."""
    return f"{'CMMD' if extractor.startswith('clip') else 'MMD-rbf'}({extractor})"


def gaussian_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """exp(-|x - y|^2 / 200) of (n, d) and (m, d) vectors: (n, m) float64."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    squares = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1) - 2 * (x @ y.T)
    return np.exp(-np.maximum(squares, 0.0) / (2 * SIGMA**2))


def unit_vectors(features: np.ndarray) -> np.ndarray:
    """Features divided by their length, float64; a zero vector stays zero."""
    x = np.asarray(features, np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1.0)


def cmmd(real: np.ndarray, synthetic: np.ndarray, *, biased: bool = False) -> float:
    """CMMD of (n, d) and (m, d) embeddings, which are brought to unit length.

    Parameters
    ----------
    biased : bool
        True gives the estimator of the authors' program, too high by about 1 / n; the default is unbiased and may be
        slightly negative where two sets agree.
    """
    return SCALE * squared_mmd(
        unit_vectors(real), unit_vectors(synthetic), kernel=gaussian_kernel, biased=biased
    )


def cmmd_interval(
    real: np.ndarray,
    synthetic: np.ndarray,
    *,
    real_groups: np.ndarray | None = None,
    synthetic_groups: np.ndarray | None = None,
    resamples: int = 200,
    seed: int = 0,
    confidence: float = 0.95,
) -> Estimate:
    """CMMD with a bootstrap interval over patients; holds the kernels: at most some 5,000 vectors a side."""
    found = kernel_distance_interval(
        unit_vectors(real),
        unit_vectors(synthetic),
        real_groups=real_groups,
        synthetic_groups=synthetic_groups,
        resamples=resamples,
        seed=seed,
        confidence=confidence,
        kernel=gaussian_kernel,
    )
    return Estimate(SCALE * found.value, SCALE * found.low, SCALE * found.high, found.n)
