"""All stages together: doubles on synthetic and on real scans, cut off and gone on with, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError
from datadouble.recipes import fit, generate
from datadouble.recipes.doubles import Drawing, double_info, write_double
from datadouble.recipes.lesion.backgrounds import people_of, read_backgrounds
from datadouble.recipes.lesion.generator import LesionGenerator
from datadouble.recipes.lesion.loading import load_generator
from datadouble.recipes.lesion.placement_stage import Placement, Placer
from datadouble.recipes.lesion.room import NoRoom


def draw(run: Path, backgrounds: Cohort, out: Path, **options: object) -> Cohort:
    return generate(run, out, per_class=3, backgrounds=backgrounds.path, **options)


@pytest.fixture(autouse=True)
def ellipses(monkeypatch: pytest.MonkeyPatch) -> None:
    """So short a training draws noise: give each drawn patch a dark ellipse that differs from seed to seed."""
    from datadouble.recipes.lesion import lesion_drawer
    from datadouble.recipes.lesion.crops import LesionPatch

    original = lesion_drawer.patches_of

    def with_lesions(drawn: object) -> list[LesionPatch]:
        found = []
        for patch in original(drawn):
            side = len(patch.image)
            y, x = np.mgrid[:side, :side] - (side - 1) / 2
            mask = (x / 5) ** 2 + (y / (3 + patch.image[0, 0] / 128)) ** 2 < 1
            found.append(LesionPatch(np.where(mask, patch.image // 3, patch.image), mask, side / 10))
        return found

    monkeypatch.setattr(lesion_drawer, "patches_of", with_lesions)


def pixels(cohort: Cohort) -> dict[str, bytes]:
    files = sorted(path for folder in ("images", "masks") for path in (cohort.path / folder).iterdir())
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in files}


def test_synthetic_scans_give_a_releasable_double_with_its_healthy_class(
    lesion_run: Path, healthy_double: Cohort, tmp_path: Path
) -> None:
    double = draw(lesion_run, healthy_double, tmp_path / "double")
    assert double.info.origin == "synthetic" and not double.info.contains_real_pixels
    assert double.info.classes == ("normal", "benign", "malignant")
    assert double.info.mask_classes == ("background", "lesion")
    scans = {str(i): healthy_double.image(row) for row, i in enumerate(healthy_double.table["image_id"])}
    for row in range(len(double)):
        scan = scans[double.table["background_id"].iloc[row]]
        mask, image = double.mask(row), double.image(row)
        if double.table["label"].iloc[row] == "normal":
            np.testing.assert_array_equal(image, scan)
            assert not mask.any()
        else:
            assert set(np.unique(mask)) == {0, 1} and (image != scan).any()
            assert (image == scan).mean() > 0.1  # most of all is never touched far from the lesion


def test_outside_band_and_blend_the_scan_is_the_scan(lesion_run: Path, healthy_double: Cohort) -> None:
    generator = load_generator(lesion_run, backgrounds=healthy_double.path)
    for one in generator.draw_stages(1, range(4), seed=3):
        assert one.composite is not None
        assert (one.image != one.healthy)[one.mask].any()
        np.testing.assert_array_equal(
            one.composite.image[~one.composite.touched], one.healthy[~one.composite.touched]
        )
        from datadouble.recipes.lesion.bands import generation_band
        from datadouble.recipes.lesion.repair_options import RepairOptions

        options = RepairOptions(side=32)
        band = generation_band(one.composite.image, one.healthy, one.composite.mask, options.bands())
        outside = ~(band | one.composite.touched)
        assert outside.any()
        np.testing.assert_array_equal(one.image[outside], one.healthy[outside])


def test_real_scans_are_confessed_and_never_passed_through(
    lesion_run: Path, lesions: Cohort, tmp_path: Path
) -> None:
    double = draw(lesion_run, lesions, tmp_path / "double")
    assert double.info.contains_real_pixels
    # Normal ones would be patients' pictures as they are.
    assert double.info.classes == ("benign", "malignant")
    assert "background_id" not in double.table.columns or not (double.table["background_id"] != "").any()
    assert double.info.generator is not None and double.info.generator["backgrounds_origin"] == "real"


def test_scans_of_the_train_split_alone_are_used(lesions: Cohort) -> None:
    found = read_backgrounds(lesions, healthy="normal", size=48, modality="breast ultrasound")
    train = lesions.filter(split="train", label="normal")
    assert set(found.ids) == set(train.table["image_id"]) and not found.synthetic
    uses = np.bincount([found.choose(place, 0) for place in range(5 * len(found))], minlength=len(found))
    assert (uses == 5).all()


def test_a_phantom_double_that_holds_real_pixels_stays_one(
    lesion_run: Path, make_cohort: Callable[..., Cohort], tmp_path: Path
) -> None:
    tainted = make_cohort({"normal": 3}, origin="synthetic", contains_real_pixels=True)
    generator = load_generator(lesion_run, backgrounds=tainted.path)
    assert generator.facts.contains_real_pixels and "normal" not in generator.facts.classes


def test_a_cut_off_drawing_goes_on_bit_for_bit(
    lesion_run: Path, healthy_double: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = draw(lesion_run, healthy_double, tmp_path / "whole", batch=2)
    from datadouble.cohort import CohortWriter

    add, count = CohortWriter.add, iter(range(100))

    def killed(self: CohortWriter, *args: object, **options: object) -> object:
        if next(count) == 5:
            raise KeyboardInterrupt
        return add(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(CohortWriter, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        draw(lesion_run, healthy_double, tmp_path / "cut", batch=2)
    monkeypatch.setattr(CohortWriter, "add", add)
    again = draw(lesion_run, healthy_double, tmp_path / "cut", batch=2)
    assert pixels(whole) == pixels(again)


def test_stages_are_left_out_and_said(lesion_run: Path, healthy_double: Cohort) -> None:
    whole = load_generator(lesion_run, backgrounds=healthy_double.path)
    less = load_generator(lesion_run, backgrounds=healthy_double.path, without=("placement", "repair"))
    assert less.facts.fingerprint["skipped"] == ["placement", "repair"]
    assert less.facts.fingerprint["repair"] == "none" != whole.facts.fingerprint["repair"]
    for one in less.draw_stages(1, range(2), seed=0):
        assert one.composite is not None
        np.testing.assert_array_equal(one.image, one.composite.image)
    with pytest.raises(DataDoubleError, match="cannot be left out"):
        load_generator(lesion_run, backgrounds=healthy_double.path, without=("lesion",))


def test_a_healthy_scan_is_shown_once(lesion_run: Path, healthy_double: Cohort) -> None:
    generator = load_generator(lesion_run, backgrounds=healthy_double.path)
    drawn = generator.draw(0, range(4, 8), seed=0)  # five scans: one is left
    assert drawn.rejected is not None
    assert drawn.rejected["repeat"].tolist() == [False, True, True, True]
    first = generator.draw(0, range(4), seed=0)
    assert first.columns is not None and drawn.columns is not None
    shown = [one["background_id"] for one in (*first.columns, drawn.columns[0])]
    assert len(set(shown)) == 5
    with pytest.raises(DataDoubleError, match="there are 5 healthy scans"):
        generator.draw(0, range(8, 12), seed=0)


def test_too_few_healthy_scans_are_noticed_before_anything_is_drawn(
    lesion_run: Path, healthy_double: Cohort, tmp_path: Path
) -> None:
    for options in ({"per_class": 6}, {"images": 60}):
        with pytest.raises(DataDoubleError, match=r"class normal: there are 5 healthy scans.*asked for"):
            generate(lesion_run, tmp_path / "d", backgrounds=healthy_double.path, **options)
    assert not (tmp_path / "d").exists()


def test_a_sheet_of_all_stages(lesion_run: Path, healthy_double: Cohort, tmp_path: Path) -> None:
    assert (lesion_run / "samples" / "stages.png").is_file()
    load_generator(lesion_run, backgrounds=healthy_double.path).draw_sheet(tmp_path / "s.png", columns=2)
    assert (tmp_path / "s.png").is_file()


def test_no_healthy_scans(
    lesion_run: Path, make_cohort: Callable[..., Cohort], healthy_double: Cohort, tmp_path: Path
) -> None:
    with pytest.raises(DataDoubleError, match=r"--backgrounds DOUBLE.*can be released.*--backgrounds COHORT"):
        generate(lesion_run, tmp_path / "d", per_class=1)
    without = make_cohort({"benign": 3}, origin="synthetic")
    with pytest.raises(DataDoubleError, match="no healthy scans of class 'normal'"):
        draw(lesion_run, without, tmp_path / "d")
    foreign = make_cohort({"normal": 3}, origin="synthetic", modality="chest CT")
    with pytest.raises(DataDoubleError, match="another modality"):
        draw(lesion_run, foreign, tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_a_healthy_scan_too_small_for_the_lesions(
    lesion_run: Path, make_cohort: Callable[..., Cohort], tmp_path: Path
) -> None:
    """Judged at one scale: how far it is enlarged to the picture as drawn, whatever the lesions' size there."""
    for size in (8, 23):  # the lesions reach 17 pixels at 48x48
        small = make_cohort({"normal": 2}, origin="synthetic", size=size)
        with pytest.raises(
            DataDoubleError, match=rf"2 healthy scans are too small.*{size}x{size}.*48x48.*at least 24"
        ):
            draw(lesion_run, small, tmp_path / "d")
    half = make_cohort({"normal": 2}, origin="synthetic", size=24)
    assert len(read_backgrounds(half, healthy="normal", size=48, modality="breast ultrasound")) == 2


def test_a_double_of_another_checker_is_not_gone_on_with(
    lesion_run: Path, healthy_double: Cohort, tmp_path: Path
) -> None:
    """A segmenter trained anew, its cut as before, keeps other pictures."""
    from dataclasses import asdict

    import torch

    from datadouble import files
    from datadouble.networks.segmentation import SegmentationConfig, SegmentationUNet
    from datadouble.networks.weights import save_tensors
    from datadouble.recipes.lesion.verify import Checker

    folder = tmp_path / "verify"
    (folder / "model").mkdir(parents=True)
    shape = SegmentationConfig(8, 2)
    files.write_json(folder / "model.json", {"size": 48, "network": asdict(shape)})
    files.write_json(folder / "cuts.json", {"cuts": {"segmenter": 1.0}, "notes": {}})
    checkers = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        save_tensors(folder / "model" / "last.safetensors", SegmentationUNet(shape).state_dict(), {})
        checkers.append(Checker.load(folder, torch.device("cpu")))
    whole = load_generator(lesion_run, backgrounds=healthy_double.path)

    def generator_with(checker: Checker | None) -> LesionGenerator:
        stages = (whole._config, whole._run_facts, whole._backgrounds, whole._drawer)
        return LesionGenerator(*stages, whole._placer, whole._repairer, checker)

    first, same, other = (double_info(generator_with(one).facts, 0, 4) for one in checkers)
    assert first == same and first != other
    assert (
        whole.facts.fingerprint["verify"] == "none" != generator_with(checkers[0]).facts.fingerprint["verify"]
    )
    write_double(generator_with(checkers[0]), Drawing(per_class=1), tmp_path / "d", say=lambda _: None)
    with pytest.raises(DataDoubleError):
        write_double(generator_with(checkers[2]), Drawing(per_class=2), tmp_path / "d", say=lambda _: None)


def test_options_that_are_not_its_own(
    lesion_run: Path, healthy_double: Cohort, run: Path, tmp_path: Path
) -> None:
    for options in ({"checkpoint": "last"}, {"autoguidance": True}):
        with pytest.raises(DataDoubleError):
            draw(lesion_run, healthy_double, tmp_path / "d", **options)
    with pytest.raises(DataDoubleError, match="has no stages"):
        generate(run, tmp_path / "d", per_class=1, backgrounds=healthy_double.path)


def test_an_adapter_of_another_base_draws_nothing(
    lesion_run: Path, healthy_double: Cohort, tmp_path: Path
) -> None:
    broken = tmp_path / "run"
    shutil.copytree(lesion_run, broken)
    path = broken / "lesion" / "adapters" / "benign" / "adapter.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base": "0" * 16}))
    with pytest.raises(DataDoubleError, match="another base model"):
        draw(broken, healthy_double, tmp_path / "d")


def test_stages_are_trained_alone_and_must_exist(
    lesions: Cohort, lesion_tiny: list[str], tmp_path: Path
) -> None:
    run = fit("lesion", lesions.path, tmp_path / "run", overrides=lesion_tiny, stages=["placement"])
    assert (run / "placement").is_dir() and not (run / "lesion").exists() and not (run / "repair").exists()
    with pytest.raises(DataDoubleError, match="run holds no model yet|not finished"):
        load_generator(run, backgrounds=lesions.path)
    with pytest.raises(DataDoubleError, match="no stage 'repiar'"):
        fit("lesion", lesions.path, run, stages=["repiar"])
    with pytest.raises(DataDoubleError, match="has no stage 'verify'"):
        fit("lesion", lesions.path, run, stages=["verify"])
    with pytest.raises(DataDoubleError, match="has no stages"):
        fit("coldit", lesions.path, tmp_path / "other", stages=["lesion"])


def test_lesion_classes_use_all_scans_equally_often(lesion_run: Path, healthy_double: Cohort) -> None:
    generator = load_generator(lesion_run, backgrounds=healthy_double.path, without=("placement", "repair"))
    used = [one.background for label in (1, 2) for one in generator.draw_stages(label, range(5), seed=0)]
    assert np.bincount(used).tolist() == [2] * 5


def test_a_lesion_without_room_is_drawn_again_and_at_last_dropped(
    lesion_run: Path, healthy_double: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not end the drawing: the next command would end at the same picture."""
    generator = load_generator(lesion_run, backgrounds=healthy_double.path)
    asked: list[float] = []

    def sample(_: Placer, image: np.ndarray, label: int, descriptor, rng: np.random.Generator) -> Placement:
        asked.append(descriptor.size)
        if len(asked) == 1 or len(asked) > 3:
            raise NoRoom("the lesion fits nowhere")
        return Placement(24.0, 24.0, descriptor.size, descriptor.angle)

    monkeypatch.setattr(Placer, "sample", sample)
    drawn = generator.draw(1, range(3), seed=0)
    assert asked[0] != asked[1] and drawn.rejected is not None
    assert drawn.rejected["room"].tolist() == [False, False, True]
    assert not drawn.rejected["patch"].any() and drawn.masks is not None and not drawn.masks[2].any()


def test_pictures_on_one_patients_scans_share_an_invented_patient(
    lesion_run: Path, healthy_double: Cohort, lesions: Cohort, tmp_path: Path
) -> None:
    """A split of the double by patient must not put one scan on both sides."""
    double = draw(lesion_run, healthy_double, tmp_path / "double")
    table = double.table
    assert (table.groupby("background_id")["patient_id"].nunique() == 1).all()
    assert table["patient_id"].nunique() == table["background_id"].nunique() < len(table)
    real = draw(lesion_run, lesions, tmp_path / "real").table["patient_id"]
    assert (
        not set(real) & set(lesions.table["patient_id"]) and real.str.fullmatch(r"synthetic-scan-\d{5}").all()
    )


def test_scans_without_a_patient_are_their_own() -> None:
    found = people_of(["a", "", "a", "", "b"], ["1", "2", "3", "4", "5"])
    assert found[0] == found[2] and sorted(set(found)) == [0, 1, 2, 3]
