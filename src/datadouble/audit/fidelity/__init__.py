"""Fidelity: how near the double's distribution is to the real one. One metric a file, each layer callable alone."""

from datadouble.audit.fidelity.class_mix import class_mix, total_variation
from datadouble.audit.fidelity.cmmd import cmmd, cmmd_interval, cmmd_name
from datadouble.audit.fidelity.comparison import Plan, Sizes, plan_comparison
from datadouble.audit.fidelity.distributions import compare_samples, kolmogorov_smirnov, wasserstein_1
from datadouble.audit.fidelity.fd_infinity import FrechetInfinity, fd_infinity
from datadouble.audit.fidelity.floor import Floor
from datadouble.audit.fidelity.frechet import (
    SMALL_SAMPLE,
    FrechetProducts,
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
from datadouble.audit.fidelity.precision_recall import (
    DensityCoverage,
    ManifoldDistances,
    PrecisionRecall,
    density_coverage,
    neighbour_radii,
    precision_recall,
)

__all__ = [
    "SMALL_SAMPLE",
    "DensityCoverage",
    "Floor",
    "FrechetInfinity",
    "FrechetProducts",
    "GaussianStatistics",
    "InceptionScore",
    "KernelDistance",
    "ManifoldDistances",
    "Plan",
    "PrecisionRecall",
    "Sizes",
    "class_mix",
    "cmmd",
    "cmmd_interval",
    "cmmd_name",
    "compare_samples",
    "density_coverage",
    "fd_infinity",
    "frechet_distance",
    "frechet_distance_from_statistics",
    "frechet_interval",
    "gaussian_statistics",
    "inception_score",
    "inception_score_interval",
    "kernel_distance",
    "kernel_distance_interval",
    "kolmogorov_smirnov",
    "neighbour_radii",
    "plan_comparison",
    "precision_recall",
    "squared_mmd",
    "total_variation",
    "wasserstein_1",
]
