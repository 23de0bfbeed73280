"""The first report end to end on a small cohort: evidence complete, page self-contained and escaped."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from datadouble.audit.report import first_report
from datadouble.cohort.cohort import CohortInfo
from datadouble.cohort.writer import CohortWriter

EVIL = "<script>alert('x')</script> & \"4\""


class PatchExtractor:
    """The 16 block means of a picture: fast, and a copy has equal features."""

    name, input_size, dimension, fingerprint, preprocessing = "patches", 16, 16, "f1", "block means"

    def features(self, pictures):
        return pictures.reshape(-1, 4, 4, 4, 4).mean((2, 4)).reshape(-1, 16).astype(np.float32)

    def logits(self, features):
        return features / 32


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.addresses, self.tags, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [
            value for name, value in attrs if name in ("src", "href", "action", "data", "poster")
        ]

    def handle_data(self, data):
        self.text += data


def make(path, origin, patients, seed, splits=("train", "holdout", "test"), copies=()):
    rng = np.random.default_rng(seed)
    info = CohortInfo(
        f"{origin} <b>", origin, "ultrasound", ("3", EVIL), generator={"recipe": "toy", "run": "/srv/secret"}
    )
    with CohortWriter(path, info) as writer:
        for i in range(patients * 2):
            picture = np.kron(rng.uniform(0, 255, (8, 8)), np.ones((2, 2))).astype(np.uint8)
            if i < len(copies):
                picture = copies[i]
            writer.add(
                picture,
                image_id=f"{origin[0]}{i:04d}",
                patient_id=f"secret-patient-{i // 2}",
                label=info.classes[(i // 2) % 2],
                split=splits[i // 2 * len(splits) // patients] if splits else "",
            )
        return writer.finish()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    real = make(root / "real", "real", 90, 1)
    train = [real.image(i) for i in (0, 2, 4)]
    double = make(root / "double", "synthetic", 60, 2, splits=(), copies=train)
    (double.path / "images" / "s0100.png").write_bytes(b"broken")
    run = root / "run"
    run.mkdir()
    (run / "config.toml").write_text('cohort = "/srv/secret/cohort"\n[training]\nbatch = 64\n')
    lines = [
        json.dumps({"images_seen": 64 * i, "loss": 1 / i, "validation_loss": {"100": 1.0, "900": 0.1}})
        for i in range(1, 30)
    ]
    (run / "metrics.jsonl").write_text("\n".join(lines) + '\n{"images_se')
    evidence = first_report(
        double, real, root / "out", run=run, extractor=PatchExtractor(), resamples=20, repeats=3
    )
    return (
        root,
        evidence,
        json.loads((root / "out" / "evidence.json").read_text()),
        (root / "out" / "report.html").read_text(),
    )


def test_evidence_has_every_number_with_interval_and_n(written):
    _, _, found, _ = written
    assert found["schema_version"] == 1
    assert found["verdict"] == "inconclusive"
    assert found["reasons"]
    assert found["extractor"]["fingerprint"].startswith("f1")
    assert found["software"]["datadouble"]
    assert found["double"]["unreadable"] == ["s0100"]
    assert {"fidelity", "privacy", "usefulness", "realism", "controls"} <= set(found)
    for part in [found["fidelity"]["overall"], *found["fidelity"]["classes"].values()]:
        for metric in ("fd", "kid"):
            assert {"name", "value", "low", "high", "n", "floor", "resamples"} <= set(part[metric])
            assert part[metric]["n"] == part[metric]["floor"]["n"] == part["n"]
        for side in ("synthetic", "real", "log_synthetic", "log_real"):
            assert {"value", "low", "high", "n"} == set(part["inception_score"][side])
    assert found["fidelity"]["overall"]["fd"]["name"] == "FD(patches)"
    assert found["fidelity"]["overall"]["fd"]["small_sample"] is True
    assert any("Small sample" in note for note in found["notes"])
    neighbours = found["privacy"]["neighbours"]
    assert {"value", "low", "high", "n", "gallery", "repeats"} == set(neighbours["nearer_to_train"])


def test_planted_copies_lead_the_closest_pairs(written):
    closest = written[2]["privacy"]["neighbours"]["closest"]
    assert [pair["image_id"] for pair in closest[:3]] == ["s0000", "s0001", "s0002"]
    assert all(pair["similarity"] > 0.99999 for pair in closest[:3])
    assert written[2]["privacy"]["neighbours"]["beyond_every_control"]["n"] >= 3


def test_a_few_copies_raise_the_alarm():
    # Five of 400 beyond all of 493: 400/893 x 399/892 x ... = 0.018. None: certain.
    from datadouble.audit.privacy.first_look import chance_of_leading

    assert chance_of_leading(5, 400, 493) == pytest.approx(0.0178, abs=2e-4)
    assert chance_of_leading(0, 400, 493) == 1.0
    assert chance_of_leading(1, 10, 30) == 0.25


def test_no_patient_and_no_path_in_the_evidence(written):
    root, _, found, page = written
    text = json.dumps(found)
    for secret in ("secret", str(root), "r0000"):
        assert secret not in text
    assert "secret-patient" not in page
    assert "/srv" not in page
    assert str(root) not in page


def test_the_page_is_self_contained_and_escaped(written):
    page = Page()
    page.feed(written[3])
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert len(page.addresses) > 20
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert "url(" not in written[3]
    assert EVIL in page.text  # shown as text
    for heading in (
        "At a glance",
        "Pictures by class",
        "Nearest training pictures",
        "Training",
        "How to read this",
    ):
        assert heading in page.text
    assert "s0100" in page.text  # the broken picture


def test_same_seed_same_numbers(written):
    from datadouble.cohort.cohort import Cohort

    root, evidence, _, page = written
    again = first_report(
        Cohort.open(root / "double"),
        Cohort.open(root / "real"),
        root / "out",
        run=root / "run",
        extractor=PatchExtractor(),
        resamples=20,
        repeats=3,
    )
    assert again.to_json() == evidence.to_json()
    assert (root / "out" / "report.html").read_text() == page


def test_without_splits_it_says_what_it_used(tmp_path):
    real = make(tmp_path / "real", "real", 60, 3, splits=())
    double = make(tmp_path / "double", "synthetic", 40, 4, splits=())
    found = first_report(
        double, real, tmp_path / "out", extractor=PatchExtractor(), resamples=10, repeats=2
    ).to_json()
    assert any("no test or holdout" in note for note in found["notes"])
    assert found["settings"]["gallery"] == "all"
    assert found["fidelity"]["overall"]["fd"]["floor"]["between"] == "halves"
    assert "nearer_to_train" not in found["privacy"]["neighbours"]
    assert "no holdout to compare with" in (tmp_path / "out" / "report.html").read_text()


def test_too_few_pictures_for_a_distance(tmp_path):
    real, double = (
        make(tmp_path / "real", "real", 9, 5),
        make(tmp_path / "double", "synthetic", 3, 6, splits=()),
    )
    found = first_report(double, real, tmp_path / "out", extractor=PatchExtractor(), resamples=10).to_json()
    assert "fd" not in found["fidelity"]["overall"]
    assert any("too few" in note for note in found["notes"])
