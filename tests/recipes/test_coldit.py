"""CoLDiT from end to end, in small: the classes differ, and everything can be drawn again."""

import json
from pathlib import Path

import numpy as np
import pytest

from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError
from datadouble.recipes import fit, generate


def test_a_run_holds_what_the_format_says(run: Path) -> None:
    for name in (
        "config.toml",
        "provenance.json",
        "metrics.jsonl",
        "model/model.json",
        "state/state.safetensors",
    ):
        assert (run / name).is_file(), name
    for name in ("best", "last", "early"):
        assert (run / "model" / f"{name}.safetensors").is_file()
    assert sorted(p.name for p in (run / "samples").iterdir()) == [
        "000000096-nearest.png",
        "000000096-sheet.png",
    ]
    provenance = json.loads((run / "provenance.json").read_text())
    assert provenance["train_images"] + provenance["validation_images"] == 30
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert len(last["validation_loss_by_time"]) == len(last["training_loss_by_time"]) == 8


def test_no_patient_is_named_in_a_run(run: Path, cohort: Cohort) -> None:
    texts = "".join(
        path.read_text() for path in run.rglob("*") if path.suffix in (".json", ".jsonl", ".toml")
    )
    assert not [patient for patient in cohort.table["patient_id"] if patient in texts]


def test_the_classes_can_be_told_apart(cohort: Cohort, tmp_path: Path, tiny: list[str]) -> None:
    """Dark and bright pictures: after some hundred steps the drawn ones differ as the real ones do."""
    longer = [
        *tiny,
        "training.images=4800",
        "training.batch=16",
        "training.sheet_every=4800",
        "training.validate_every=2400",
    ]
    longer += ["training.learning_rate=3e-3", "training.checkpoint_every=4800", "model.patch=4"]
    fit("coldit", cohort.path, tmp_path / "run", overrides=longer)
    double = generate(tmp_path / "run", tmp_path / "double", per_class=8, steps=8)
    means = {
        label: np.mean([double.image(i).mean() for i in np.flatnonzero(double.table["label"] == label)])
        for label in ("dark", "bright")
    }
    assert means["bright"] - means["dark"] > 75  # 150 in the real ones


def test_an_image_is_made_from_run_seed_and_number_alone(run: Path, tmp_path: Path) -> None:
    whole = generate(run, tmp_path / "whole", per_class=10, seed=4)
    few = generate(run, tmp_path / "few", per_class=4, seed=4)
    other = generate(run, tmp_path / "other", per_class=4, seed=5)
    names = list(whole.table["image_id"])
    for i, name in enumerate(few.table["image_id"]):
        assert np.array_equal(few.image(i), whole.image(names.index(name)))
        assert not np.array_equal(few.image(i), other.image(i))


def test_a_double_can_be_made_larger_and_is_then_as_if_drawn_at_once(run: Path, tmp_path: Path) -> None:
    whole = generate(run, tmp_path / "whole", per_class=10)
    generate(run, tmp_path / "grown", per_class=6)
    grown = generate(run, tmp_path / "grown", per_class=10)
    assert (tmp_path / "grown" / "metadata.csv").read_bytes() == (
        tmp_path / "whole" / "metadata.csv"
    ).read_bytes()
    for i in range(len(whole)):
        difference = np.abs(whole.image(i).astype(int) - grown.image(i))
        assert difference.max() <= 1  # number 6 and 7 came from a batch of another size


def test_class_counts_follow_the_training_set(run: Path, tmp_path: Path) -> None:
    double = generate(run, tmp_path / "d", images=10)
    assert len(double) == 10
    shares = json.loads((run / "model" / "model.json").read_text())["shares"]
    drawn = [(double.table["label"] == name).sum() for name in ("dark", "bright")]
    assert np.abs(np.array(drawn) - 10 * np.array(shares)).max() < 1
    assert double.info.origin == "synthetic" and not double.info.contains_real_pixels
    assert double.info.generator is not None and len(double.info.generator["weights"]) == 16
    assert double.table["patient_id"].is_unique


def test_generate_refuses_other_settings_and_unfinished_runs(
    run: Path, tmp_path: Path, cohort: Cohort
) -> None:
    generate(run, tmp_path / "d", images=4)
    with pytest.raises(DataDoubleError, match="another cohort"):
        generate(run, tmp_path / "d", images=4, guidance_weight=3.0)
    with pytest.raises(DataDoubleError, match="--images or --per-class"):
        generate(run, tmp_path / "e")
    (run / "model" / "last.safetensors").rename(run / "model" / "hidden")
    try:
        with pytest.raises(DataDoubleError, match="not finished"):
            generate(run, tmp_path / "f", images=4)
    finally:
        (run / "model" / "hidden").rename(run / "model" / "last.safetensors")


def test_a_dry_run_writes_nothing(cohort: Cohort, tmp_path: Path, tiny: list[str]) -> None:
    lines: list[str] = []
    fit("coldit", cohort.path, tmp_path / "run", overrides=tiny, dry_run=True, say=lines.append)
    assert not (tmp_path / "run").exists()
    assert any("hours to train" in line for line in lines)


def test_a_double_is_a_cohort_that_can_be_trained_on(run: Path, tmp_path: Path, tiny: list[str]) -> None:
    generate(run, tmp_path / "double", per_class=10)
    fit("coldit", tmp_path / "double", tmp_path / "second", overrides=[*tiny, "training.images=16"])
    assert (tmp_path / "second" / "model" / "last.safetensors").is_file()


def test_autoguidance_needs_no_null_label_and_changes_the_picture(run: Path, tmp_path: Path) -> None:
    plain = generate(run, tmp_path / "plain", per_class=2, guidance_weight=1.0)
    auto = generate(run, tmp_path / "auto", per_class=2, guidance_weight=1.0, autoguidance=True)
    assert not np.array_equal(plain.image(0), auto.image(0))
