"""Attacks on segmenters: one that learned by heart is caught, an untrained one is not, centres must agree."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datadouble.audit.privacy import downstream
from datadouble.audit.privacy.downstream import Subjects, audit_downstream, check_same_centres, same_centres
from datadouble.audit.utility.segmenter_data import Cases
from datadouble.audit.utility.segmenter_settings import SEGMENTERS
from datadouble.audit.utility.segmenters import train_segmenter
from datadouble.errors import DataDoubleError

FAST = replace(SEGMENTERS["demo"]["unet"], steps=30, width=8, size=16, levels=3, learning_rate=8e-3)


def vague(patients: range, seed: int) -> Cases:
    """Lesions whose outline the picture does not show: only who has seen the mask can know it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    images, masks = [], []
    for _ in patients:
        cy, cx = rng.uniform(5, 11, 2)
        a, b, turn = rng.uniform(2, 5), rng.uniform(2, 5), rng.uniform(0, np.pi)
        u = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
        v = (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
        masks.append(((u / a) ** 2 + (v / b) ** 2 < 1).astype(np.uint8))
        glow = 90 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 18)
        images.append(np.clip(60 + glow + rng.normal(0, 25, (16, 16)), 0, 255).astype(np.uint8))
    return Cases(np.stack(images), np.stack(masks), np.array([f"p{p}" for p in patients]))


@pytest.fixture(scope="module")
def subjects() -> Subjects:
    cases = vague(range(80), 0)
    return Subjects(cases, np.arange(80) % 2 == 0, np.repeat(["a", "b"], 40))


@pytest.fixture(scope="module")
def found(subjects: Subjects, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    cache = tmp_path_factory.mktemp("downstream")
    member = subjects.cases.only(subjects.member)
    by_heart = train_segmenter(
        "unet", member.images, member.masks, 2, replace(FAST, steps=160, augment="none", weight_decay=0.0), 5
    )
    others = vague(range(300, 340), 9)
    clean = train_segmenter("unet", others.images, others.masks, 2, FAST, 6)
    result = audit_downstream(
        {"real": by_heart, "elsewhere": clean},
        subjects,
        vague(range(200, 240), 1),
        2,
        preset=FAST,
        shadows=6,
        permutations=999,
        cache=cache,
    )
    return result, cache


def test_controls_and_findings(found: tuple[dict, Path]) -> None:
    result = found[0]
    assert result["controls"]["passed"]
    assert result["controls"]["by_heart"]["patients"] == 24
    assert result["victims"]["real"]["finding"] == "found"
    assert result["victims"]["elsewhere"]["finding"] == "not found"
    assert result["victims"]["real"]["attacks"]["lira_offline"]["auc"]["value"] > 0.65
    assert result["victims"]["real"]["attacks"]["dice_threshold"]["overall"]["advantage"]["low"] > 0.2
    assert result["victims"]["elsewhere"]["attacks"]["dice_optimistic"]["overall"]["advantage"]["value"] > 0
    assert result["n"] == {"members": 40, "others": 40, "own": 40, "centres": 2}
    json.dumps(result, allow_nan=False)


def test_finished_shadows_are_kept(
    found: tuple[dict, Path], subjects: Subjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = sorted(found[1].rglob("shadow-*.json"))
    assert len(stored) == 6
    stored[3].write_text("{")
    trained: list[int] = []
    true = downstream._Trainer.train

    def counted(self, cases, seed, settings=None):
        trained.append(seed)
        return true(self, cases, seed, settings or replace(FAST, steps=1))

    monkeypatch.setattr(downstream._Trainer, "train", counted)
    audit_downstream(
        {}, subjects, vague(range(200, 240), 1), 2, preset=FAST, shadows=6, permutations=9, cache=found[1]
    )
    assert len(trained) == 4  # the damaged one, the attacker's own, two controls


def test_failed_controls_leave_nothing_proven(
    subjects: Subjects, monkeypatch: pytest.MonkeyPatch, found: tuple[dict, Path]
) -> None:
    monkeypatch.setattr(downstream, "BY_HEART_STEPS", 0)  # learns nothing
    quick = replace(FAST, steps=2)
    result = audit_downstream(
        {"any": train_segmenter("unet", *_pair(subjects), 2, quick)},
        subjects,
        vague(range(200, 240), 1),
        2,
        preset=quick,
        shadows=4,
        permutations=99,
    )
    assert not result["controls"]["passed"] and result["victims"]["any"]["finding"] == "inconclusive"


def _pair(subjects: Subjects) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(subjects.cases.images), np.asarray(subjects.cases.masks)


def test_centres_must_agree() -> None:
    member = np.array([True, False, True, True, False])
    sites = np.array(["a", "a", "b", "b", "c"])
    patients = np.array(["1", "2", "3", "3", "4"])
    with pytest.raises(DataDoubleError, match="b: 1 patient, all members; c: 1 patient, all others"):
        check_same_centres(member, sites, patients)
    assert same_centres(member, sites).tolist() == [True, True, False, False, False]
    check_same_centres(member[:2], sites[:2], patients[:2])


def test_bad_input_is_refused(subjects: Subjects) -> None:
    own = vague(range(200, 212), 1)
    with pytest.raises(DataDoubleError, match="show subjects"):
        audit_downstream({}, subjects, vague(range(75, 90), 1), 2, preset=FAST)
    with pytest.raises(DataDoubleError, match="need 8 patients a side"):
        audit_downstream({}, subjects, own.only(np.arange(5)), 2, preset=FAST)
    both = replace(subjects.cases, patients=np.full(80, "one"))
    with pytest.raises(DataDoubleError, match="member and another"):
        audit_downstream({}, replace(subjects, cases=both), own, 2, preset=FAST)
    apart = replace(subjects, sites=np.where(subjects.member, "a", "b"))
    with pytest.raises(DataDoubleError, match="same centres"):
        audit_downstream({}, apart, own, 2, preset=FAST)
    volume = Cases(
        [np.zeros((3, 8, 8), np.uint8)], [np.zeros((3, 8, 8), np.uint8)], np.array(["p"]), [(1, 1, 1)]
    )
    with pytest.raises(DataDoubleError, match="give the slices"):
        audit_downstream({}, replace(subjects, cases=volume), own, 2, preset=FAST)
