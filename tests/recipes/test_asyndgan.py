"""AsynDGAN in small: pictures follow masks, sites keep to their own critics, and everything can be drawn again."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.cohort.cohort import write_table
from datadouble.errors import DataDoubleError
from datadouble.recipes import fit, generate
from datadouble.recipes.asyndgan import AsyndganConfig, AsyndganTask
from datadouble.recipes.asyndgan_generator import load_generator
from datadouble.recipes.config import build, preset_names, read_preset
from datadouble.recipes.runs import choose_material
from datadouble.recipes.sites import site_rows, sites_of

TINY = (
    "data.size=16",
    "data.structure=none",
    "model.width=8",
    "model.blocks=1",
    "model.critic_width=8",
    "model.critic_layers=2",
    "training.images=96",
    "training.batch=8",
    "training.precision=fp32",
    "training.validate_every=32",
    "training.sheet_every=96",
    "training.checkpoint_every=16",
    "training.ema_half_life=100",
    "sampling.batch=4",
)
INFO = CohortInfo("boxes", "real", "CT", ("small", "large"), ("background", "box"))


def draw_box(number: int, label: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture is a function of its mask: 40 outside and 200 inside."""
    random = np.random.default_rng(number)
    mask = np.zeros((16, 16), np.uint8)
    side, (y, x) = (4, 7)[label], random.integers(3, 6, 2)
    mask[y : y + side, x : x + side] = 1
    return np.where(mask > 0, 200, 40).astype(np.uint8), mask


def make_cohort(path: Path) -> Cohort:
    """Forty-eight pictures of twenty-four patients of three sites, of which the last has few."""
    with CohortWriter(path, INFO) as writer:
        for i in range(48):
            patient = i // 2
            image, mask = draw_box(i, patient % 2)
            writer.add(
                image,
                image_id=f"i{i:02d}",
                patient_id=f"secret{patient:02d}",
                label=INFO.classes[patient % 2],
                mask=mask,
                split="train" if patient < 20 else "holdout",
                site="abc"[min(patient % 5 // 2, 2)],
            )
        return writer.finish()


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return make_cohort(tmp_path_factory.mktemp("boxes") / "cohort")


@pytest.fixture(scope="module")
def run(boxes: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that has learned little."""
    return fit("asyndgan", boxes.path, tmp_path_factory.mktemp("run") / "run", overrides=TINY)


def task_of(cohort: Cohort, folder: Path, *overrides: str) -> AsyndganTask:
    config = build(AsyndganConfig, {}, [*TINY, *overrides])
    material = choose_material(cohort, (), 0.1, 0)
    folder.mkdir(exist_ok=True)
    return AsyndganTask(config, material, sites_of(material, 8), "none", folder, torch.device("cpu"))


def test_a_run_holds_what_the_format_says(run: Path) -> None:
    for name in (
        "config.toml",
        "provenance.json",
        "metrics.jsonl",
        "model/masks.npy",
        "state/state.safetensors",
    ):
        assert (run / name).is_file(), name
    assert sorted(p.name for p in (run / "samples").iterdir()) == [
        "000000096-nearest.png",
        "000000096-sheet.png",
    ]
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"l1", "adversarial", "critic_loss", "critic_accuracy", "validation_loss"} <= last.keys()
    texts = "".join(p.read_text() for p in run.rglob("*") if p.suffix in (".json", ".jsonl", ".toml"))
    assert "secret" not in texts


def test_pictures_follow_masks_where_they_are_a_function_of_them(boxes: Cohort, tmp_path: Path) -> None:
    longer = [*TINY, "training.images=1200", "training.learning_rate=3e-3", "augment.share=0"]
    longer += ["training.validate_every=600", "training.sheet_every=1200", "training.checkpoint_every=1200"]
    task = task_of(boxes, tmp_path / "untrained")
    before = task.validate(task.network)["validation_loss"]
    fit("asyndgan", boxes.path, tmp_path / "run", overrides=longer)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["validation_loss"] < 0.25 * before
    assert lines[-1]["l1"] < lines[0]["l1"] < 0.25 * before
    double = generate(tmp_path / "run", tmp_path / "double", per_class=8)
    assert double.info.contains_real_pixels is False and double.info.mask_classes == INFO.mask_classes
    assert double.info.generator is not None and double.info.generator["masks_from_real"] is True
    for sample in double:
        assert sample.mask is not None and sample.mask.any()
        inside, outside = sample.image[sample.mask > 0], sample.image[sample.mask == 0]
        assert inside.mean() > outside.mean() + 80
    areas = {label: [] for label in INFO.classes}  # type: dict[str, list[int]]
    for sample in double:
        assert sample.mask is not None
        areas[sample.row["label"]].append(int(sample.mask.sum()))
    assert np.mean(areas["large"]) > 1.5 * np.mean(areas["small"])


@pytest.mark.parametrize("kind", ["cross_entropy", "least_squares"])
def test_a_sites_pictures_reach_no_other_critic(boxes: Cohort, tmp_path: Path, kind: str) -> None:
    task = task_of(boxes, tmp_path / "run", f"losses.kind={kind}")
    for site in range(3):
        rows = np.flatnonzero(task.sites.of == site)[:4]
        batch = task.real_batch(rows, 0)
        images = batch.images.requires_grad_()
        drawn = task.draw_batch(task.network, batch)
        task.critics.zero_grad()
        task.critic_losses(batch._replace(images=images), drawn.detach())["critic_loss"].backward()
        moved = [any(p.grad is not None for p in critic.parameters()) for critic in task.critics]
        assert moved == [i == site for i in range(3)]
        assert images.grad is not None and bool(images.grad.any())


def test_a_critics_gradient_is_that_of_its_own_pictures_alone(boxes: Cohort, tmp_path: Path) -> None:
    """In a mixed batch each critic gets what it would get if the other sites were not there."""
    task = task_of(boxes, tmp_path / "run")
    whole = task.real_batch(task.choose_rows(0, 9), 0)
    drawn = task.draw_batch(task.network, whole).detach()
    for site in range(3):
        gradients = []
        for here in (slice(None), whole.sites == site):
            task.critics.zero_grad()
            part = type(whole)(*(x[here] for x in whole))
            task.critic_losses(part, drawn[here])["critic_loss"].backward()
            gradients.append([p.grad.clone() for p in task.critics[site].parameters()])  # type: ignore[union-attr]
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


def test_the_generators_loss_weighs_sites_by_their_shares(boxes: Cohort, tmp_path: Path) -> None:
    task = task_of(boxes, tmp_path / "run", "losses.adversarial=0", "losses.distance=1")
    batch = task.real_batch(task.choose_rows(0, 12), 0)
    drawn = task.draw_batch(task.network, batch)
    by_hand = sum(
        float((task.sites.of == site).mean())
        * float((drawn - batch.images)[batch.sites == site].abs().mean().detach())
        for site in range(3)
    )
    assert float(task.generator_losses(batch, drawn)["loss"].detach()) == pytest.approx(by_hand, rel=1e-5)


def test_sites_take_turns_and_their_images_too(boxes: Cohort) -> None:
    sites = sites_of(choose_material(boxes, (), 0.1, 0), 8)
    stream = np.concatenate([site_rows(sites, 1, seen, 8) for seen in range(0, 240, 8)])
    assert np.array_equal(stream, site_rows(sites, 1, 0, 240))
    assert np.array_equal(sites.of[stream], np.arange(240) % 3)
    for site in range(3):
        counts = np.bincount(stream[sites.of[stream] == site], minlength=len(sites.of))[sites.of == site]
        assert counts.max() - counts.min() <= 1


def test_fit_goes_on_to_the_same_bytes_where_it_was_killed(boxes: Cohort, run: Path, tmp_path: Path) -> None:
    class Killed(BaseException):
        """Stands for kill -9: nothing catches it."""

    losses, calls = AsyndganTask.generator_losses, []

    def dying(self: AsyndganTask, *given: object) -> dict:
        calls.append(1)
        if len(calls) in (4, 9):
            raise Killed
        return losses(self, *given)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AsyndganTask, "generator_losses", dying)
        for _ in range(2):
            with pytest.raises(Killed):
                fit("asyndgan", boxes.path, tmp_path / "run", overrides=TINY)
        fit("asyndgan", boxes.path, tmp_path / "run")
    for name in ("model/best.safetensors", "model/last.safetensors", "state/state.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes(), name


def test_number_class_and_seed_make_the_picture(run: Path, tmp_path: Path) -> None:
    whole = generate(run, tmp_path / "whole", per_class=6, seed=4)
    few = generate(run, tmp_path / "few", per_class=3, seed=4, batch=1)
    other = generate(run, tmp_path / "other", per_class=3, seed=5)
    names, same = list(whole.table["image_id"]), []
    for i, name in enumerate(few.table["image_id"]):
        place = names.index(name)
        assert np.abs(few.image(i).astype(int) - whole.image(place)).max() <= 1
        assert np.array_equal(few.mask(i), whole.mask(place))  # type: ignore[arg-type]
        same.append(np.array_equal(few.image(i), other.image(i)))
    assert not all(same)


def test_masks_are_those_of_training_patients(run: Path, boxes: Cohort) -> None:
    stored = np.load(run / "model/masks.npy")
    train = {mask.tobytes() for mask in (boxes.mask(i) for i in range(40)) if mask is not None}
    assert {mask.tobytes() for mask in stored} <= train
    sources = load_generator(run).model.sources
    assert len(sources.labels) == len(stored)


def change_sites(cohort: Cohort, sites: list[str]) -> Cohort:
    table = cohort.table.copy()
    table["site"] = sites
    write_table(cohort.path / "metadata.csv", table)
    return Cohort.open(cohort.path)


def test_one_site_has_one_critic_and_wrong_ones_are_named(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "cohort")

    def sites(names: list[str], batch: int = 8) -> tuple[str, ...]:
        return sites_of(choose_material(change_sites(cohort, names), (), 0.0, 0), batch).names

    assert sites([""] * 48) == ("",)
    with pytest.raises(DataDoubleError, match="one training patient") as caught:
        sites(["lonely"] * 2 + ["a"] * 46)
    assert "lonely" in str(caught.value)
    with pytest.raises(DataDoubleError, match="4 of 40 training images have no site"):
        sites([""] * 4 + ["a"] * 44)
    with pytest.raises(DataDoubleError, match="use 10 or more"):
        sites([f"s{i // 4}" for i in range(48)])


def test_wrong_use_is_answered(boxes: Cohort, run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataDoubleError, match="one step"):
        generate(run, tmp_path / "double", images=2, steps=10)
    for wrong, match in (
        ("losses.kind=wasserstein", "losses.kind"),
        ("model.critic_layers=3", "critic_layers"),
        ("training.micro_batch=4", "micro-batches"),
        ("sampling.rotation=90", "rotation is 90"),
    ):
        with pytest.raises(DataDoubleError, match=match):
            fit("asyndgan", boxes.path, tmp_path / wrong, overrides=[*TINY, wrong])
        assert not (tmp_path / wrong).exists()


def test_classes_whose_masks_are_empty_need_a_structure(tmp_path: Path) -> None:
    info = CohortInfo("some", "real", "CT", ("normal", "ill"), ("background", "box"))
    with CohortWriter(tmp_path / "cohort", info) as writer:
        for i in range(16):
            image, mask = draw_box(i, 0)
            writer.add(
                image,
                image_id=f"i{i}",
                patient_id=f"p{i}",
                label=info.classes[i % 2],
                mask=mask if i % 2 else None,
                split="train",
            )
        writer.finish()
    with pytest.raises(DataDoubleError, match="masks of a class are empty") as caught:
        fit("asyndgan", tmp_path / "cohort", tmp_path / "run", overrides=TINY)
    assert "normal" in str(caught.value) and "data.structure" in str(caught.value)
    fit("asyndgan", tmp_path / "cohort", tmp_path / "r", overrides=[*TINY, "data.structure=tissue"])
    drawn = load_generator(tmp_path / "r").draw(0, range(3), 0)
    assert drawn.masks is not None and not drawn.masks.any()


def test_presets_can_be_built(boxes: Cohort, tmp_path: Path) -> None:
    assert preset_names("asyndgan") == ["cpu-64", "demo", "paper"]
    for name in preset_names("asyndgan"):
        build(AsyndganConfig, read_preset("asyndgan", name))
    said: list[str] = []
    small = (
        "data.size=32",
        "model.width=8",
        "model.critic_width=8",
        "model.critic_layers=2",
        "training.batch=4",
    )
    fit(
        "asyndgan", boxes.path, tmp_path / "r", preset="paper", overrides=small, dry_run=True, say=said.append
    )
    assert not (tmp_path / "r").exists()
    assert any("hours to train" in line for line in said) and any("3 sites" in line for line in said)
