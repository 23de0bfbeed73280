"""A small real and a small synthetic cohort with an unfriendly class name, and evidence of every section for them."""

import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest

from datadouble.audit.features.base import Features
from datadouble.audit.fidelity.assess import assess_by_class
from datadouble.audit.fidelity.comparison import Sizes
from datadouble.audit.fidelity.coverage import assess_coverage
from datadouble.audit.fidelity.lesions import assess_lesions
from datadouble.audit.fidelity.texture import assess_texture
from datadouble.audit.parts import Part
from datadouble.audit.pictures import read_pictures
from datadouble.audit.policy import Policy, judge
from datadouble.audit.privacy.first_look import look_for_copies
from datadouble.audit.privacy.release_only import assess_release_only
from datadouble.audit.report import ReportContext
from datadouble.cohort.cohort import CohortInfo
from datadouble.cohort.writer import CohortWriter

from .by_hand import controls, estimate, model_access, realism, usefulness

EVIL = "<script>alert('x')</script> & \"4\""
SIDE = 32


class BlockMeans:
    """The 16 block means of a picture: fast, and a copy has equal features."""

    name, dimension = "patches", 16

    def logits(self, features):
        return features / 32


def make(path, origin, patients, seed):
    """Two pictures with a lesion mask for each patient; a third of the patients in each split."""
    rng = np.random.default_rng(seed)
    info = CohortInfo(
        f"{origin} <b>", origin, "ultrasound", ("3", EVIL), mask_classes=("background", "lesion")
    )
    with CohortWriter(path, info) as writer:
        for i in range(patients * 2):
            coarse = np.kron(rng.uniform(0, 255, (8, 8)), np.ones((4, 4)))
            picture = np.clip(coarse + rng.normal(0, 20, (SIDE, SIDE)), 0, 255).astype(np.uint8)
            mask = np.zeros((SIDE, SIDE), np.uint8)
            y, x, h, w = rng.integers(4, 12, 4)
            mask[y : y + h, x : x + w] = 1
            writer.add(
                picture,
                mask=mask,
                image_id=f"{origin[0]}{i:04d}",
                patient_id=f"secret-patient-{i // 2}" if origin == "real" else f"drawn-{i}",
                label=info.classes[(i // 2) % 2],
                split=("train", "holdout", "test")[i // 2 * 3 // patients] if origin == "real" else "",
            )
        return writer.finish()


def features(pictures):
    blocks = (
        pictures.array.astype(np.float32).reshape(-1, 4, SIDE // 4, 4, SIDE // 4).mean((2, 4)).reshape(-1, 16)
    )
    return Features(blocks, pictures.image_ids, pictures.patients, pictures.labels, pictures.rows, "f1")


@pytest.fixture(scope="session")
def estimates():
    """Makes an estimate: value, low, high, n and whatever else."""
    return estimate


@pytest.fixture(scope="session")
def cohorts(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    return SimpleNamespace(
        root=root, real=make(root / "real", "real", 60, 1), double=make(root / "double", "synthetic", 30, 2)
    )


@pytest.fixture(scope="session")
def measured(cohorts):
    """(evidence, parts) of the parts that are quick to measure, by the audit's own functions."""
    double, real = read_pictures(cohorts.double, SIDE), read_pictures(cohorts.real, SIDE)
    splits = cohorts.real.table["split"].to_numpy()[real.rows]
    train, holdout, test = (real.where(splits == name) for name in ("train", "holdout", "test"))
    sizes, classes = Sizes(8, 2), cohorts.double.info.classes
    fidelity = assess_by_class(
        features(double), features(test), features(train), BlockMeans(), classes=classes, sizes=sizes
    )
    fidelity["texture"], texture = assess_texture(double, test, train, classes=classes, sizes=sizes)
    fidelity["lesions"], lesions = assess_lesions(
        double, test, train, mask_classes=("background", "lesion"), classes=classes, sizes=sizes
    )
    fidelity["coverage"], coverage = assess_coverage(
        features(double), features(test), features(train), sizes=sizes
    )
    look = look_for_copies(features(double), features(train), features(holdout), repeats=2)
    found = assess_release_only(
        features(double),
        features(train),
        features(holdout),
        name="patches",
        repeats=2,
        orders=2,
        permutations=49,
    )
    privacy = {"neighbours": look.evidence, "measured": True, **found.evidence}
    guesses = privacy["attributes"]
    worst = {key: guesses[0][key] for key in ("attribute", "space", "risk")}
    privacy["attributes"] = {"guesses": guesses, "p_value": guesses[0]["p_value"], "worst": worst}
    lines = texture.spectrum._asdict()
    parts = {
        "texture": Part(
            {},
            {f"spectrum/{key}": value for key, value in lines.items()}
            | {"grey_synthetic": texture.grey_synthetic, "grey_real": texture.grey_real},
        ),
        "lesions": Part(
            {},
            {
                f"{name}/{key}/{side}": values
                for name, properties in lesions.items()
                for key, pair in properties.items()
                for side, values in zip(("synthetic", "real"), pair)
            },
        ),
        "coverage": Part(
            {},
            {f"mode{mode.mode}/real": mode.rows for mode in coverage.modes}
            | {f"mode{mode.mode}/nearest": mode.nearest_rows for mode in coverage.modes},
        ),
        "neighbours": Part(
            {},
            {
                "pairs": np.array([[pair.synthetic, pair.train] for pair in look.pairs]),
                "pair_similarity": np.array([pair.similarity for pair in look.pairs]),
                "similarities": look.similarities,
                "control": look.control,
            },
        ),
        "release_only": Part(
            {},
            {
                f"{name}/{key}": np.asarray(value)
                for name, curves in found.material.membership.items()
                for key, value in curves._asdict().items()
            },
        ),
        "copies": Part(
            {},
            {
                "pairs": np.array([[0, 0], [1, 2], [2, 4]]),
                "pair_score": np.array([9.0, 2.0, 1.0]),
                "pair_copy": np.array([1, 0, 0], np.uint8),
                "pair_mirrored": np.array([0, 1, 0], np.uint8),
                "pair_box": np.array([[0.1, 0.2, 0.5, 0.6]] * 3),
                "pair_train_box": np.array(
                    [[-0.2, 0.2, 0.3, 0.6], [0.8, 0.1, 0.4, 0.5], [1.2, 1.2, 1.5, 1.5]]
                ),
                "scores": np.linspace(-1, 3, 60),
                "control_scores": np.linspace(-1, 2, 40),
                "threshold": np.array([8.0]),
            },
        ),
    }
    return {"fidelity": fidelity, "privacy": privacy}, parts


@pytest.fixture(scope="session")
def passing(cohorts, measured):
    """Evidence of an audit that passes, as plain JSON; no test may change it."""
    found = json.loads(json.dumps(_evidence(cohorts, measured[0]), default=_plain))
    return judged(found)


@pytest.fixture
def evidence(passing):
    """A copy of the same, to be spoiled by a test."""
    return copy.deepcopy(passing)


@pytest.fixture
def judge_again():
    """Takes the verdict once more after a test has changed the evidence."""
    return judged


def judged(found):
    policy = Policy.read()
    judgement = judge(found, policy)
    found["verdict"], found["reasons"] = judgement.verdict, judgement.reasons
    found["policy"] = policy.to_json() | {"findings": [dict(f._asdict()) for f in judgement.findings]}
    return found


@pytest.fixture
def parts(measured):
    return dict(measured[1])


@pytest.fixture(scope="session")
def context(cohorts):
    run = cohorts.root / "run"
    run.mkdir()
    (run / "config.toml").write_text('cohort = "/srv/secret/cohort"\n[training]\nbatch = 64\n')
    lines = [
        json.dumps({"images_seen": 64 * i, "loss": 1 / i, "validation_loss": {"100": 1.0}})
        for i in range(1, 30)
    ]
    (run / "metrics.jsonl").write_text("\n".join(lines) + '\n{"images_se')
    rows = np.flatnonzero(cohorts.real.table["split"] == "test")
    broken = [
        ("double: s9999", "cannot identify image file '/srv/secret/x.png'"),
        ("real: secret-patient-3-l", "no"),
    ]
    return ReportContext(cohorts.double, cohorts.real, rows, SIDE, run, 0, broken)


def _plain(value):
    return value.tolist() if isinstance(value, np.ndarray) else value.item()


def _evidence(cohorts, measured):
    gate = {
        "alarm": False,
        "reasons": [],
        "copies": 0,
        "n": 400,
        "threshold": {"threshold": 8.0, "n": 40, "patients": 20},
        "membership": {
            "p_value": 0.4,
            "space": "patches",
            "advantage": estimate(0.01, -0.1, 0.1),
            "auc": estimate(0.51, 0.45, 0.57, 120),
        },
    }
    privacy = measured["privacy"] | {
        "gate": gate,
        "copies": {"n": 400, "p_value": 0.6, "rate": estimate(0.0, 0.0, 0.0075, 400, copies=0)},
        "model_access": model_access(),
    }
    privacy["attributes"] = privacy["attributes"] | {"p_value": 0.5}
    real = {"images": 120, "patients": 60, "splits": {"train": 40, "holdout": 40, "test": 40}}
    return {
        "verdict": "",
        "reasons": [],
        "software": {"datadouble": "0.1.0", "torch": "2.13"},
        "double": {
            "name": cohorts.double.info.name,
            "modality": "ultrasound",
            "images": 60,
            "classes": {"3": 30, EVIL: 30},
            "contains_real_pixels": False,
            "generator": {"recipe": "toy", "steps": 20},
        },
        "real": {"name": cohorts.real.info.name, **real},
        "extractor": {"name": "patches", "fingerprint": "f1", "preprocessing": "block means"},
        "settings": {"seed": 0, "at_size": SIDE, "reference": ["test"], "effort": {"name": "demo"}},
        "fidelity": measured["fidelity"],
        "privacy": privacy,
        "usefulness": usefulness(),
        "realism": realism(),
        "controls": controls(),
        "notes": ["A note about /srv/secret/place."],
    }
