import numpy as np
import pytest

from datadouble.audit.pictures import Pictures
from datadouble.audit.privacy.copy_report import assess_copies
from datadouble.audit.privacy.gate import GateLimits, PrivacyGate
from datadouble.audit.privacy.planted import redrawn
from datadouble.audit.privacy.thumbnails import thumbnail_features
from datadouble.cohort.phantom import draw

TRAIN, UNSEEN, POSERS = slice(0, 30), slice(30, 60), slice(60, 90)


def scans(rows: slice) -> np.ndarray:
    classes = ("3", "4")
    patients = range(rows.start, rows.stop)
    return np.stack(
        [draw("breast-ultrasound", p, 0, classes[p % 2], size=64, seed=7).image for p in patients]
    )


def as_pictures(array: np.ndarray) -> Pictures:
    names = np.array([f"p{i}" for i in range(len(array))])
    return Pictures(array, None, np.zeros(len(array), bool), names, names, names, np.arange(len(array)))


@pytest.fixture(scope="module")
def gate() -> PrivacyGate:
    return PrivacyGate(
        scans(TRAIN),
        scans(UNSEEN),
        train_groups=np.arange(30),
        unseen_groups=np.arange(30, 60),
        extract={"thumbnails": lambda pictures: thumbnail_features(pictures)},
    )


def test_unseen_patients_pass_and_one_copy_fails(gate: PrivacyGate) -> None:
    posers = scans(POSERS)
    clean = gate(posers)
    assert not clean.alarm and clean.reasons == () and len(clean.copies) == 0
    leaky = posers.copy()
    leaky[11] = gate.train[4][:, ::-1]
    found = gate(leaky)
    assert found.alarm
    np.testing.assert_array_equal(found.copies, [11])
    assert "1 picture is a copy" in found.reasons[0]


def test_redrawn_training_pictures_fail_by_membership(gate: PrivacyGate) -> None:
    pictures, _ = redrawn(gate.train, 30, seed=0)
    result = gate.check_membership(pictures)
    assert result.alarm and result.membership["p_value"] < 0.01
    lenient = PrivacyGate(
        gate.train,
        gate.unseen,
        train_groups=np.arange(30),
        unseen_groups=np.arange(30, 60),
        extract={"thumbnails": lambda x: thumbnail_features(x)},
        limits=GateLimits(membership_advantage=1.0),
    )
    assert not lenient.check_membership(pictures).alarm


def test_the_report_bounds_the_rate_and_shows_the_pair(gate: PrivacyGate) -> None:
    double = scans(POSERS)
    double[2] = gate.train[9]
    found = assess_copies(as_pictures(double), as_pictures(gate.train), gate, pairs=5)
    rate = found.evidence["rate"]
    assert rate["copies"] == 1 and rate["value"] == pytest.approx(1 / 30)
    # exact one-sided bound: the rate at which 1 or fewer of 30 has probability 5%
    p = rate["high"]
    assert (1 - p) ** 30 + 30 * p * (1 - p) ** 29 == pytest.approx(0.05, abs=1e-6)
    assert len(found.pairs) == 5
    lead = found.pairs[0]
    assert (lead.synthetic, lead.train, lead.copy, lead.mirrored) == (2, 9, True, False)
    np.testing.assert_allclose(lead.box, lead.train_box, atol=0.02)
    assert found.pairs[1].score < lead.score and not found.pairs[1].copy


def test_no_copies_in_500_is_at_most_six_in_a_thousand() -> None:
    from datadouble.stats import proportion_interval

    assert proportion_interval(0, 500, confidence=0.9, method="clopper-pearson").high == pytest.approx(
        0.006, abs=5e-5
    )


def test_seen_pictures_are_not_searched_again(gate: PrivacyGate) -> None:
    posers = scans(POSERS)
    gate.check_copies(posers)
    known = len(gate._matches)
    gate.check_copies(posers[::-1])
    assert len(gate._matches) == known
