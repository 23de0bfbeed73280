"""Two small cohorts and a study of them, made once; a clock that tests turn by hand."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.study.create import create_study
from datadouble.study.protocol import Protocol, protocol_from
from datadouble.study.store import Store

CLASSES = ("3", "4", "5")


class HandClock:
    """A clock that stands until it is moved; the date and the seconds move apart where a test says so."""

    def __init__(self) -> None:
        self.date = datetime(2030, 1, 1, 12, tzinfo=UTC)
        self.seconds = 1000.0

    def now(self) -> datetime:
        return self.date

    def monotonic(self) -> float:
        return self.seconds

    def forward(self, seconds: float) -> None:
        self.seconds += seconds
        self.date += timedelta(seconds=seconds)


def make_cohort(
    path: Path,
    origin: str,
    *,
    images: int = 36,
    size: tuple[int, int] = (24, 24),
    masks: bool = True,
    patients: int = 0,
    splits: tuple[str, ...] = (),
    dtype: type = np.uint8,
    intensity: dict | None = None,
    classes: tuple[str, ...] = CLASSES,
    used: tuple[str, ...] = (),
) -> Cohort:
    """Write a cohort of noise; double's are smooth, so that they would pack smaller."""
    random = np.random.default_rng(len(origin))
    info = CohortInfo(
        name=f"{origin}-cohort",
        origin=origin,
        modality="ultrasound",
        classes=classes,
        mask_classes=("background", "lesion") if masks else (),
        intensity=intensity or {},
    )
    top = np.iinfo(dtype).max
    with CohortWriter(path, info) as writer:
        for number in range(images):
            image = random.integers(0, top, size).astype(dtype)
            if origin == "synthetic":
                image[:] = int(image.mean()) // 64 * 64
            mask = np.zeros(size, dtype=np.uint8)
            mask[4:10, 6 : 8 + number % 5] = 1
            writer.add(
                image,
                image_id=f"{origin[0]}{number:03d}",
                patient_id=f"p{number % patients}" if patients else "",
                label=(used or classes)[number % len(used or classes)],
                mask=mask if masks else None,
                split=splits[number % len(splits)] if splits else "",
            )
        return writer.finish()


PLAIN = {
    "name": "plain",
    "title": "Plain",
    "instructions": "Judge.",
    "questions": [
        {
            "key": "origin",
            "text": "Real?",
            "truth": "origin",
            "positive": "synthetic",
            "answers": [
                {"key": "r", "value": "real", "label": "Real", "truth": ["real"]},
                {"key": "s", "value": "synthetic", "label": "Synthetic", "truth": ["synthetic"]},
            ],
        }
    ],
    "parts": [
        {"name": "one", "real": 6, "synthetic": 6, "repeats_share": 0.34, "practice": 2},
        {"name": "two", "images_of": "one", "view": "lesion", "after_days": 14, "repeats_share": 0.0},
    ],
}


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests need not wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(scope="session")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cohort, Cohort]:
    """A real cohort, split, of 36 images of 12 patients, and a double of 36 images."""
    folder = tmp_path_factory.mktemp("cohorts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        real = make_cohort(
            folder / "real", "real", size=(30, 40), patients=12, splits=("test", "holdout", "train", "test")
        )
        double = make_cohort(folder / "double", "synthetic")
    return real, double


@pytest.fixture(scope="session")
def plain() -> Protocol:
    """One question, a part of 6 + 6 images, and its lesions two weeks later."""
    return protocol_from(PLAIN)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, cohorts: tuple[Cohort, Cohort], plain: Protocol) -> Path:
    """A study as created: to be copied, not answered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        path = tmp_path_factory.mktemp("made") / "study"
        create_study(plain, *cohorts, path, seed=5)
    return path


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def study_path(made: Path, tmp_path: Path) -> Path:
    """A fresh copy of the study."""
    shutil.copytree(made, tmp_path / "study")
    return tmp_path / "study"


@pytest.fixture
def store(study_path: Path, clock: HandClock) -> Iterator[Store]:
    """A store with a clock turned by hand."""
    with Store.open(study_path, clock=clock) as opened:
        yield opened
