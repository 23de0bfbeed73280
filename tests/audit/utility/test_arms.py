"""Which pictures each arm learns from, for how many steps."""

import numpy as np
import pytest

from datadouble.audit.utility.arms import ARMS, CONTROLS, PAPER_ARMS, check_arms, draw_like, half_of_patients
from datadouble.audit.utility.presets import UTILITY_PRESETS
from datadouble.audit.utility.runs import Data, Job, make_plan
from datadouble.errors import DataDoubleError

REAL = 60
LABELS = np.array(["2", "4"])[np.arange(REAL) // 3 % 2]
GROUPS = np.array([f"p{i // 3}" for i in range(REAL)])


@pytest.fixture(scope="module")
def jobs() -> dict[str, Job]:
    """The jobs of the first fold, by arm."""
    synthetic = np.array(["2"] * 40 + ["4"] * 50)
    data = Data(
        np.zeros((REAL, 2, 2), np.uint8),
        np.zeros(REAL, np.int64),
        LABELS,
        GROUPS,
        np.zeros((90, 2, 2), np.uint8),
        np.zeros(90, np.int64),
        synthetic,
        "real",
        "double",
    )
    arms = (*PAPER_ARMS, "all_synthetic", *CONTROLS)
    plan = make_plan(UTILITY_PRESETS["features"], data, arms, (LABELS == "4").astype(int), 0)
    for train, left in plan.folds:
        assert not set(GROUPS[train]) & set(GROUPS[left])
    assert len(plan.jobs) == len(arms) * 5 * 3
    return {job.arm: job for job in plan.jobs if job.fold == 0 and job.seed == 0}


def test_every_arm_takes_as_many_steps(jobs: dict[str, Job]) -> None:
    assert len({sum(steps for _, steps in job.stages) for job in jobs.values()}) == 1


def test_sizes_and_sides(jobs: dict[str, Job]) -> None:
    n = jobs["real"].real
    sizes = {name: (job.real, job.synthetic) for name, job in jobs.items()}
    assert sizes["synthetic"] == (0, n) and sizes["real_and_synthetic"] == (n, n)
    assert sizes["half_and_half"] == (n // 2, n // 2) and sizes["half_real"] == (n // 2, 0)
    assert sizes["all_synthetic"] == (0, 90) and sizes["real_as_double"] == (n, 0)
    assert (jobs["synthetic"].stages[0][0] >= REAL).all() and (jobs["real"].stages[0][0] < REAL).all()
    first, second = jobs["synthetic_then_real"].stages
    assert (first[0] >= REAL).all() and (second[0] < REAL).all() and abs(first[1] - second[1]) <= 1


def test_both_half_arms_share_their_half(jobs: dict[str, Job]) -> None:
    mixed = jobs["half_and_half"].stages[0][0]
    assert np.array_equal(mixed[mixed < REAL], jobs["half_real"].stages[0][0])


def test_only_arms_with_the_double_depend_on_it(jobs: dict[str, Job]) -> None:
    assert {name for name, arm in ARMS.items() if not arm.uses_double} == {"real", "half_real", *CONTROLS}


def test_drawing_like_keeps_the_labels() -> None:
    pool = np.array(["2"] * 3 + ["4"] * 9)
    rows = draw_like(LABELS[:12], pool, np.random.default_rng(0))
    assert list(pool[rows]) == ["2"] * 3 + ["4"] * 6  # six wanted of each, three there


def test_a_double_without_the_labels_is_drawn_from_all_the_same() -> None:
    unlabelled = np.full(50, "")
    rows = draw_like(LABELS[:12], unlabelled, np.random.default_rng(0))
    assert len(set(rows)) == 12  # and not none, from which no batch could ever be made


def test_halves_share_no_patient() -> None:
    first, second = half_of_patients(LABELS, GROUPS, np.random.default_rng(0))
    assert len(first) == len(second) == 30 and not set(GROUPS[first]) & set(GROUPS[second])
    assert (LABELS[first] == "2").sum() == 15


def test_unknown_arms_are_refused() -> None:
    with pytest.raises(DataDoubleError, match="half_real"):
        check_arms(("half_reals",))
    assert check_arms(("synthetic", "synthetic")) == ("real", "synthetic")
