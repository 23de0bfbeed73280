"""DiffGuard's attacks: by hand, on copies, and on doubles that copy nothing."""

import numpy as np
import pytest

from datadouble.audit.privacy.two_cohorts import two_cohort_attack
from datadouble.errors import DataDoubleError

from .patients import patients


def test_by_hand():
    double, other = np.array([[1.0, 0], [0.8, 0.6]]), np.array([[0.0, 1], [-1, 0]])
    train, holdout = np.array([[2.0, 0.2], [0.1, 1.0], [1, 1]]), np.array([[0.0, 3], [1.0, 0.1]])
    found = two_cohort_attack(double, other, train, holdout, permutations=9)
    assert found.overall.recall.value == pytest.approx(2 / 3)
    assert found.overall.fpr.value == 0.5
    assert found.overall.advantage.value == pytest.approx(1 / 6)
    assert found.overall.accuracy.value == pytest.approx(3 / 5)
    assert found.release == 2


def test_doubles_that_copy_give_both_cohorts_away():
    rng = np.random.default_rng(0)
    train, holdout = patients(rng, 60, "a"), patients(rng, 50, "b")
    doubles = [side.array + 0.1 * rng.normal(size=side.array.shape) for side in (train, holdout)]
    found = two_cohort_attack(
        *doubles,
        train.array,
        holdout.array,
        train_groups=train.groups,
        holdout_groups=holdout.groups,
        train_labels=train.labels,
        holdout_labels=holdout.labels,
        permutations=999,
    )
    assert found.overall.advantage.low > 0.6
    assert found.p_value == 0.001
    assert set(found.by_class) == {"benign", "malignant"}
    assert found.by_class["benign"].recall.value > 0.8
    alone = two_cohort_attack(
        doubles[0], None, train.array, holdout.array, rule="threshold", permutations=999
    )
    assert alone.overall.advantage.low > 0.4
    exchanged = two_cohort_attack(*doubles[::-1], train.array, holdout.array, permutations=99)
    assert exchanged.overall.advantage.high < -0.5
    assert exchanged.p_value == 1.0


@pytest.mark.parametrize("rule", ["nearer", "threshold"])
def test_independent_doubles_give_nobody_away(rule):
    alarms, gains = 0, []
    for i in range(60):
        rng = np.random.default_rng(i)
        train, holdout, one, two = (patients(rng, 30, name, likeness=0.9) for name in "abcd")
        found = two_cohort_attack(
            one.array,
            two.array,
            train.array,
            holdout.array,
            train_groups=train.groups,
            holdout_groups=holdout.groups,
            rule=rule,
            permutations=99,
            seed=i,
        )
        alarms += found.p_value <= 0.05
        gains.append(found.overall.advantage.value)
    assert alarms <= 9  # 3 expected; more has a probability of 0.1%
    assert abs(np.mean(gains)) < 3 * np.std(gains) / 60**0.5


def test_what_it_needs():
    x = np.eye(4)
    with pytest.raises(DataDoubleError, match="second double"):
        two_cohort_attack(x, None, x, x)
    with pytest.raises(DataDoubleError, match="unknown rule"):
        two_cohort_attack(x, x, x, x, rule="best")
