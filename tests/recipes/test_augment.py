"""`augment`: real pictures, changed with their masks; the same number always gives the same picture."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.cohort.volumes import volume_rows, volumes
from datadouble.errors import DataDoubleError
from datadouble.recipes import fit, generate
from datadouble.recipes.augment import AugmentConfig, load_generator
from datadouble.recipes.config import build, preset_names, read_preset

TINY = ("data.size=32",)
INFO = CohortInfo("dots", "real", "CT", ("dark", "bright"), ("background", "dot"))


def draw_dot(number: int, level: int) -> tuple[np.ndarray, np.ndarray]:
    """A disc whose brightness and mask are one shape."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[:32, :32]
    middle = random.uniform(12, 20, 2)
    mask = ((y - middle[0]) ** 2 + (x - middle[1]) ** 2 < random.uniform(4, 7) ** 2).astype(np.uint8)
    return (30 + mask * level).astype(np.uint8), mask


def make_cohort(path: Path, *, slices: int = 0) -> Cohort:
    """Sixteen patients, twelve of them train: two pictures each, or a volume each of slices of both classes."""
    with CohortWriter(path, INFO) as writer:
        for patient in range(16):
            for i in range(slices or 2):
                label = (patient % 2) if not slices else int(i < slices // 2)
                image, mask = draw_dot(patient if slices else 2 * patient + i, (100, 200)[label])
                writer.add(
                    image,
                    image_id=f"i{patient:02d}-{i}",
                    patient_id=f"secret{patient:02d}",
                    label=INFO.classes[label],
                    mask=mask,
                    split="train" if patient < 12 else "holdout",
                    extra={"volume_id": f"v{patient}", "slice": str(i), "spacing_mm": "[4, 1, 1]"}
                    if slices
                    else None,
                )
        return writer.finish()


@pytest.fixture(scope="module")
def dots(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return make_cohort(tmp_path_factory.mktemp("dots") / "cohort")


@pytest.fixture(scope="module")
def run(dots: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit("augment", dots.path, tmp_path_factory.mktemp("run") / "run", overrides=TINY)


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cohort, Path]:
    """A cohort of volumes and its run."""
    folder = tmp_path_factory.mktemp("stacks")
    cohort = make_cohort(folder / "cohort", slices=4)
    changes = (*TINY, "augment.volume_rotation=20", "augment.volume_scale=0.2")
    return cohort, fit("augment", cohort.path, folder / "run", overrides=changes)


def test_a_double_holds_real_pixels_and_says_so(run: Path, dots: Cohort, tmp_path: Path) -> None:
    double = generate(run, tmp_path / "double", per_class=12)
    assert double.info.contains_real_pixels is True and double.info.origin == "synthetic"
    assert double.info.generator is not None and double.info.generator["masks_from_real"] is True
    assert double.info.mask_classes == INFO.mask_classes
    real = [sample.image for sample in dots.filter(split="train")]
    for sample in double:
        likeness = max(np.corrcoef(sample.image.ravel(), image.ravel())[0, 1] for image in real)
        assert likeness > 0.8  # an audit's copies must find every one
        assert not any(np.array_equal(sample.image, image) for image in real)
    texts = "".join(p.read_text() for p in run.rglob("*") if p.suffix in (".json", ".toml"))
    assert "secret" not in texts
    assert json.loads((run / "provenance.json").read_text())["train_images"] == 24


def test_picture_and_mask_are_changed_alike(run: Path, stacks: tuple[Cohort, Path], tmp_path: Path) -> None:
    for i, folder in enumerate((run, stacks[1])):
        for sample in generate(folder, tmp_path / str(i), per_class=20):
            assert sample.mask is not None and sample.mask.any()
            level = {"dark": 100, "bright": 200}[sample.row["label"]]
            bright = sample.image > 30 + level / 2
            both, either = (bright & (sample.mask > 0)).sum(), (bright | (sample.mask > 0)).sum()
            assert both / either > 0.85  # half a pixel along the border


def test_number_class_and_seed_make_the_picture(run: Path, tmp_path: Path) -> None:
    whole = generate(run, tmp_path / "whole", per_class=15, seed=3)
    few = generate(run, tmp_path / "few", per_class=7, seed=3, batch=2)
    other = generate(run, tmp_path / "other", per_class=7, seed=4)
    names = list(whole.table["image_id"])
    same = []
    for i, name in enumerate(few.table["image_id"]):
        place = names.index(name)
        assert np.abs(few.image(i).astype(int) - whole.image(place)).max() <= 1
        assert np.array_equal(few.mask(i), whole.mask(place))  # type: ignore[arg-type]
        same.append(np.array_equal(few.image(i), other.image(i)))
    assert not any(same)


def test_fit_again_changes_nothing(run: Path, dots: Cohort) -> None:
    before = (run / "model/model.json").read_bytes()
    fit("augment", dots.path, run)
    assert (run / "model/model.json").read_bytes() == before


def test_slices_of_a_volume_are_changed_alike(stacks: tuple[Cohort, Path], tmp_path: Path) -> None:
    """All slices of a source volume hold the same disc, so all of a double's volume do, of whatever class."""
    double = generate(stacks[1], tmp_path / "double", per_class=48)
    found = list(volumes(double))
    assert len(found) == 24 and double.table["patient_id"].nunique() == 24
    centres, spacings, counts = [], [], []
    for volume in found:
        assert volume.mask is not None and len(volume.mask) == 4
        assert all(np.array_equal(part, volume.mask[0]) for part in volume.mask)
        shape = volume.mask[0] > 0
        centres.append(ndimage.center_of_mass(shape))
        spacings.append(volume.spacing[0] / 4)
        counts.append(int(shape.sum()))
        assert 0.8 <= spacings[-1] <= 1.2 and volume.spacing[1:] == (1, 1)
    assert len(set(centres)) == 24  # each volume has a transform of its own
    names = [row.volume_id for row in volume_rows(double)]
    for first, second in zip(names[::2], names[1::2], strict=True):  # two visits of one source
        assert first[:-3] == second[:-3]
        i, j = names.index(first), names.index(second)
        # The disc's area grows with the square of the scale that the distance of slices grows with.
        assert counts[i] / counts[j] == pytest.approx((spacings[i] / spacings[j]) ** 2, rel=0.25)


def test_what_comes_in_from_beyond_the_border_is_black(stacks: tuple[Cohort, Path]) -> None:
    generator = load_generator(stacks[1])
    drawn = generator.draw(0, range(24), 0)
    scales = [json.loads(of["spacing_mm"])[0] / 4 for of in drawn.columns or ()]
    corners = [int(image[0, 0]) for image in drawn.images]
    small = [corner for corner, scale in zip(corners, scales, strict=True) if scale < 0.9]
    assert small and max(small) <= 3


def test_a_window_never_reaches_beyond_the_picture(run: Path) -> None:
    drawn = load_generator(run).draw(0, range(24), 0)
    for ring in (drawn.images[:, 0], drawn.images[:, -1], drawn.images[:, :, 0], drawn.images[:, :, -1]):
        assert ring.min() >= 28  # the background is 30


def test_sixteen_bit_and_unmasked_cohorts(tmp_path: Path) -> None:
    with CohortWriter(tmp_path / "c", replace(INFO, mask_classes=())) as writer:
        for i in range(8):
            image = draw_dot(i, 100)[0].astype(np.uint16) * 257
            writer.add(image, image_id=f"i{i}", patient_id=f"p{i}", label=INFO.classes[i % 2], split="train")
        writer.finish()
    fit("augment", tmp_path / "c", tmp_path / "run", overrides=TINY)
    double = generate(tmp_path / "run", tmp_path / "double", per_class=2)
    assert double.mask(0) is None and double.image(0).dtype == np.uint8


def test_wrong_use_is_answered(run: Path, dots: Cohort, tmp_path: Path) -> None:
    for words, match in (
        ({"steps": 5}, "one step"),
        ({"guidance_weight": 0.0}, "--guidance"),
        ({"sampler": "ddim", "autoguidance": True}, "--sampler, --autoguidance"),
    ):
        with pytest.raises(DataDoubleError, match=match):
            load_generator(run, **words)  # type: ignore[arg-type]
    for wrong, match in (
        ("data.volumes=always", "no volumes"),
        ("data.volumes=often", "auto, always or never"),
        ("augment.crop=0", "scale is 0"),
        ("augment.volume_scale=1", "volume_scale is 1"),
    ):
        with pytest.raises(DataDoubleError, match=match):
            fit("augment", dots.path, tmp_path / "wrong", overrides=[*TINY, wrong])
    assert not (tmp_path / "wrong").exists()
    with pytest.raises(DataDoubleError, match="no model yet|no run"):
        load_generator(tmp_path)


def test_presets_can_be_built(dots: Cohort, tmp_path: Path) -> None:
    assert preset_names("augment") == ["demo", "paper"]
    for name in preset_names("augment"):
        build(AugmentConfig, read_preset("augment", name))
    said: list[str] = []
    fit("augment", dots.path, tmp_path / "r", preset="paper", dry_run=True, say=said.append)
    assert not (tmp_path / "r").exists() and any("never release" in line for line in said)
