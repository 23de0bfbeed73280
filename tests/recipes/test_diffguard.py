"""DiffGuard from end to end, in small: pictures and masks belong together, and everything can be drawn again."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from datadouble import files
from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.cohort.cohort import write_table
from datadouble.cohort.pixels import read_image
from datadouble.diffusion.schedules import NoiseSchedule
from datadouble.errors import DataDoubleError
from datadouble.recipes import fit, generate
from datadouble.recipes.config import build, preset_names, read_preset
from datadouble.recipes.diffguard import DiffguardConfig, DiffguardTask, objective_for
from datadouble.recipes.diffguard_generator import DiffguardGenerator, load_generator
from datadouble.recipes.runs import choose_material

TYPES = ("left", "right")
TINY = (
    "data.size=16",
    "data.mask_code=onehot",
    "augment.flip=false",  # left and right are what the classes differ in
    "model.width=16",
    "model.multipliers=[1,2]",
    "model.blocks=1",
    "model.head_width=16",
    "model.patch=2",
    "model.resampling=convolution",
    "diffusion.schedule=cosine",
    "training.images=96",
    "training.batch=8",
    "training.precision=fp32",
    "training.validate_every=32",
    "training.sheet_every=96",
    "training.checkpoint_every=16",
    "training.learning_rate=2e-3",
    "training.ema_half_life=300",
    "sampling.steps=4",
    "sampling.batch=4",
    "sampling.precision=fp32",
    "filters.use=[]",
)


def draw_scan(number: int, label: str) -> tuple[np.ndarray, np.ndarray]:
    """A grey body on black, and in it a bright lesion on the side that the class names."""
    random = np.random.default_rng(number)
    image, mask = np.zeros((16, 16)), np.zeros((16, 16), np.uint8)
    image[2:14, 1:15] = 130
    if label in TYPES:
        side = int(random.integers(4, 6))
        x, y = (2, 9)[TYPES.index(label)], int(random.integers(3, 8))
        mask[y : y + side, x : x + side] = 1 + TYPES.index(label)
        image[mask > 0] = 230
    return (image + random.integers(0, 16, image.shape)).astype(np.uint8), mask


def make_cohort(path: Path) -> Cohort:
    """Forty-eight pictures of twenty-four patients; normal ones have no mask."""
    info = CohortInfo(
        "boxes",
        "real",
        "CT",
        ("normal", *TYPES),
        ("background", *TYPES),
        {"unit": "HU", "low": -400, "high": 300},
    )
    with CohortWriter(path, info) as writer:
        for i in range(48):
            label = info.classes[i // 2 % 3]
            image, mask = draw_scan(i, label)
            writer.add(
                image,
                image_id=f"i{i:02d}",
                patient_id=f"p{i // 2:02d}",
                label=label,
                mask=None if label == "normal" else mask,
                split="train" if i < 36 else "holdout" if i < 42 else "test",
            )
        return writer.finish()


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return make_cohort(tmp_path_factory.mktemp("boxes") / "cohort")


@pytest.fixture(scope="module")
def run(boxes: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that has learned nothing."""
    return fit("diffguard", boxes.path, tmp_path_factory.mktemp("run") / "run", overrides=TINY)


@pytest.fixture(scope="module")
def learned(boxes: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of some seconds, of a generator that is given no class."""
    longer = [
        *TINY,
        "data.conditional=false",
        "data.balance=true",
        "augment.share=0.0",
        "diffusion.objective=clean",
        "training.images=6400",
        "training.batch=32",
        "training.decay=cosine",
        "training.validate_every=6400",
        "training.sheet_every=6400",
        "training.checkpoint_every=6400",
        "sampling.steps=15",
        "sampling.batch=24",
        'filters.use=["presence","types","anatomy"]',
    ]
    return fit("diffguard", boxes.path, tmp_path_factory.mktemp("learned") / "run", overrides=longer)


def test_masks_follow_the_lesions_and_classes_are_read_from_them(learned: Path, tmp_path: Path) -> None:
    double = generate(learned, tmp_path / "double", images=24)
    assert double.info.mask_classes == ("background", *TYPES)
    assert double.table["label"].nunique() == 3
    for sample in double:
        assert sample.mask is not None
        lesion, label = sample.mask > 0, sample.row["label"]
        if label == "normal":
            assert not lesion.any()
        else:
            assert np.bincount(sample.mask[lesion]).argmax() == 1 + TYPES.index(label)
            columns = np.flatnonzero(lesion.any(axis=0))
            assert (columns.mean() < 7.5) == (label == "left")
            assert sample.image[lesion].mean() > 200
        body = sample.image > 60
        assert (lesion & ~body).sum() <= 0.1 * max(lesion.sum(), 1)
    report = json.loads((tmp_path / "double/filters.json").read_text())
    assert "class" in json.dumps(report)
    with pytest.raises(DataDoubleError, match="cannot be asked for a class"):
        generate(learned, tmp_path / "other", per_class=2)
    with pytest.raises(DataDoubleError, match="guidance needs classes"):
        load_generator(learned, guidance_weight=1.0)


def test_a_run_holds_what_the_format_says(run: Path, boxes: Cohort) -> None:
    for name in (
        "config.toml",
        "provenance.json",
        "metrics.jsonl",
        "model/model.json",
        "state/state.safetensors",
    ):
        assert (run / name).is_file(), name
    assert sorted(p.name for p in (run / "samples").iterdir()) == [
        "000000096-nearest.png",
        "000000096-sheet.png",
    ]
    model = json.loads((run / "model/model.json").read_text())
    assert model["drawn_classes"] == ["background", "soft tissue", *TYPES]
    assert model["network"]["in_channels"] == 1 + 4
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert len(last["validation_loss_by_time"]) == len(last["training_loss_by_time"]) == 8
    texts = "".join(p.read_text() for p in run.rglob("*") if p.suffix in (".json", ".jsonl", ".toml"))
    assert not [patient for patient in boxes.table["patient_id"] if patient in texts]


def test_an_image_is_made_from_run_seed_and_number_alone(run: Path, tmp_path: Path) -> None:
    whole = generate(run, tmp_path / "whole", per_class=6, seed=4)
    few = generate(run, tmp_path / "few", per_class=3, seed=4, batch=1)
    other = generate(run, tmp_path / "other", per_class=3, seed=5)
    names = list(whole.table["image_id"])
    for i, name in enumerate(few.table["image_id"]):
        same = names.index(name)
        assert np.abs(few.image(i).astype(int) - whole.image(same)).max() <= 1
        assert not np.array_equal(few.image(i), other.image(i))
        mine, whole_mask = few.mask(i), whole.mask(same)
        assert mine is not None and whole_mask is not None
        assert (mine != whole_mask).mean() < 0.01  # ties of a network that has learned nothing


@pytest.mark.parametrize(("sampler", "steps"), [("ddpm", 12), ("ddim", 5), ("dpmpp", 5)])
def test_every_sampler_draws_pictures_of_the_same_numbers(
    run: Path, tmp_path: Path, sampler: str, steps: int
) -> None:
    one = generate(run, tmp_path / "one", images=3, sampler=sampler, steps=steps)
    again = generate(run, tmp_path / "again", images=3, sampler=sampler, steps=steps)
    assert all(np.array_equal(one.image(i), again.image(i)) for i in range(3))


def test_fit_goes_on_to_the_same_bytes_where_it_was_killed(boxes: Cohort, run: Path, tmp_path: Path) -> None:
    class Killed(BaseException):
        """Stands for kill -9: nothing catches it."""

    losses, seen = DiffguardTask.losses, []

    def dying(
        self: DiffguardTask, network: torch.nn.Module, rows: np.ndarray, at: int, places: slice
    ) -> dict:
        seen.append(at)
        if len(seen) in (4, 9):
            raise Killed
        return losses(self, network, rows, at, places)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DiffguardTask, "losses", dying)
        for _ in range(2):
            with pytest.raises(Killed):
                fit("diffguard", boxes.path, tmp_path / "run", overrides=TINY)
        fit("diffguard", boxes.path, tmp_path / "run")
    assert 16 in seen and seen.count(16) == 2  # it began again at the state of 16 images
    for name in ("best", "last", "early"):
        mine, whole = (folder / f"model/{name}.safetensors" for folder in (tmp_path / "run", run))
        assert mine.read_bytes() == whole.read_bytes(), name


def task_of(cohort: Cohort, folder: Path, *overrides: str) -> DiffguardTask:
    config = build(DiffguardConfig, {}, [*TINY, *overrides])
    material = choose_material(cohort, (), 0.1, 0)
    folder.mkdir(exist_ok=True)
    rule = {"auto": "hounsfield"}.get(config.data.structure, config.data.structure)
    return DiffguardTask(config, material, rule, folder, torch.device("cpu"))


@pytest.mark.parametrize("code", ["ladder", "onehot"])
def test_the_loss_is_one_at_the_start(boxes: Cohort, tmp_path: Path, code: str) -> None:
    """The network says 0, and the noise has unit variance: within 5 standard errors."""
    task = task_of(boxes, tmp_path / "run", f"data.mask_code={code}")
    rows = np.arange(24)
    loss = task.losses(task.network, rows, 0, slice(0, 24))["loss"]
    numbers = 24 * 16 * 16 * (2 if code == "ladder" else 5)
    assert abs(float(loss.detach().mean()) - 1) < 5 * (2 / numbers) ** 0.5


def test_a_micro_batch_is_a_part_of_its_batch(boxes: Cohort, tmp_path: Path) -> None:
    task, rows = task_of(boxes, tmp_path / "run", "augment.share=1.0"), np.arange(8)
    whole = task.losses(task.network, rows, 40, slice(0, 8))["loss"]
    parts = [task.losses(task.network, rows, 40, slice(start, start + 4))["loss"] for start in (0, 4)]
    assert torch.allclose(whole, torch.cat(parts))


def test_without_a_structure_the_cohorts_own_classes_are_drawn(boxes: Cohort, tmp_path: Path) -> None:
    task = task_of(boxes, tmp_path / "run", "data.structure=none", "data.mask_code=ladder")
    assert task.model.drawn_classes == ("background", *TYPES)
    generator = DiffguardGenerator(task.model, task.network, task._config.sampling, torch.device("cpu"))
    drawn = generator.draw(1, range(2), 0)
    assert drawn.masks is not None and drawn.masks.shape == (2, 16, 16)
    assert drawn.masks.max() <= 2
    assert generator.facts.mask_classes == ("background", *TYPES)


def test_as_released_trains_and_draws_with_two_schedules_joined_by_the_noise_level() -> None:
    diffusion = asdict(build(DiffguardConfig, read_preset("diffguard", "as-released")).diffusion)
    training, drawing = (objective_for(diffusion, drawing=which).path for which in (False, True))
    assert isinstance(training, NoiseSchedule) and isinstance(drawing, NoiseSchedule)
    assert (training.num_timesteps, drawing.num_timesteps) == (2000, 1000)
    assert training.betas[[0, -1]].tolist() == [1e-6, 0.01] and drawing.betas[[0, -1]].tolist() == [
        1e-4,
        0.09,
    ]
    time = 300
    nearest = int(np.abs(training.alphas_cumprod - drawing.alphas_cumprod[time]).argmin())
    told = drawing.network_timestep(time)
    assert told == pytest.approx(1000 * drawing.alpha_sigma(time)[1])
    assert training.network_timestep(nearest) == pytest.approx(told, rel=0.01)
    paper = objective_for(asdict(build(DiffguardConfig, read_preset("diffguard", "paper")).diffusion)).path
    assert isinstance(paper, NoiseSchedule)
    assert paper.network_timestep(17) == 17 and paper.betas[[0, -1]].tolist() == [1e-4, 0.02]


@pytest.mark.parametrize("preset", preset_names("diffguard"))
def test_presets_can_be_built(preset: str, boxes: Cohort, tmp_path: Path) -> None:
    said: list[str] = []
    small = (
        "data.size=32",
        "model.multipliers=[1,2]",
        "training.batch=2",
        "model.attention=[]",
        "model.width=32",
    )
    if preset != "paper":
        build(DiffguardConfig, read_preset("diffguard", preset))
        return
    fit(
        "diffguard", boxes.path, tmp_path / "r", preset=preset, overrides=small, dry_run=True, say=said.append
    )
    assert not (tmp_path / "r").exists()
    assert any("hours to train" in line for line in said)


def test_mask_classes_that_skip_a_number_are_refused(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "cohort")
    for name in cohort.table["mask_file_name"]:
        if name:
            mask = read_image(cohort.path / name)
            files.save_png(cohort.path / name, np.where(mask == 2, 3, mask).astype(np.uint8))
    info = json.loads((cohort.path / "cohort.json").read_text())
    info["mask_classes"] = ["background", "left", "forgotten", "right"]
    (cohort.path / "cohort.json").write_text(json.dumps(info))
    with pytest.raises(DataDoubleError, match="forgotten") as caught:
        fit("diffguard", cohort.path, tmp_path / "run", overrides=TINY)
    assert "without gaps" in str(caught.value)


def test_structure_files_that_are_missing_are_named(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "cohort")
    table = cohort.table.copy()
    table["structure_file_name"] = [name if i % 6 else "" for i, name in enumerate(table["file_name"])]
    write_table(cohort.path / "metadata.csv", table)
    with pytest.raises(DataDoubleError, match="no structure file") as caught:
        fit("diffguard", cohort.path, tmp_path / "run", overrides=[*TINY, "data.structure=file"])
    assert "i06" in str(caught.value)


def test_missing_masks_of_a_class_that_has_some_are_named(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "cohort")
    table = cohort.table.copy()
    table.loc[table["image_id"].isin(["i02", "i04"]), "mask_file_name"] = ""
    write_table(cohort.path / "metadata.csv", table)
    with pytest.raises(DataDoubleError, match="no mask") as caught:
        fit("diffguard", cohort.path, tmp_path / "run", overrides=TINY)
    assert "i02" in str(caught.value) and "i04" in str(caught.value)


def test_a_class_that_the_mask_does_not_tell_is_refused(boxes: Cohort, tmp_path: Path) -> None:
    """Without the other classes, what is left of the labels does not follow from the lesion's type."""
    info = CohortInfo(
        "one type", "real", "CT", ("benign", "malignant"), ("background", "lesion"), boxes.info.intensity
    )
    with CohortWriter(tmp_path / "cohort", info) as writer:
        for i in range(24):
            image, mask = draw_scan(i, "left")
            writer.add(
                image,
                image_id=f"i{i}",
                patient_id=f"p{i}",
                label=info.classes[i % 2],
                mask=mask,
                split="train",
            )
        writer.finish()
    with pytest.raises(DataDoubleError, match=r"lesion \(benign: 1\d, malignant: 1\d\)"):
        fit("diffguard", tmp_path / "cohort", tmp_path / "run", overrides=[*TINY, "data.conditional=false"])


def test_guidance_without_classes_is_refused(boxes: Cohort, tmp_path: Path) -> None:
    wrong = [*TINY, "data.conditional=false", "sampling.guidance_weight=1.0"]
    with pytest.raises(DataDoubleError, match="guidance needs classes"):
        fit("diffguard", boxes.path, tmp_path / "run", overrides=wrong)


def test_ultrasound_is_never_turned_upside_down(boxes: Cohort, tmp_path: Path) -> None:
    info = json.loads((boxes.path / "cohort.json").read_text())
    cohort = make_cohort(tmp_path / "cohort")
    (cohort.path / "cohort.json").write_text(json.dumps(info | {"modality": "ultrasound"}))
    with pytest.raises(DataDoubleError, match="flip_vertical"):
        fit("diffguard", cohort.path, tmp_path / "run", overrides=[*TINY, "augment.flip_vertical=true"])
