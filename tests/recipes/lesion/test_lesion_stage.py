"""Stage 1 alone: interrupted and gone on with, crops with their conditions, adapters, and patches."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError
from datadouble.recipes import fit
from datadouble.recipes.lesion.adapters import adapter_folder, list_adapters
from datadouble.recipes.lesion.crops import LesionPatch
from datadouble.recipes.lesion.descriptors import describe
from datadouble.recipes.lesion.lesion_crops import LesionCrops
from datadouble.recipes.lesion.lesion_drawer import (
    LesionDrawer,
    SamplingOptions,
    is_usable,
    patch_objective,
    patches_of,
)
from datadouble.recipes.lesion.lesion_stage import LesionTask
from datadouble.recipes.lesion.material import DataOptions, Pictures, read_material

WEIGHTS = ("model/best.safetensors", "model/last.safetensors", "state/state.safetensors")


@pytest.fixture(scope="module")
def stage_run(lesions: Cohort, lesion_tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which this stage is finished."""
    run = tmp_path_factory.mktemp("stage") / "run"
    return fit("lesion", lesions.path, run, overrides=lesion_tiny, stages=["lesion"])


def run_files(run: Path) -> dict[str, bytes]:
    stage = run / "lesion"
    found = {name: (stage / name).read_bytes() for name in WEIGHTS}
    for name in ("benign", "malignant"):
        found[name] = (adapter_folder(stage, name) / "adapter.safetensors").read_bytes()
        found |= {f"{name} {w}": (stage / "tuning" / name / w).read_bytes() for w in WEIGHTS}
    return found


@pytest.mark.parametrize("step", [3, 5])
def test_an_interrupted_stage_goes_on_bit_for_bit(
    lesions: Cohort,
    stage_run: Path,
    lesion_tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    """The base takes four steps, each adapter two: the cuts are in the base and in an adapter, after a state."""
    losses, count = LesionTask.losses, iter(range(1000))

    def killed(self: LesionTask, *args: object) -> dict[str, torch.Tensor]:
        if next(count) == step:
            raise KeyboardInterrupt
        return losses(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(LesionTask, "losses", killed)
    options = {"overrides": lesion_tiny, "stages": ["lesion"]}
    with pytest.raises(KeyboardInterrupt):
        fit("lesion", lesions.path, tmp_path / "run", **options)
    monkeypatch.setattr(LesionTask, "losses", losses)
    fit("lesion", lesions.path, tmp_path / "run", **options)
    assert run_files(tmp_path / "run") == run_files(stage_run)
    ours, theirs = (
        (run / "lesion" / "metrics.jsonl").read_text().splitlines() for run in (tmp_path / "run", stage_run)
    )
    assert [json.loads(line)["loss"] for line in ours] == [json.loads(line)["loss"] for line in theirs]


def test_a_finished_stage_is_left_alone(lesions: Cohort, stage_run: Path, lesion_tiny: list[str]) -> None:
    before = run_files(stage_run)
    times = [path.stat().st_mtime_ns for path in sorted(stage_run.rglob("*.safetensors"))]
    fit("lesion", lesions.path, stage_run, overrides=lesion_tiny, stages=["lesion"])
    assert run_files(stage_run) == before
    assert [path.stat().st_mtime_ns for path in sorted(stage_run.rglob("*.safetensors"))] == times


def test_each_class_has_an_adapter_apart_from_the_base(stage_run: Path) -> None:
    found = {facts.name: facts for _, facts in list_adapters(stage_run) if facts.stage == "lesion"}
    assert set(found) == {"benign", "malignant"}
    assert found["benign"].base == found["malignant"].base and found["benign"].rank == 2
    drawer = LesionDrawer.load(stage_run / "lesion", torch.device("cpu"))
    assert drawer.model.classes == ("benign", "malignant")


@pytest.mark.parametrize("sampler", ["dpmpp", "sde"])
def test_patches_follow_from_their_seeds_alone(stage_run: Path, sampler: str) -> None:
    options = SamplingOptions(sampler, steps=2, precision="fp32")
    drawer = LesionDrawer.load(stage_run / "lesion", torch.device("cpu"), options)
    random = np.random.default_rng(0)
    descriptors = [drawer.bank.sample(name, random) for name in ("benign", "malignant", "benign")]
    labels, seeds = np.array([0, 1, 0]), [5, 6, 7]
    first, again = (drawer.draw(labels, descriptors, seeds) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert one.image.shape == (16, 16) and one.image.dtype == np.uint8
    assert (first[0].image != first[2].image).any()
    # In another company the arithmetic may round otherwise, no more.
    alone = drawer.draw(labels[2:], descriptors[2:], seeds[2:])[0]
    assert np.abs(alone.image.astype(int) - first[2].image).max() <= 1


def test_lora_targets_that_do_not_exist_fail_before_training(
    lesions: Cohort, lesion_tiny: list[str], tmp_path: Path
) -> None:
    with pytest.raises(DataDoubleError, match=r"no such layers.*to_q.*attention_out.*mlp_in"):
        fit(
            "lesion",
            lesions.path,
            tmp_path / "run",
            overrides=[*lesion_tiny, 'lesion.lora_targets=["to_q"]'],
            stages=["lesion"],
        )
    assert not list((tmp_path / "run").rglob("*.safetensors"))


def test_without_lora_all_weights_are_tuned(lesions: Cohort, lesion_tiny: list[str], tmp_path: Path) -> None:
    overrides = [*lesion_tiny, "lesion.lora_rank=0", 'data.classes=["benign"]']
    run = fit("lesion", lesions.path, tmp_path / "run", overrides=overrides, stages=["lesion"])
    ((_, facts),) = list_adapters(run)
    assert facts.kind == "full" and facts.name == "benign"
    LesionDrawer.load(run / "lesion", torch.device("cpu"))


def test_crops_keep_picture_mask_and_conditions_together(lesions: Cohort) -> None:
    material = read_material(lesions, DataOptions(size=48, patch=32, validation_share=0.0))
    crops = LesionCrops(material.train, 2, 32)
    assert len(crops) == 18 + 6 and (crops.labels[-6:] == 2).all()
    for item in range(18):
        plain, _ = crops.crop(item, None)
        for seed in range(4):
            patch, told = crops.crop(item, np.random.default_rng(seed), shift=0.1, scale=0.1, flip=True)
            # Lesions are dark: the picture's dark part is where the mask is, whatever the window.
            inside, outside = patch.image[patch.mask].mean(), patch.image[~patch.mask].mean()
            assert inside < outside - 30
            assert patch.mask.sum() == pytest.approx(plain.mask.sum(), rel=0.35)
            assert told.shape == (8,) and np.abs(told).max() <= 4
    for item in range(18, 24):
        patch, told = crops.crop(item, np.random.default_rng(1))
        assert not patch.mask.any() and not told[2:].any()


def test_tissue_holds_no_part_of_a_lesion() -> None:
    """Without healthy scans tissue is cut beside lesions, and not at all where there is no room beside them."""
    size = 32
    masks = np.zeros((4, size, size), bool)
    masks[0, 12:18, 12:18] = True
    masks[1, 2:8, 2:8] = True
    others = np.zeros_like(masks)
    others[1] = True
    others[1, 20:31, 19:30] = False  # a free corner that chance hardly finds
    others[1, 2:8, 2:8] = False
    masks[2, 8:24, 8:24] = True  # seven or eight pixels beside it: less than the smallest lesion's window
    masks[3, 10:20, 10:20] = True
    images = np.where(masks | others, 250, 20).astype(np.uint8)
    names = tuple("abcd")
    pictures = Pictures(images, masks, others, np.array([0, 0, 0, 0]), names, names)
    crops = LesionCrops(pictures, 1, 16)
    tissue = np.flatnonzero(crops.labels == 1)
    assert [crops.image_id(item) for item in tissue] == ["a", "b", "d"]
    for item in tissue.tolist():
        for seed in range(40):
            patch, _ = crops.crop(item, np.random.default_rng(seed))
            assert patch.image.mean() < 40 and np.median(patch.image) == 20
            window = crops._free_window(crops._row(item), np.random.default_rng(seed))
            rows, columns = (
                slice(int(np.floor(v + 0.5)), int(np.ceil(v + 0.5 + window.side))) for v in window[:2]
            )
            assert not (masks | others)[crops._row(item)][rows, columns].any()
            assert min(window[:2]) >= -0.5 and max(window[:2]) + window.side <= size - 0.5


def test_a_mirrored_crop_mirrors_its_angle(lesions: Cohort) -> None:
    material = read_material(lesions, DataOptions(size=48, patch=32, validation_share=0.0))
    y, x = np.mgrid[:48, :48]
    leaning = ((x - 24) * 0.8 + (y - 24) * 0.6) ** 2 / 144 + (-(x - 24) * 0.6 + (y - 24) * 0.8) ** 2 / 16 < 1
    material.train.masks[0] = leaning
    crops = LesionCrops(material.train, 2, 32)
    item = list(material.train.lesions).index(0) if 0 in material.train.lesions else None
    if item is None:  # the first row is a healthy one: give the lesion to the first that has one
        row = int(material.train.lesions[0])
        material.train.masks[row] = leaning
        crops, item = LesionCrops(material.train, 2, 32), 0
    seen = set()
    for seed in range(12):
        patch, told = crops.crop(item, np.random.default_rng(seed), flip=True)
        angle = describe(patch.image, patch.mask).angle
        plain = crops.standard.apply(np.zeros((1, 8)))[0, 7]  # where the sine of an upright lesion lies
        assert (told[7] > plain) == (angle > 0)
        seen.add(angle > 0)
    assert seen == {True, False}


def test_patches_that_hold_no_whole_lesion_are_not_used() -> None:
    image, mask = np.zeros((32, 32), np.uint8), np.zeros((32, 32), bool)
    assert not is_usable(LesionPatch(image, mask, 0.0))
    mask[10:20, 8:22] = True
    assert is_usable(LesionPatch(image, mask, 2.0))
    mask[:, 8:22] = True
    assert not is_usable(LesionPatch(image, mask, 1.0))


def test_the_largest_piece_of_a_drawn_mask_is_the_lesion() -> None:
    drawn = -torch.ones(1, 2, 16, 16)
    drawn[0, 1, 4:10, 4:12] = 0.6
    drawn[0, 1, 6, 6] = -0.2  # a hole
    drawn[0, 1, 14, 14] = 0.9  # a speck
    drawn[0, 0] = 0.0
    (patch,) = patches_of(drawn)
    assert patch.mask.sum() == 6 * 8 and patch.margin == pytest.approx(16 / 8)
    assert (patch.image == 128).all()


def test_texture_of_any_strength_passes_round_the_network() -> None:
    """Where all is detail the best estimate is the noisy picture itself; runs from before the option have no skip."""
    told = {"objective": "clean", "schedule": "cosine", "timesteps": 1000, "gamma": 5.0}
    seen = torch.randn(2, 2, 4, 4)
    time, labels = torch.full((2,), 100.0), torch.zeros(2, dtype=torch.int64)

    def blank(x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)

    alike = patch_objective(told | {"detail_std": 1e3}).as_trained(blank)(seen, time, labels)
    ratio = (alike / seen).flatten()
    assert torch.allclose(ratio, ratio[0].expand_as(ratio)) and 1.0 < ratio[0] < 1.1  # 1 / sqrt(alpha bar)
    assert not patch_objective(told).as_trained(blank)(seen, time, labels).any()


def test_a_class_whose_adapter_is_not_written_is_not_drawn_by_the_base(
    lesions: Cohort, stage_run: Path, lesion_tiny: list[str], tmp_path: Path
) -> None:
    """Killed between the two files of an adapter: nothing is drawn, and the same command mends it."""
    run = tmp_path / "run"
    shutil.copytree(stage_run, run)
    facts = adapter_folder(run / "lesion", "malignant") / "adapter.json"
    before = facts.read_text()
    facts.unlink()
    with pytest.raises(DataDoubleError, match=r"not finished.*found malignant.*run the same"):
        LesionDrawer.load(run / "lesion", torch.device("cpu"))
    fit("lesion", lesions.path, run, overrides=lesion_tiny, stages=["lesion"])
    assert facts.read_text() == before and run_files(run) == run_files(stage_run)
    LesionDrawer.load(run / "lesion", torch.device("cpu"))
