"""Intervals and tests: pure functions over arrays that import nothing else of DataDouble."""

from datadouble.stats.agreement import (
    Kappa,
    check_kappa,
    cohen_kappa,
    fleiss_kappa,
    gwet_ac1,
    kappa_minimum,
)
from datadouble.stats.auc_covariance import area_covariance
from datadouble.stats.binormal import Binormal, binormal_roc
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
    auc_equivalence_test_value,
    equivalence_from_error,
    equivalence_test,
)
from datadouble.stats.intervals import Estimate, Interval, bootstrap, proportion_estimate, proportion_interval
from datadouble.stats.mrmc import mrmc
from datadouble.stats.mrmc_size import StudyPower, StudySize, mrmc_power, mrmc_sample_size
from datadouble.stats.multiplicity import holm
from datadouble.stats.obuchowski_rockette import (
    FTest,
    ModalityAuc,
    ModalityDifference,
    ReaderStudy,
    VarianceComponents,
    obuchowski_rockette,
)
from datadouble.stats.paired import McNemar, mcnemar
from datadouble.stats.ranks import RankTest, mann_whitney, wilcoxon_signed_rank
from datadouble.stats.results import TestResult
from datadouble.stats.roc import RocCurve, TprAtFpr, roc_auc, roc_curve, tpr_at_fpr
from datadouble.stats.two_answers import TwoAnswerAuc, two_answer_auc

__all__ = [
    "Binormal",
    "Equivalence",
    "Estimate",
    "FTest",
    "Interval",
    "Kappa",
    "McNemar",
    "ModalityAuc",
    "ModalityDifference",
    "Placements",
    "RankTest",
    "ReaderStudy",
    "RocCurve",
    "StudyPower",
    "StudySize",
    "TestResult",
    "TprAtFpr",
    "TwoAnswerAuc",
    "VarianceComponents",
    "area_covariance",
    "auc_difference",
    "auc_difference_unpaired",
    "auc_equivalence_test",
    "auc_equivalence_test_value",
    "binormal_roc",
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
    "mrmc",
    "mrmc_power",
    "mrmc_sample_size",
    "obuchowski_rockette",
    "placements",
    "proportion_estimate",
    "proportion_interval",
    "roc_auc",
    "roc_curve",
    "tpr_at_fpr",
    "two_answer_auc",
    "wilcoxon_signed_rank",
]
