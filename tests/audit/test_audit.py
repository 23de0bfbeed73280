"""The whole audit on simulated scans: a clean double, one with a copy in it, and a broken picture."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import datadouble
from datadouble.audit.efforts import Effort
from datadouble.audit.evidence import Evidence
from datadouble.audit.parts import Part
from datadouble.cohort import Cohort
from datadouble.cohort.cohort import CohortInfo
from datadouble.cohort.phantom.cohort import make_phantom_cohort
from datadouble.cohort.split import split_cohort
from datadouble.cohort.writer import CohortWriter
from datadouble.errors import DataDoubleError

CLASSES = ("4", "5")  # not 2: a smooth black cyst looks like any other
SIZE = 64


class PatchExtractor:
    """Block means of a picture: fast, and honest about what they see."""

    name, input_size, dimension, fingerprint, preprocessing = "patches", 32, 64, "f1", "block means"

    def features(self, pictures: np.ndarray) -> np.ndarray:
        return pictures.reshape(-1, 8, 4, 8, 4).mean((2, 4)).reshape(-1, 64).astype(np.float32)

    def logits(self, features: np.ndarray) -> None:
        return None


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    path = tmp_path_factory.mktemp("audit") / "real"
    make_phantom_cohort(path, patients=100, pictures_per_patient=(1, 1), size=SIZE, classes=CLASSES)
    split_cohort(path, train=0.5, holdout=0.25, test=0.25)
    return Cohort.open(path)


def make_double(path: Path, real: Cohort, copied: int) -> Cohort:
    """Scans of other simulated patients, called synthetic; the first `copied` are training pictures."""
    others = make_phantom_cohort(
        path.with_name(f"{path.name}-others"),
        patients=40,
        pictures_per_patient=(1, 1),
        size=SIZE,
        classes=CLASSES,
        seed=7,
    )
    train = real.filter(split="train")
    info = CohortInfo("double", "synthetic", "ultrasound", CLASSES, contains_real_pixels=False)
    with CohortWriter(path, info) as writer:
        for row, sample in enumerate(others):
            image = train.image(row) if row < copied else sample.image
            writer.add(image, image_id=f"s{row:03d}", patient_id="", label=sample.row["label"])
        return writer.finish()


def judge(double: Cohort, real: Cohort, out: Path) -> Evidence:
    return datadouble.audit(
        double, real, out, only=("fidelity", "privacy"), effort="demo", extractor=PatchExtractor()
    )


def test_a_clean_double_is_not_failed_and_a_copy_fails(real: Cohort, tmp_path: Path) -> None:
    clean = judge(make_double(tmp_path / "clean", real, 0), real, tmp_path / "clean-audit")
    assert clean.verdict != "failed"
    assert clean.privacy["copies"]["rate"]["copies"] == 0
    assert clean.privacy["copies"]["rate"]["high"] > 0.05  # 0 of 40 is at most 7.2%
    came_out = {control["name"].split(",")[0]: control["ok"] for control in clean.controls["controls"]}
    assert came_out["planted: copies"] and came_out["planted: flips"] and came_out["planted: crops"]
    assert came_out["overfitted"] and came_out["unseen patients"]

    leaky = judge(make_double(tmp_path / "leaky", real, 2), real, tmp_path / "leaky-audit")
    assert leaky.verdict == "failed"
    assert any("gate" in reason for reason in leaky.reasons)
    assert leaky.privacy["copies"]["rate"]["copies"] == 2
    assert {pair["image_id"] for pair in leaky.privacy["copies"]["closest"][:2]} == {"s000", "s001"}

    written = json.loads((tmp_path / "leaky-audit" / "evidence.json").read_text())
    assert written["verdict"] == "failed"
    assert {"fidelity", "privacy", "usefulness", "realism", "controls", "policy"} <= set(written)
    page = (tmp_path / "leaky-audit" / "report.html").read_text()
    for text in (json.dumps(written), page):
        assert "phantom-0" not in text, "a patient's name"
        assert str(tmp_path) not in text, "a path"


def test_a_broken_picture_is_named_and_a_killed_audit_goes_on(
    real: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datadouble.audit import sections

    double = make_double(tmp_path / "double", real, 0)
    (double.path / "images" / "s003.png").write_bytes(b"broken")
    first = judge(double, real, tmp_path / "audit")
    assert first.double["unreadable"] == ["s003"]

    def refuse(*_: object) -> None:
        raise AssertionError("measured again")

    for name in ("distances", "release_only", "copies", "controls"):
        monkeypatch.setattr(sections, name, refuse)
    (tmp_path / "audit" / "evidence.json").unlink()
    assert judge(double, real, tmp_path / "audit").to_json() == first.to_json()


def test_without_a_holdout_nothing_passes(real: Cohort, tmp_path: Path) -> None:
    shutil.copytree(real.path, tmp_path / "real")
    alone = Cohort.open(tmp_path / "real")
    table = alone.table.copy()
    table["split"] = "train"
    alone.replace_table(table)
    found = judge(make_double(tmp_path / "double", real, 0), alone, tmp_path / "audit")
    assert found.verdict == "inconclusive"
    assert any("controls" in reason for reason in found.reasons)


def test_an_unknown_part_is_refused(real: Cohort, tmp_path: Path) -> None:
    with pytest.raises(DataDoubleError, match="unknown part"):
        datadouble.audit(real, real, tmp_path, only=("privcy",))


def test_a_mask_of_a_wrong_size_shifts_no_other_picture(
    real: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a picture has features but no pixels; both spaces must still speak of the same pictures, row by row."""
    from datadouble.audit import sections
    from datadouble.audit.efforts import EFFORTS
    from datadouble.audit.material import AuditMaterial
    from datadouble.audit.privacy.thumbnails import thumbnail_features
    from datadouble.cohort.pixels import fit_square
    from datadouble.files import save_png

    shutil.copytree(real.path, tmp_path / "real")
    broken = Cohort.open(tmp_path / "real")
    row = int(np.flatnonzero(broken.table["split"] == "train")[0])
    save_png(broken.path / str(broken.table["mask_file_name"].iloc[row]), np.zeros((8, 8), np.uint8))
    material = AuditMaterial(
        make_double(tmp_path / "double", real, 0),
        broken,
        reference="unseen",
        extractor=PatchExtractor(),
        precision="auto",
        at_size=SIZE,
        cache=tmp_path / "cache",
        processes=1,
        seed=0,
    )

    class Seen(Exception):
        pass

    def look(double: object, train: object, holdout: object, *, more_spaces: dict, **_: object) -> None:
        raise Seen(train, more_spaces["thumbnails"].train)

    monkeypatch.setattr("datadouble.audit.sections.privacy.assess_release_only", look)
    with pytest.raises(Seen) as caught:
        sections.release_only(material, EFFORTS["demo"])
    train, thumbnails = caught.value.args
    assert row not in train.rows
    expected = thumbnail_features([fit_square(broken.image(int(i)), SIZE) for i in train.rows])
    assert np.array_equal(thumbnails, expected)


def test_other_weights_in_the_same_place_are_attacked_again(tmp_path: Path) -> None:
    from datadouble.audit.parts import folder_fingerprint

    (tmp_path / "model").mkdir()
    weights = tmp_path / "model" / "best.safetensors"
    weights.write_bytes(b"first")
    before = folder_fingerprint(tmp_path / "model")
    assert folder_fingerprint(tmp_path / "model") == before
    weights.write_bytes(b"another")
    assert folder_fingerprint(tmp_path / "model") != before


def stop(error: Exception) -> Callable[..., None]:
    def measure(*_: object) -> None:
        raise error

    return measure


def full_disk() -> DataDoubleError:
    """As `files.write_with` says it."""
    error = DataDoubleError("the disk is full", where="part.safetensors")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    return error


FIDELITY = ("distances", "texture", "lesions", "coverage")


@pytest.fixture
def nothing_measured(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Every part of fidelity takes no time."""
    from datadouble.audit import sections

    for name in FIDELITY:
        monkeypatch.setattr(sections, name, lambda *_: Part({}))
    return monkeypatch


def test_what_does_not_apply_is_noted_and_what_went_wrong_is_raised(
    real: Cohort, tmp_path: Path, nothing_measured: pytest.MonkeyPatch
) -> None:
    from datadouble.audit import sections

    double = make_double(tmp_path / "double", real, 0)

    def audit(error: Exception) -> Evidence:
        nothing_measured.setattr(sections, "texture", stop(error))
        return datadouble.audit(
            double, real, tmp_path / "audit", only=("fidelity",), effort="demo", extractor=PatchExtractor()
        )

    few = audit(DataDoubleError("too few pictures", found="3"))
    assert few.fidelity["texture"]["note"] == "not measured: too few pictures (found 3)"
    assert any("too few pictures" in note for note in few.notes)
    with pytest.raises(DataDoubleError, match="disk is full"):
        audit(full_disk())
    with pytest.raises(PermissionError):
        audit(PermissionError(errno.EACCES, "Permission denied", "cache"))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"model_access": stop(DataDoubleError("the training is not finished"))}, "not finished"),
        ({"run": "nowhere"}, "no run folder"),
        ({"only": ("fidelity",), "model_access": lambda _: {}}, "part of privacy"),
        ({"grouping": "4|9", "only": ("usefulness",)}, "too few real training patients"),
        ({"effort": Effort("mine", utility="cpuu")}, "unknown preset"),
        ({"effort": Effort("mine", extractors=("radiomix",))}, "unknown extractor"),
    ],
)
def test_what_was_asked_for_and_cannot_be_done_is_raised(
    real: Cohort, tmp_path: Path, asked: dict[str, Any], words: str
) -> None:
    double = make_double(tmp_path / "double", real, 0)
    options: dict[str, Any] = {"effort": "demo", "extractor": PatchExtractor(), **asked}
    with pytest.raises(DataDoubleError, match=words):
        datadouble.audit(double, real, tmp_path / "audit", **options)
    assert not (tmp_path / "audit" / "evidence.json").exists()


def test_parts_of_other_code_are_measured_again(
    real: Cohort, tmp_path: Path, nothing_measured: pytest.MonkeyPatch
) -> None:
    from datadouble.audit import sections

    measured = []
    nothing_measured.setattr(sections, "texture", lambda *_: measured.append(1) or Part({}))
    double = make_double(tmp_path / "double", real, 0)
    for code in ("a", "a", "b"):
        nothing_measured.setattr(
            "datadouble.audit.audit.source_fingerprint", lambda *_, code=code, **__: code
        )
        datadouble.audit(
            double, real, tmp_path / "audit", only=("fidelity",), effort="demo", extractor=PatchExtractor()
        )
    assert len(measured) == 2
