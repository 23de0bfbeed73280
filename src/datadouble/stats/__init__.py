"""Intervals and tests: pure functions over arrays that import nothing else of DataDouble."""

from datadouble.stats.agreement import (
    Kappa,
    check_kappa,
    cohen_kappa,
    fleiss_kappa,
    gwet_ac1,
    kappa_minimum,
)
from datadouble.stats.delong import (
    Placements,
    auc_difference,
    auc_difference_unpaired,
    delong_covariance,
    delong_test,
    delong_test_unpaired,
    delong_test_value,
    placements,
)
from datadouble.stats.equivalence import (
    Equivalence,
    auc_equivalence_test,
    equivalence_from_error,
    equivalence_test,
)
from datadouble.stats.intervals import Estimate, Interval, bootstrap, proportion_estimate, proportion_interval
from datadouble.stats.multiplicity import holm
from datadouble.stats.paired import McNemar, mcnemar
from datadouble.stats.ranks import RankTest, mann_whitney, wilcoxon_signed_rank
from datadouble.stats.results import TestResult
from datadouble.stats.roc import RocCurve, TprAtFpr, roc_auc, roc_curve, tpr_at_fpr

__all__ = [
    "Equivalence",
    "Estimate",
    "Interval",
    "Kappa",
    "McNemar",
    "Placements",
    "RankTest",
    "RocCurve",
    "TestResult",
    "TprAtFpr",
    "auc_difference",
    "auc_difference_unpaired",
    "auc_equivalence_test",
    "bootstrap",
    "check_kappa",
    "cohen_kappa",
    "delong_covariance",
    "delong_test",
    "delong_test_unpaired",
    "delong_test_value",
    "equivalence_from_error",
    "equivalence_test",
    "fleiss_kappa",
    "gwet_ac1",
    "holm",
    "kappa_minimum",
    "mann_whitney",
    "mcnemar",
    "placements",
    "proportion_estimate",
    "proportion_interval",
    "roc_auc",
    "roc_curve",
    "tpr_at_fpr",
    "wilcoxon_signed_rank",
]
