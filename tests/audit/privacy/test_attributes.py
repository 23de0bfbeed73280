"""Attribute disclosure: copies with their labels show a risk, what any patient's picture tells is none."""

import numpy as np
import pytest

from datadouble.audit.privacy.attributes import attribute_disclosure, guess, weights_to_match
from datadouble.errors import DataDoubleError

from .patients import patients


def test_guesses_by_hand():
    release, values = np.array([[1.0, 0], [0.9, 0.1], [0, 1], [-1, 0]]), np.array(["a", "b", "b", "c"])
    targets = np.array([[2.0, 0], [0.1, 5], [-1, 0.1]])
    assert guess(release, values, targets).tolist() == ["a", "b", "c"]
    assert guess(release, values, targets[:1], neighbours=3).tolist() == ["b"]
    assert guess(release, values, targets[:1], neighbours=2).tolist() == ["a"]  # one vote each: the nearer


def test_copies_with_their_labels_give_them_away():
    rng = np.random.default_rng(0)
    train, holdout = patients(rng, 80, "a"), patients(rng, 80, "b")
    site = {
        side: rng.integers(0, 4, 80).astype(str)[np.unique(s.groups, return_inverse=True)[1]]
        for side, s in (("train", train), ("holdout", holdout))
    }
    found = attribute_disclosure(
        train.array + 0.05 * rng.normal(size=train.array.shape),
        site["train"],
        train.array,
        site["train"],
        holdout.array,
        site["holdout"],
        attribute="site",
        train_groups=train.groups,
        holdout_groups=holdout.groups,
        permutations=999,
    )
    assert found.risk.low > 0.8
    assert found.p_value == 0.001
    assert found.attack.low > 0.9
    assert found.control.value < 0.4
    assert found.baseline.value < 0.5
    assert found.worth_having


def test_what_the_picture_itself_tells_is_no_disclosure():
    """Unseen patients' diagnoses are guessed well too: useful, and nobody is given away."""
    alarms, risks = 0, []
    for i in range(60):
        rng = np.random.default_rng(i)
        train, holdout, release = (patients(rng, 40, name, likeness=0.9) for name in "abc")
        for side in (train, holdout, release):
            side.array[:, 0] += 3 * (side.labels == "malignant")
        found = attribute_disclosure(
            release.array,
            release.labels,
            train.array,
            train.labels,
            holdout.array,
            holdout.labels,
            attribute="label",
            train_groups=train.groups,
            holdout_groups=holdout.groups,
            permutations=99,
            seed=i,
        )
        assert found.attack.low > found.baseline.value
        alarms += found.p_value <= 0.05
        risks.append(found.risk.low)
    assert alarms <= 9  # 3 expected; more has a probability of 0.1%
    assert np.mean(np.array(risks) > 0) <= 0.1


def test_the_control_is_weighted_to_the_mix_of_train():
    values, wished = np.array(["a", "a", "a", "b"]), np.array(["a", "b"])
    assert weights_to_match(values, wished) == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])
    assert weights_to_match(values, np.array(["c"])).tolist() == [1, 1, 1, 1]


def test_unknown_values_are_left_out_and_a_missing_attribute_is_refused():
    rng = np.random.default_rng(1)
    x, values = rng.normal(size=(40, 3)), np.array(["a", "b", "", "a"] * 10)
    found = attribute_disclosure(
        x, values, x[:20], values[:20], x[20:], values[20:], attribute="site", permutations=9
    )
    assert (found.attack.n, found.control.n, found.values) == (15, 15, 2)
    with pytest.raises(DataDoubleError, match="does not carry"):
        attribute_disclosure(x, np.full(40, "a"), x, values, x + 1, values, attribute="site")
