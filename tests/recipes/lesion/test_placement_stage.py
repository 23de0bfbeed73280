"""Stage 2 from end to end on tiny pictures: it learns what the picture says, resumes, and charges what hiding leaks."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from datadouble.cohort import CohortInfo
from datadouble.networks.placement import PlaceDensity
from datadouble.networks.weights import load_tensors
from datadouble.recipes.lesion.material import HEALTHY, DataOptions, LesionMaterial, Pictures
from datadouble.recipes.lesion.placement_stage import PlacementOptions, Placer, drawn_to, fit_placement
from datadouble.recipes.lesion.placement_views import Views, found_in
from datadouble.training.loop import Trainer

SIDE = 32


def pictures(n: int, seed: int, healthy: int = 4) -> Pictures:
    """Left or right of each picture is bright; the lesion always lies in the bright half. Two classes, in turns."""
    random = np.random.default_rng(seed)
    images = np.zeros((n, SIDE, SIDE), dtype=np.uint8)
    masks = np.zeros((n, SIDE, SIDE), dtype=bool)
    labels = np.full(n, HEALTHY, dtype=np.int64)
    rows, columns = np.indices((SIDE, SIDE))
    for i in range(n):
        right = bool(random.random() < 0.5)
        level = np.where((columns >= SIDE // 2) == right, 150, 60)
        image = level + random.normal(0, 12, (SIDE, SIDE))
        if i >= healthy:
            labels[i] = i % 2
            row, column = random.uniform(9, 22), random.uniform(6, 10) + SIDE // 2 * right
            masks[i] = ((rows - row) / 2.6) ** 2 + ((columns - column) / 3.6) ** 2 <= 1
            image[masks[i]] -= 50
        images[i] = np.clip(image, 1, 255).astype(np.uint8)
    ids = tuple(f"{seed}-{i}" for i in range(n))
    return Pictures(images, masks, np.zeros_like(masks), labels, ids, ids)


def material(train: Pictures, validation: Pictures) -> LesionMaterial:
    info = CohortInfo("tiny", "real", "ultrasound", ("normal", "a", "b"), ("background", "lesion"))
    return LesionMaterial(
        train,
        validation,
        ("a", "b"),
        (1, 1),
        (0.1, 0.45, 0.45),
        "normal",
        info,
        None,  # type: ignore[arg-type]
    )


OPTIONS = PlacementOptions(
    images=960,
    batch=16,
    learning_rate=4e-3,
    precision="fp32",
    width=16,
    depth=1,
    heads=2,
    mixtures=2,
    dropout=0.05,
    variants=2,
    decoys=2,
    ema_half_life=50,
    validate_every=240,
    checkpoint_every=240,
    sheet_every=960,
)
DATA = DataOptions(size=SIDE)


@pytest.fixture(scope="module")
def both() -> LesionMaterial:
    return material(pictures(40, 1), pictures(24, 2))


@pytest.fixture(scope="module")
def run(both: LesionMaterial, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("placement")
    fit_placement(OPTIONS, DATA, both, folder, say=lambda text: None)
    return folder


def test_it_learns_where_the_picture_says_lesions_lie(run: Path) -> None:
    """The prior cannot know left from right: the picture is worth log 2 = 0.69 nats, and part of it must be found."""
    figures = json.loads((run / "model" / "mixture.json").read_text())["held_out"]
    assert figures["place"]["mixture"] > figures["place"]["prior"] + 0.25
    for factor in ("place", "size", "angle"):
        assert figures[factor]["mixture"] >= figures[factor]["prior"]
    placer = Placer.load(run, torch.device("cpu"))
    test = pictures(12, 5, healthy=12)
    bright = [image[:, SIDE // 2 :].mean() > image[:, : SIDE // 2].mean() for image in test.images]
    right = [placer.density(image, "a")[:, 2:].sum() for image in test.images]
    assert np.mean([share if b else 1 - share for share, b in zip(right, bright, strict=True)]) > 0.6


def test_sheets_and_metrics_are_written(run: Path) -> None:
    assert list((run / "samples").glob("*-places.png"))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {"leak", "nats_over_prior_place", "validation_loss"} <= set(lines[-1])


def test_a_training_that_was_cut_off_goes_on_bit_for_bit(
    run: Path, both: LesionMaterial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, taken = Trainer._step, []

    def stops(self: Trainer, forward: torch.nn.Module) -> dict:
        taken.append(1)
        if len(taken) == 22:
            raise KeyboardInterrupt
        return step(self, forward)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_step", stops)
        with pytest.raises(KeyboardInterrupt):
            fit_placement(OPTIONS, DATA, both, tmp_path, say=lambda text: None)
    assert not (tmp_path / "model" / "mixture.json").exists()
    fit_placement(OPTIONS, DATA, both, tmp_path, say=lambda text: None)
    a, b = (load_tensors(path / "model" / "last.safetensors")[0] for path in (run, tmp_path))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert (run / "model" / "mixture.json").read_text() == (tmp_path / "model" / "mixture.json").read_text()


def test_without_learning_it_is_the_prior(both: LesionMaterial, tmp_path: Path) -> None:
    options = PlacementOptions(**{**OPTIONS.__dict__, "learned": False})
    fit_placement(options, DATA, both, tmp_path, say=lambda text: None)
    placer = Placer.load(tmp_path, torch.device("cpu"))
    assert set(placer.weights.values()) == {0.0}
    np.testing.assert_allclose(
        placer.density(both.train.images[0], 0), placer.density(both.train.images[1], 0), atol=1e-12
    )


def test_views_hide_the_lesion_in_both_pictures_and_do_not_depend_on_order(both: LesionMaterial) -> None:
    train = both.train
    first, second = (Views(train, train, seed=3, decoys=2) for _ in range(2))
    row = int(train.lesions[5])
    second.of(int(train.lesions[1]), 1)
    a, b = first.of(row, 1), second.of(row, 1)
    np.testing.assert_array_equal(a.decoyed, b.decoyed)
    before = [train.images[r][train.masks[r]].mean() for r in train.lesions[:12]]
    after = [first.of(int(r), 1).plain[train.masks[r]].mean() for r in train.lesions[:12]]
    assert np.mean(after) > np.mean(before) + 20  # a lesion is 50 darker than what is round it
    assert a.decoys.any()
    assert (a.decoyed != a.plain).any()
    healthy = first.of(int(train.healthy[0]), 0)
    np.testing.assert_array_equal(healthy.plain, train.images[train.healthy[0]])


def test_truths_are_where_the_masks_are(both: LesionMaterial) -> None:
    found, _ = found_in(both.train)
    row = both.train.lesions[3]
    middle = np.argwhere(both.train.masks[row]).mean(axis=0)
    assert found.row[3] * SIDE - 0.5 == pytest.approx(middle[0], abs=1e-4)
    assert found.column[3] * SIDE - 0.5 == pytest.approx(middle[1], abs=1e-4)
    assert np.exp(found.size[3]) * SIDE == pytest.approx(np.sqrt(both.train.masks[row].sum()))


def test_what_decoys_draw_to_themselves_is_a_log_ratio() -> None:
    """A quarter of the probability lies in the decoy without it and half with it: log 2."""
    empty = torch.zeros(1, 2, 2, 1)
    places = torch.tensor([[[0.5, 0.25], [0.125, 0.125]]]), torch.tensor([[[0.25, 0.25], [0.25, 0.25]]])
    decoyed, plain = (PlaceDensity(p.log(), *[empty] * 7) for p in places)
    allowed, decoy = torch.ones(1, 2, 2, dtype=torch.bool), torch.zeros(1, 2, 2, dtype=torch.bool)
    decoy[0, 0, 0] = True
    assert float(drawn_to(decoyed, plain, allowed, decoy)) == pytest.approx(np.log(2), abs=1e-6)
    assert float(drawn_to(decoyed, plain, allowed, torch.zeros_like(decoy))) == 0


def test_look_alikes_of_two_patients_do_not_choose_how_smooth_the_prior_is(tmp_path: Path) -> None:
    """Each lesion twice, of two patients: in two folds its twin would make the sharpest histogram the likeliest."""
    once, rows = pictures(24, 3, healthy=0), np.tile(np.arange(24), 2)
    names = tuple(f"{i + turn:02d}" for turn in (0, 1) for i in range(24))  # a twin is in the next fold
    alike = replace(once.take(rows), patients=names, units=tuple(f"{row:02d}" for row in rows))
    sharpest = {}
    for name, train in (("alike", alike), ("divided", replace(alike, units=names)), ("once", once)):
        options = replace(OPTIONS, learned=False)
        fit_placement(options, DATA, material(train, train.take([])), tmp_path / name, say=lambda _: None)
        sharpest[name] = np.max(json.loads((tmp_path / name / "model" / "prior.json").read_text())["place"])
    assert sharpest["divided"] > 1.1 * sharpest["alike"]
    assert sharpest["alike"] < 1.05 * sharpest["once"]
