"""Membership: false alarms no oftener than said, whatever the patients; an overfitted release fails clearly."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from datadouble.audit.privacy.membership import (
    Space,
    joint_membership,
    membership_advantage,
    release_membership,
)
from datadouble.audit.privacy.planted import redraw
from datadouble.audit.privacy.thumbnails import thumbnail_features
from datadouble.errors import DataDoubleError

from .patients import patients


def test_unseen_patients_posing_as_synthetic_raise_few_alarms():
    """200 splits of real patients: within-patient correlation must not make the test see members."""
    p_values = []
    for i in range(200):
        rng = np.random.default_rng(i)
        train, holdout, posing = (patients(rng, 40, name, likeness=0.9) for name in ("a", "b", "c"))
        found = release_membership(
            posing.array,
            train.array,
            holdout.array,
            train_groups=train.groups,
            holdout_groups=holdout.groups,
            train_labels=train.labels,
            holdout_labels=holdout.labels,
            permutations=99,
            repeats=1,
            seed=i,
        )
        p_values.append(found.p_value)
    # 10 of 200 expected at 0.05, 40 at 0.2; more than 20 and 58 have a probability of 0.1%.
    assert np.sum(np.array(p_values) <= 0.05) <= 20
    assert np.sum(np.array(p_values) <= 0.2) <= 58


def test_counting_pictures_as_independent_would_raise_many():
    """Features in a cone have hubs: chance decides on which side the patients lie that much of a release is near to."""
    exact, binomial = 0, 0
    for i in range(60):
        rng = np.random.default_rng(i)
        train, holdout, release = (1 + rng.normal(size=(n, 20)) for n in (30, 30, 500))
        found = release_membership(release, train, holdout, permutations=99, repeats=1, seed=i, align=False)
        exact += found.p_value <= 0.05
        binomial += found.nearer.p_binomial <= 0.05
    assert exact <= 9  # 3 expected; more has a probability of 0.1%
    assert binomial >= 15


def test_another_class_mix_in_train_is_no_membership():
    """Train holds mostly class 1, the release too, and nothing is copied."""
    alarms, blind = 0, 0
    for i in range(100):
        rng = np.random.default_rng(1000 + i)
        labels = [np.arange(50) < k for k in (40, 10, 45)]
        train, holdout, release = (rng.normal(size=(50, 4)) + 3 * label[:, None] for label in labels)
        given = {"permutations": 99, "repeats": 1, "seed": i, "align": False}
        stratified = release_membership(
            release, train, holdout, train_labels=labels[0], holdout_labels=labels[1], **given
        )
        alarms += stratified.p_value <= 0.05
        blind += release_membership(release, train, holdout, **given).p_value <= 0.05
    assert alarms <= 13  # 5 expected; more has a probability of 0.1%
    assert blind > 50


def test_an_overfitted_release_fails_clearly():
    rng = np.random.default_rng(3)
    train, holdout = patients(rng, 100, "a"), patients(rng, 60, "b")
    release = train.array + 0.2 * rng.normal(size=train.array.shape)
    found = release_membership(
        release,
        train.array,
        holdout.array,
        train_groups=train.groups,
        holdout_groups=holdout.groups,
        permutations=999,
    )
    assert found.p_value == 0.001
    assert found.auc.low > 0.9
    assert found.advantage.low > 0.6
    assert found.tpr_at_1_fpr.low > 0.3
    assert found.nearer.low > 0.65  # 40 of the 100 are left out of each draw
    assert found.nearer.p_binomial < 1e-6
    assert (found.train_patients, found.holdout_patients) == (100, 60)
    assert found.nearer.patients == 60


def test_a_few_members_in_a_clean_release_are_seen_in_the_tail():
    rng = np.random.default_rng(4)
    train, holdout, clean = (patients(rng, 150, name, d=32) for name in ("a", "b", "c"))
    rows = rng.choice(len(train.array), 25, replace=False)
    release = np.concatenate([clean.array, train.array[rows] + 0.05 * rng.normal(size=(25, 32))])
    found = release_membership(
        release,
        train.array,
        holdout.array,
        train_groups=train.groups,
        holdout_groups=holdout.groups,
        permutations=999,
    )
    assert found.p_values["tail"] <= 0.01
    assert found.tpr_at_1_fpr.value > 0.1
    assert found.auc.value < 0.65


def picture(seed: int, side: int = 64) -> np.ndarray:
    """A simulated scan: coarse structure times speckle."""
    rng = np.random.default_rng(seed)
    structure = gaussian_filter(rng.normal(size=(side, side)), side / 10)
    structure = 110 + 40 * structure / structure.std()
    speckle = gaussian_filter(rng.normal(size=(side, side)), 0.7)
    return np.clip(structure * (1 + 0.25 * speckle / speckle.std()), 0, 255).astype(np.uint8)


def test_warped_training_pictures_with_fresh_speckle_fail_and_others_pass():
    train, holdout, other = ([picture(1000 * k + i) for i in range(60)] for k in (1, 2, 3))
    sides = [thumbnail_features(side) for side in (train, holdout)]
    # Some mirrored, all warped and with new speckle: no pixel is a copy.
    redrawn = [redraw(p[:, ::-1] if i % 2 else p, seed=i) for i, p in enumerate(train)]
    overfitted = release_membership(thumbnail_features(redrawn), *sides, permutations=999)
    assert overfitted.p_value == 0.001
    assert overfitted.auc.low > 0.8
    honest = release_membership(thumbnail_features([redraw(p, seed=i) for i, p in enumerate(other)]), *sides)
    assert honest.p_value > 0.05
    assert honest.auc.low < 0.5 < honest.auc.high


def test_a_style_of_all_pictures_hides_nothing():
    """A generator's style shifts and scales every feature alike."""
    rng = np.random.default_rng(6)
    train, holdout = rng.normal(size=(80, 16)), rng.normal(size=(80, 16))
    release = 3 * (train + 0.3 * rng.normal(size=train.shape)) + 40 * rng.normal(size=16)
    assert release_membership(release, train, holdout, permutations=999).p_value == 0.001
    assert release_membership(release, train, holdout, permutations=999, align=False).auc.value < 0.8


def test_the_best_of_several_spaces_has_one_exact_p_value():
    p_values = []
    for i in range(60):
        rng = np.random.default_rng(5000 + i)
        spaces = {f"s{k}": Space(*(rng.normal(size=(30, 4)) for _ in range(3))) for k in range(4)}
        p_values.append(joint_membership(spaces, permutations=99, repeats=1, seed=i).p_value)
    assert np.sum(np.array(p_values) <= 0.05) <= 9  # 3 expected; more has a probability of 0.1%
    train = rng.normal(size=(30, 4))
    spaces["copied"] = Space(train + 0.01, train, rng.normal(size=(30, 4)))
    found = joint_membership(spaces, permutations=999)
    assert found.p_value == 0.001
    assert set(found.to_json()["spaces"]) == {"s0", "s1", "s2", "s3", "copied"}


def test_spaces_must_hold_the_same_pictures():
    one, two = (Space(*(np.ones((n, 2)) for _ in range(3))) for n in (5, 6))
    with pytest.raises(DataDoubleError, match="different pictures"):
        joint_membership({"one": one, "two": two})


def test_advantage_of_guessing_is_zero_on_average():
    member, stratum = np.arange(60) < 30, np.zeros(60, int)
    found = [
        membership_advantage(member, np.random.default_rng(i).normal(size=60), stratum, seed=i)
        for i in range(300)
    ]
    values = np.array([f.value for f in found])
    assert abs(values.mean()) < 3 * values.std() / 300**0.5
    known = membership_advantage(member, member.astype(float), stratum)
    assert known.value == 1.0
    assert known.low > 0.8


def test_json_is_plain_and_names_the_attacker():
    import json

    rng = np.random.default_rng(7)
    found = release_membership(*(rng.normal(size=(40, 3)) for _ in range(3)), permutations=99)
    written = json.loads(json.dumps(found.to_json()))
    assert "release only" in written["attacker"]
    assert "curves" not in written
    assert set(written["tpr_at_01_fpr"]) >= {"value", "low", "high", "n", "resolved"}
    assert found.curves.tpr[-1] == 1.0
    assert len(found.curves.members) == 40
