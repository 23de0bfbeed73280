"""Fidelity: how near the double's distribution is to the real one. One metric a file, each layer callable alone."""

from datadouble.audit.fidelity.floor import Floor, real_floor
from datadouble.audit.fidelity.frechet import (
    SMALL_SAMPLE,
    GaussianStatistics,
    frechet_distance,
    frechet_distance_from_statistics,
    frechet_interval,
    gaussian_statistics,
)
from datadouble.audit.fidelity.inception_score import (
    InceptionScore,
    inception_score,
    inception_score_interval,
)
from datadouble.audit.fidelity.kernel_distance import (
    KernelDistance,
    kernel_distance,
    kernel_distance_interval,
    squared_mmd,
)

__all__ = [
    "SMALL_SAMPLE",
    "Floor",
    "GaussianStatistics",
    "InceptionScore",
    "KernelDistance",
    "frechet_distance",
    "frechet_distance_from_statistics",
    "frechet_interval",
    "gaussian_statistics",
    "inception_score",
    "inception_score_interval",
    "kernel_distance",
    "kernel_distance_interval",
    "real_floor",
    "squared_mmd",
]
