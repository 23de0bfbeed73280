"""A simulated cohort is a cohort like any other."""

from pathlib import Path

import numpy as np
import pytest

from datadouble.cohort import Cohort
from datadouble.cohort.check import check
from datadouble.cohort.phantom import cohort as module
from datadouble.cohort.phantom import draw
from datadouble.cohort.phantom.cohort import make_phantom_cohort
from datadouble.errors import DataDoubleError


def test_cohort_passes_its_check_and_holds_all_classes(tmp_path: Path) -> None:
    made = make_phantom_cohort(tmp_path / "c", patients=15, size=32, seed=3)
    assert [problem for problem in check(tmp_path / "c") if problem.severity == "error"] == []
    assert set(made.table["label"]) == {"normal", "2", "3", "4", "5"}
    assert made.table["patient_id"].nunique() == 15
    counts = made.table.groupby("patient_id").size()
    assert counts.min() >= 1 and counts.max() <= 3
    assert (made.table.groupby("patient_id")["label"].nunique() == 1).all()
    assert not made.info.contains_real_pixels and made.info.licence == "CC0-1.0"
    for column in ("shape", "margin", "orientation", "echo_pattern", "posterior_features"):
        assert (made.table[column] == "").to_numpy().tolist() == (
            made.table["label"] == "normal"
        ).to_numpy().tolist()


def test_cut_off_run_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make_phantom_cohort(tmp_path / "whole", patients=7, size=32, pictures_per_patient=(1, 1))
    drawn = []

    def failing(*args: object, **kwargs: object) -> object:
        if len(drawn) == 5:
            raise KeyboardInterrupt
        drawn.append(args)
        return draw(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "draw", failing)
    with pytest.raises(KeyboardInterrupt):
        make_phantom_cohort(tmp_path / "cut", patients=7, size=32, pictures_per_patient=(1, 1))
    with pytest.raises(DataDoubleError, match="not finished"):
        Cohort.open(tmp_path / "cut")
    drawn.clear()
    monkeypatch.setattr(module, "draw", lambda *args, **kwargs: drawn.append(args) or draw(*args, **kwargs))
    resumed = make_phantom_cohort(tmp_path / "cut", patients=7, size=32, pictures_per_patient=(1, 1))
    assert len(drawn) == 7 - 5
    assert resumed.table.equals(whole.table)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(resumed, whole, strict=True))


def test_another_seed_does_not_mix_into_a_cohort(tmp_path: Path) -> None:
    make_phantom_cohort(tmp_path / "c", patients=2, size=32)
    with pytest.raises(DataDoubleError, match="another cohort"):
        make_phantom_cohort(tmp_path / "c", patients=2, size=32, seed=1)


def test_chest_ct_says_its_hounsfield_window(tmp_path: Path) -> None:
    made = make_phantom_cohort(
        tmp_path / "c", kind="chest-ct", patients=6, size=64, pictures_per_patient=(1, 1)
    )
    assert made.info.intensity["unit"] == "HU"
    assert made.info.intensity["low"] < -200 < made.info.intensity["high"]  # the structure threshold
    assert {int(sample.mask.max()) for sample in made if sample.mask is not None} == {0, 1, 2, 3, 4, 5}


def test_burned_in_words_are_noted(tmp_path: Path) -> None:
    made = make_phantom_cohort(
        tmp_path / "c", patients=3, size=128, annotations=True, pictures_per_patient=(1, 1)
    )
    assert (made.table["burned_in_text"] != "").all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"patients": 0},
        {"pictures_per_patient": (2, 1)},
        {"classes": ()},
        {"classes": ("7",)},
        {"kind": "mri"},
    ],
)
def test_impossible_requests_are_refused(tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(DataDoubleError):
        make_phantom_cohort(tmp_path / "c", size=32, **wrong)
    assert not (tmp_path / "c").exists()
