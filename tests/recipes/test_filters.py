"""Filters: scores counted by hand on small masks, and cuts taken from real pictures."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.errors import DataDoubleError
from datadouble.recipes import filter_fitting
from datadouble.recipes.filter_fitting import FilterOptions, fit_filters, load_filters
from datadouble.recipes.filters import (
    Ambiguity,
    Anatomy,
    Candidates,
    Enclosure,
    Expected,
    Filter,
    FilterBank,
    Fragments,
    Presence,
    Reconstruction,
    Smoothness,
    Types,
)
from datadouble.training import reconstruction
from datadouble.training.pixels import PixelStore

WINDOW = {"unit": "HU", "low": -400, "high": 300}
SMALL = FilterOptions(autoencoder_images=192, autoencoder_size=32, autoencoder_widths=(8, 16))


def candidates(masks: list[np.ndarray], labels: list[str] | None = None, **more: np.ndarray) -> Candidates:
    stacked = np.stack(masks).astype(np.uint8)
    images = more.get("images", np.zeros(stacked.shape, np.uint8))
    ambiguity = more.get("ambiguity", np.zeros(stacked.shape, np.float32))
    return Candidates(images, stacked, ambiguity, labels or ["a"] * len(stacked))


def mask(*boxes: tuple[int, int, int, int, int]) -> np.ndarray:
    """10 x 10 of background with boxes (id, top, left, height, width)."""
    drawn = np.zeros((10, 10), np.uint8)
    for value, top, left, height, width in boxes:
        drawn[top : top + height, left : left + width] = value
    return drawn


def test_presence_asks_for_a_lesion_where_the_class_has_one() -> None:
    expected = {"a": Expected("must", 0.08), "normal": Expected("never", 0.0), "b": Expected("may", 0.08)}
    one = Presence("hounsfield", expected)  # 1 is tissue, 2 the lesion
    drawn = [mask((1, 0, 0, 10, 10), (2, 2, 2, 2, size)) for size in (4, 2, 1)] + [mask((1, 0, 0, 10, 10))]
    scores = one.scores(candidates(drawn))
    assert scores == pytest.approx([0, 0.5, 0.75, 1])  # 8, 4, 2 and 0 of 8 pixels
    assert one.scores(candidates(drawn, ["normal"] * 4)).tolist() == [1, 1, 1, 0]
    assert one.scores(candidates(drawn, ["b"] * 4)).tolist() == [0, 0, 0, 0]


def test_types_counts_pixels_of_other_types() -> None:
    drawn = [mask((1, 0, 0, 3, 3)), mask((1, 0, 0, 3, 3), (2, 5, 5, 1, 1)), mask((2, 5, 5, 1, 1)), mask()]
    assert Types("none", {}, 0.05).scores(candidates(drawn)) == pytest.approx([0, 0.1, 0, 0])
    only_one = {"a": Expected("must", 0.01, (1,))}
    assert Types("none", only_one, 0.05).scores(candidates(drawn)) == pytest.approx([0, 0.1, 1, 0])


def test_fragments_counts_pixels_outside_the_largest_piece() -> None:
    drawn = [
        mask((1, 0, 0, 3, 3)),
        mask((1, 0, 0, 3, 3), (1, 3, 3, 1, 1)),  # touches at a corner
        mask((1, 0, 0, 3, 3), (1, 6, 6, 1, 3)),
        mask((1, 0, 0, 1, 1), (1, 2, 2, 1, 1), (1, 4, 4, 1, 1), (1, 6, 6, 1, 1)),
        mask(),
    ]
    assert Fragments("none", 0.05).scores(candidates(drawn)) == pytest.approx([0, 0, 0.25, 0.75, 0])


def test_ambiguity_counts_pixels_near_the_middle() -> None:
    ambiguity = np.zeros((2, 10, 10), np.float32)
    ambiguity[1, :3, 0] = (0.4, 0.6, 1.0)
    assert Ambiguity(0.02).scores(candidates([mask(), mask()], ambiguity=ambiguity)) == pytest.approx(
        [0, 0.02]
    )


def test_anatomy_asks_the_drawn_picture_not_the_drawn_structure() -> None:
    soft, air = 160, 20
    images = np.full((3, 10, 10), soft, np.uint8)
    images[1, :, 5:] = air
    images[2] = air
    drawn = mask(
        (1, 0, 0, 10, 10), (2, 4, 2, 3, 6)
    )  # of its interior, columns 3 to 6, half are in air in picture 1
    one = Anatomy("hounsfield", "hounsfield", WINDOW, 0.05)
    assert one.scores(candidates([drawn] * 3, images=images)) == pytest.approx([0, 0.5, 1])
    assert one.scores(candidates([mask()], images=images[2:])).tolist() == [0]


def test_enclosure_counts_background_round_the_lesion() -> None:
    inside = mask((1, 0, 0, 10, 10), (2, 4, 4, 2, 2))
    alone = mask((2, 4, 4, 2, 2))
    half = mask((1, 0, 0, 10, 5), (2, 4, 4, 2, 2))
    scores = Enclosure("hounsfield", 0.05).scores(candidates([inside, alone, half]))
    assert scores == pytest.approx([0, 1, 0.5])  # a seam of 32 pixels, 16 on each side


def test_a_bank_tells_which_filter_drops_which_picture() -> None:
    bank = FilterBank((Fragments("none", 0.2), Ambiguity(0.02)), {"fragments": {"data_dependent": True}})
    ambiguity = np.zeros((2, 10, 10), np.float32)
    ambiguity[0] = 1
    masks = np.stack([mask((1, 0, 0, 3, 3)), mask((1, 0, 0, 3, 3), (1, 6, 6, 1, 3))])
    rejected = bank.rejected(np.zeros((2, 10, 10), np.uint8), masks, ambiguity, "a")
    assert {name: drops.tolist() for name, drops in rejected.items()} == {
        "fragments": [False, True],
        "ambiguity": [True, False],
    }
    assert [(one["name"], one["cut"]) for one in bank.facts()] == [("fragments", 0.2), ("ambiguity", 0.02)]
    assert bank.facts()[0]["data_dependent"] and "largest piece" in bank.facts()[0]["meaning"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Sixty pictures: a bright disc of tissue in air with a lesion in it, none where normal; one lesion is in two."""
    info = CohortInfo("ct", "real", "chest CT", ("normal", "a"), ("background", "x", "y"), WINDOW)
    y, x = np.mgrid[:32, :32]
    with CohortWriter(tmp_path_factory.mktemp("filters") / "c", info) as writer:
        for i in range(60):
            random = np.random.default_rng(i)
            disc = (y - 16) ** 2 + (x - 16) ** 2 < random.uniform(140, 180)
            image = np.where(disc, 140, 10) + random.normal(0, 4, (32, 32))
            lesions = np.zeros((32, 32), np.uint8)
            if i % 2:
                top, left = random.integers(10, 16, 2)
                lesions[top : top + 6, left : left + 6] = 2
            if i == 1:
                lesions[:, :] = 0
                lesions[10:12, 10:16] = lesions[14:16, 10:16] = 2
            writer.add(
                np.clip(image + 60 * (lesions > 0), 0, 255).astype(np.uint8),
                image_id=f"i{i:02d}",
                patient_id=f"p{i}",
                label=info.classes[i % 2],
                mask=lesions,
            )
        return writer.finish()


def stores(cohort: Cohort, folder: Path, structure: str = "hounsfield") -> list:
    """Train and validation stores with their labels, as `fit_filters` takes them."""
    found: list = []
    for name, keep in (("train", np.arange(60) < 40), ("validation", np.arange(60) >= 40)):
        part = cohort.where(keep)
        found += [PixelStore.build(part, 32, folder / name, structure=structure), list(part.table["label"])]
    return found


def by_name(bank: FilterBank) -> dict[str, Filter]:
    return {one.name: one for one in bank.filters}


def test_cuts_come_from_real_pictures(cohort: Cohort, tmp_path: Path) -> None:
    parts = stores(cohort, tmp_path)
    bank = fit_filters(SMALL, *parts, info=cohort.info, folder=tmp_path / "model")
    found = by_name(bank)
    assert set(found) == set(SMALL.use)
    presence = found["presence"]
    assert isinstance(presence, Presence)
    # 36 of 1024 pixels but for one of 24, and half of that; type y alone.
    assert presence.expected["a"] == Expected("must", pytest.approx(24 / 1024 / 2, rel=0.3), (2,))
    assert presence.expected["normal"].lesion == "never"
    assert (
        found["fragments"].cut == 0.5
    )  # the lesion in two halves is one of sixty: above the quantile's rank
    assert found["types"].cut == found["enclosure"].cut == 0.05
    notes = {one["name"]: one for one in bank.facts()}
    assert notes["reconstruction"]["real_images"] == 20 and notes["reconstruction"]["of"] == "validation"
    assert notes["fragments"]["real_images"] == 60
    assert not notes["ambiguity"]["data_dependent"] and notes["reconstruction"]["data_dependent"]
    assert max(one.get("real_share_dropped", 0) for one in bank.facts()) <= 0.02


def test_real_pictures_pass_and_impossible_ones_do_not(cohort: Cohort, tmp_path: Path) -> None:
    train, train_labels, validation, validation_labels = stores(cohort, tmp_path)
    bank = fit_filters(
        SMALL, train, train_labels, validation, validation_labels, info=cohort.info, folder=tmp_path / "model"
    )
    clear = np.zeros((20, 32, 32), np.float32)
    real = bank.rejected(np.array(validation.images), np.array(validation.masks), clear, validation_labels)
    assert not np.any(list(real.values()))
    noise = np.random.default_rng(0).integers(0, 256, (1, 32, 32)).astype(np.uint8)
    assert bank.rejected(noise, np.array(validation.masks[1:2]), clear[:1], "a")["reconstruction"].all()
    outside = np.zeros((1, 32, 32), np.uint8)
    outside[:, 1:5, 1:7] = 3
    told = bank.rejected(np.array(validation.images[1:2]), outside, clear[:1], "a")
    assert {name for name, drops in told.items() if drops[0]} == {"anatomy", "enclosure"}
    wrong = np.where(outside == 3, 2, 0).astype(np.uint8)  # type x
    assert bank.rejected(np.array(validation.images[1:2]), wrong, clear[:1], "a")["types"].all()
    assert bank.rejected(np.array(validation.images[1:2]), wrong, clear[:1], "normal")["presence"].all()


def test_smoothness_is_what_reconstruction_is_not() -> None:
    grey = torch.nn.Conv2d(1, 1, 1)  # brings every picture back as grey
    torch.nn.init.zeros_(grey.weight)
    torch.nn.init.zeros_(grey.bias)
    checks = np.where(np.indices((10, 10)).sum(0) % 2, 0, 255).astype(np.uint8)
    drawn = candidates([mask(), mask()], images=np.stack([checks, np.full((10, 10), 127, np.uint8)]))
    errors = Reconstruction(grey, 10, 0.5).scores(drawn)
    assert errors == pytest.approx([1, 0.5 / 127.5])  # -1 and 1 against 0; and half a level
    bank = FilterBank((Reconstruction(grey, 10, 0.5), Smoothness(grey, 10, -0.5)))
    judged = bank.judge(drawn)
    assert judged["reconstruction"].kept.tolist() == [False, True]
    assert judged["smoothness"].kept.tolist() == [True, False]


def test_the_smoothness_cut_is_the_least_real_error(cohort: Cohort, tmp_path: Path) -> None:
    options = dataclasses.replace(SMALL, use=("smoothness", "reconstruction"), quantile=1.0)
    parts = stores(cohort, tmp_path)
    found = by_name(fit_filters(options, *parts, info=cohort.info, folder=tmp_path / "model"))
    real = Candidates(parts[2].images, parts[2].masks, np.zeros((20, 32, 32)), parts[3])
    errors = found["reconstruction"].scores(real)
    assert (found["reconstruction"].cut, -found["smoothness"].cut) == pytest.approx(
        (errors.max(), errors.min())
    )


def test_a_fitted_bank_is_loaded_and_a_killed_training_goes_on(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = stores(cohort, tmp_path)
    often = functools.partial(reconstruction.AutoencoderOptions, save_every=64)
    monkeypatch.setattr(filter_fitting, "AutoencoderOptions", often)
    whole, batch = (
        fit_filters(SMALL, *parts, info=cohort.info, folder=tmp_path / "whole"),
        reconstruction._batch,
    )

    def dies(images: np.ndarray, options: reconstruction.AutoencoderOptions, seen: int) -> torch.Tensor:
        if seen >= 144:
            raise KeyboardInterrupt
        return batch(images, options, seen)

    with monkeypatch.context() as patch:
        patch.setattr(reconstruction, "_batch", dies)
        with pytest.raises(KeyboardInterrupt):
            fit_filters(SMALL, *parts, info=cohort.info, folder=tmp_path / "cut")
    seen: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(reconstruction, "_batch", lambda i, o, s: seen.append(s) or batch(i, o, s))
        cut = fit_filters(SMALL, *parts, info=cohort.info, folder=tmp_path / "cut")
        assert seen == [128, 144, 160, 176]
        fit_filters(SMALL, *parts, info=cohort.info, folder=tmp_path / "cut")
        assert len(seen) == 4
    assert cut.facts() == whole.facts() == load_filters(tmp_path / "whole").facts()
    assert sorted(p.name for p in (tmp_path / "cut").iterdir()) == [
        "filter-autoencoder.safetensors",
        "filters.json",
    ]


def test_what_cannot_be_fitted_is_left_out_and_said(cohort: Cohort, tmp_path: Path) -> None:
    train, labels, *_ = stores(cohort, tmp_path, structure="none")
    said: list[str] = []
    bank = fit_filters(
        SMALL, train, labels, None, [], info=cohort.info, folder=tmp_path / "model", say=said.append
    )
    assert set(by_name(bank)) == {"presence", "types", "fragments", "ambiguity", "anatomy"}
    assert said == [
        "filter 'reconstruction' is left out: 0 validation images, 10 are needed",
        "filter 'enclosure' is left out: no structure is drawn",
    ]
    assert set(json.loads((tmp_path / "model" / "filters.json").read_text())["left_out"]) == {
        "reconstruction",
        "enclosure",
    }
    assert not load_filters(tmp_path / "nothing").filters


def test_wrong_options_are_told(cohort: Cohort, tmp_path: Path) -> None:
    parts = stores(cohort, tmp_path)
    for options, message in (
        (FilterOptions(use=("typos",)), "did you mean 'types'"),
        (FilterOptions(quantile=99), "quantile = 99"),
        (FilterOptions(autoencoder_size=50, autoencoder_widths=(8, 16)), "must divide by 4"),
    ):
        with pytest.raises(DataDoubleError, match=message):
            fit_filters(options, *parts, info=cohort.info, folder=tmp_path / "model")
