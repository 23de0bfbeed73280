"""The sections give each measurement what it needs: one scale, one precision, one path for pixels."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datadouble.audit import sections
from datadouble.audit.efforts import Effort
from datadouble.audit.features.base import Extractor
from datadouble.audit.features.registry import EXTRACTORS, Entry
from datadouble.audit.material import AuditMaterial
from datadouble.cohort import Cohort, CohortInfo, CohortWriter

QUICK = Effort("quick", resamples=5, repeats=2, utility="", segmentation="", realism="demo", precision="fp32")


class Blocks:
    """Sixteen block means; the first one may be in another unit."""

    name, input_size, dimension, preprocessing = "blocks", 16, 16, "block means"
    source = None

    def __init__(self, unit: float = 1.0, *, mixed_units: bool = True) -> None:
        self.unit, self.mixed_units, self.fingerprint = unit, mixed_units, f"blocks {unit}"

    def features(self, pictures: np.ndarray) -> np.ndarray:
        found = pictures.reshape(-1, 4, 4, 4, 4).mean((2, 4)).reshape(-1, 16).astype(np.float32)
        found[:, 0] *= self.unit
        return found

    def logits(self, features: np.ndarray) -> None:
        return None


def make(path: Path, origin: str, seed: int, sides: tuple[int, ...] = (16,)) -> Cohort:
    """Sixty pictures of smooth noise, each of its own patient; of each side in turn."""
    rng = np.random.default_rng(seed)
    splits = ("train", "holdout", "test") if origin == "real" else ("",)
    with CohortWriter(path, CohortInfo(path.name, origin, "us", ("a", "b"))) as writer:
        for i in range(60):
            side = sides[i % len(sides)]
            coarse = rng.integers(20, 220, (4, 4)).repeat(side // 4, 0).repeat(side // 4, 1)
            image = (coarse + rng.integers(0, 30, (side, side))).astype(np.uint8)
            label, split = "ab"[i % 2], splits[i // 2 % len(splits)]
            writer.add(image, image_id=f"{path.name}{i}", patient_id=f"{origin}{i}", label=label, split=split)
        return writer.finish()


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cohort, Cohort]:
    folder = tmp_path_factory.mktemp("sections")
    return make(folder / "double", "synthetic", 1), make(folder / "real", "real", 0)


Gather = Callable[..., AuditMaterial]


@pytest.fixture
def gather(cohorts: tuple[Cohort, Cohort], tmp_path: Path) -> Gather:
    def material(
        extractor: Extractor | None = None, at_size: int = 16, double: Cohort | None = None
    ) -> AuditMaterial:
        return AuditMaterial(
            double or cohorts[0],
            cohorts[1],
            reference="test",
            extractor=extractor or Blocks(),
            precision=QUICK.precision,
            at_size=at_size,
            cache=tmp_path / "cache",
            processes=1,
            seed=0,
        )

    return material


def test_a_column_s_unit_changes_no_distance_and_no_mode(
    gather: Gather, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXTRACTORS, "metres", Entry("", "", lambda weights, precision: Blocks()))
    monkeypatch.setitem(EXTRACTORS, "microns", Entry("", "", lambda weights, precision: Blocks(1e6)))
    work = replace(QUICK, extractors=("metres", "microns"))
    metres, microns = (sections.distances(gather(Blocks(unit)), work).evidence for unit in (1.0, 1e6))
    further = metres["extractors"]
    for key in ("fd", "kid", "cmmd", "recall"):
        value = metres["overall"][key]["value"]
        assert microns["overall"][key]["value"] == pytest.approx(value, rel=1e-3), key
        assert further["microns"][key]["value"] == pytest.approx(further["metres"][key]["value"], rel=1e-3)
    first, second = (sections.coverage(gather(Blocks(unit)), QUICK).evidence for unit in (1.0, 1e6))
    assert first["covered"]["value"] == pytest.approx(second["covered"]["value"])
    # Where columns share one unit their spread means something, and is kept.
    as_they_are = gather(Blocks(mixed_units=False))
    assert as_they_are.real_features.array.mean() > 50


def test_further_extractors_are_in_the_effort_s_precision(
    gather: Gather, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(weights: object, precision: str) -> Blocks:
        asked.append(precision)
        return Blocks()

    monkeypatch.setitem(EXTRACTORS, "further", Entry("", "", load))
    monkeypatch.setattr("datadouble.audit.sections.usefulness.assess_realism", lambda *_, **__: {})
    work = replace(QUICK, extractors=("further",))
    sections.distances(gather(), work)
    sections.realism(gather(), work)
    assert asked == ["fp32", "fp32"]


def test_a_probe_s_control_differs_by_the_planted_artefact_alone(
    gather: Gather, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A double of several sizes is not brought to one: features came from the files, planted ones from 256 px."""
    seen: list[tuple[Any, Any]] = []

    def probe(real: Any, double: Any, *, planted: Any, **_: object) -> dict[str, Any]:
        seen.append((real, planted))
        return {}

    monkeypatch.setattr("datadouble.audit.sections.usefulness.assess_realism", lambda *_, **__: {})
    monkeypatch.setattr("datadouble.audit.sections.usefulness.linear_probe", probe)
    monkeypatch.setattr("datadouble.audit.sections.usefulness.plant_artefact", lambda pictures: pictures)
    double = make(tmp_path / "sizes", "synthetic", 2, sides=(16, 48))
    sections.realism(gather(Blocks(mixed_units=False), at_size=0, double=double), QUICK)
    real, planted = seen[0]
    assert np.array_equal(real.array, planted.array)  # nothing was planted
    assert np.array_equal(real.rows, planted.rows)


def test_without_a_train_split_nothing_is_trained_on_the_test_patients(
    cohorts: tuple[Cohort, Cohort], tmp_path: Path
) -> None:
    real = cohorts[1].filter(split="test")
    material = AuditMaterial(
        cohorts[0],
        real,
        reference="test",
        extractor=Blocks(),
        precision="fp32",
        at_size=16,
        cache=tmp_path,
        processes=1,
        seed=0,
    )
    note = sections.utility(material, replace(QUICK, utility="demo"), "").evidence["note"]
    assert note == "not measured: no train split"
