"""The nnU-Net export against the rules of its documentation (dataset_format.md), and against nnU-Net where it is."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.cohort.volumes import volumes
from datadouble.errors import DataDoubleError
from datadouble.release.exporters import ExportOptions, export_cohort
from datadouble.release.exporters.nnunet import read_predictions

nibabel = pytest.importorskip("nibabel")


@pytest.fixture
def flat(tmp_path: Path) -> Cohort:
    """Ultrasound: 8 patients of two pictures (40, 48); patients 6 and 7 are test, 5 holdout; one mask is missing."""
    info = CohortInfo("my set", "real", "ultrasound", ("b", "m"), ("background", "lesion", "duct"))
    generator = np.random.default_rng(0)
    with CohortWriter(tmp_path / "flat", info) as writer:
        for patient in range(8):
            for view in range(2):
                mask = generator.integers(0, 3, (40, 48)).astype(np.uint8)
                split = "test" if patient > 5 else "holdout" if patient == 5 else "train"
                writer.add(
                    generator.integers(0, 256, (40, 48)).astype(np.uint8),
                    image_id=f"x{patient}{view}",
                    patient_id=f"SECRET{patient}",
                    label="b",
                    mask=None if (patient, view) == (0, 1) else mask,
                    split=split,
                )
        return writer.finish()


@pytest.fixture
def deep(tmp_path: Path) -> Cohort:
    """CT: 4 volumes of 3 patients, 6 slices (20, 24) of 5 x 2 x 1.5 mm."""
    intensity = {"unit": "HU", "low": -200, "high": 200}
    info = CohortInfo("ct", "real", "CT", ("x",), ("background", "tumour"), intensity)
    generator = np.random.default_rng(1)
    with CohortWriter(tmp_path / "deep", info) as writer:
        for number in range(4):
            for k in range(6):
                writer.add(
                    generator.integers(0, 256, (20, 24)).astype(np.uint8),
                    image_id=f"v{number}{5 - k}",
                    patient_id=f"SECRET{min(number, 2)}",
                    label="x",
                    mask=(generator.random((20, 24)) < 0.2).astype(np.uint8),
                    extra={"volume_id": f"vol{number}", "slice": str(k), "spacing_mm": "[5.0, 2.0, 1.5]"},
                )
        return writer.finish()


def check_layout(folder: Path) -> dict:
    """The rules that nnU-Net v2 documents for a raw data set."""
    about = json.loads((folder / "dataset.json").read_text())
    assert {"channel_names", "labels", "numTraining", "file_ending"} <= set(about)
    assert about["labels"]["background"] == 0
    assert sorted(about["labels"].values()) == list(range(len(about["labels"])))
    ending = about["file_ending"]
    images = sorted(p.name for p in (folder / "imagesTr").iterdir())
    labels = sorted(p.name for p in (folder / "labelsTr").iterdir())
    assert len(labels) == about["numTraining"] == len(images)
    assert images == [name.replace(ending, f"_0000{ending}") for name in labels]
    assert all(name.endswith(f"_0000{ending}") for name in (p.name for p in (folder / "imagesTs").iterdir()))
    for label in labels:
        mask, image = (
            read(folder / kind)
            for kind in (f"labelsTr/{label}", f"imagesTr/{label.replace(ending, '_0000' + ending)}")
        )
        assert mask.shape == image.shape
        assert set(np.unique(mask)) <= set(about["labels"].values())
    everything = " ".join(p.name for p in folder.rglob("*")) + (folder / "dataset.json").read_text()
    assert "SECRET" not in everything
    return about


def read(path: Path) -> np.ndarray:
    return (
        np.asarray(Image.open(path)) if path.suffix == ".png" else np.asanyarray(nibabel.load(path).dataobj)
    )


def check_folds(folder: Path, cohort: Cohort, unit: dict[str, str], count: int) -> None:
    folds = json.loads((folder / "splits_final.json").read_text())
    cases = {p.name.split(".")[0] for p in (folder / "labelsTr").iterdir()}
    assert len(folds) == count
    assert sorted(name for fold in folds for name in fold["val"]) == sorted(cases)
    for fold in folds:
        assert set(fold["train"]) | set(fold["val"]) == cases
        assert not {unit[name] for name in fold["train"]} & {unit[name] for name in fold["val"]}


def test_pictures_are_png_cases(flat: Cohort, tmp_path: Path) -> None:
    made = export_cohort(flat, "nnunet", tmp_path / "raw", ExportOptions(dataset_id=7))
    assert made.path == tmp_path / "raw" / "Dataset007_MySet"
    about = check_layout(made.path)
    assert about["channel_names"] == {"0": "ultrasound"}
    assert about["labels"] == {"background": 0, "lesion": 1, "duct": 2}
    assert about["file_ending"] == ".png"
    assert about["numTraining"] == 9  # 5 patients of two, less the one without a mask
    assert len(list((made.path / "imagesTs").iterdir())) == 4
    assert made.cases == 13
    assert any("2 cases of split holdout" in note for note in made.notes)
    assert any("1 cases for training have no mask" in note for note in made.notes)
    patients = {f"case_{i:04d}": str(p) for i, p in enumerate(flat.table["patient_id"], start=1)}
    check_folds(made.path, flat, patients, 5)
    np.testing.assert_array_equal(read(made.path / "imagesTr" / "case_0001_0000.png"), flat.image(0))


def test_volumes_are_nifti_cases_in_hu_with_their_spacing(deep: Cohort, tmp_path: Path) -> None:
    made = export_cohort(deep.path, "nnunet", tmp_path / "Dataset009_Chest")
    assert made.path == tmp_path / "Dataset009_Chest"
    about = check_layout(made.path)
    assert about["channel_names"] == {"0": "CT"}  # so nnU-Net normalises as for CT
    assert about["numTraining"] == 4
    image = nibabel.load(made.path / "imagesTr" / "case_0001_0000.nii.gz")
    assert image.header.get_zooms() == (1.5, 2.0, 5.0)
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    first = next(volumes(deep))
    hu = np.round(-200 + 400 / 255 * first.image.astype(float))
    np.testing.assert_array_equal(np.asanyarray(image.dataobj).T, hu)
    check_folds(made.path, deep, {"case_0001": "0", "case_0002": "1", "case_0003": "2", "case_0004": "2"}, 3)
    # and the way back through the importer: the same volumes
    from datadouble.cohort.importers import import_cohort

    again = import_cohort("nifti", made.path, tmp_path / "again")
    back = {volume.mask.tobytes(): volume for volume in volumes(again) if volume.mask is not None}
    for volume in volumes(deep):
        assert volume.mask is not None
        np.testing.assert_array_equal(back[volume.mask.tobytes()].image, volume.image)
        assert back[volume.mask.tobytes()].spacing == volume.spacing


def test_the_same_cohort_gives_the_same_bytes(deep: Cohort, tmp_path: Path) -> None:
    one, two = (export_cohort(deep, "nnunet", tmp_path / name).path for name in "ab")
    for path in (p for p in one.rglob("*") if p.is_file()):
        assert path.read_bytes() == (two / path.relative_to(one)).read_bytes()


def test_predictions_come_back_as_masks(flat: Cohort, deep: Cohort, tmp_path: Path) -> None:
    """nnU-Net writes predictions like labels, with dataset.json beside them."""
    for cohort in (flat, deep):
        raw = export_cohort(cohort, "nnunet", tmp_path / "raw", ExportOptions(test=("train", "test"))).path
        predicted = tmp_path / f"predicted-{cohort.info.name}"
        shutil.copytree(raw / "labelsTr", predicted)
        shutil.copy(raw / "dataset.json", predicted)
        masks = read_predictions(predicted, cohort)
        truth = {str(i): cohort.mask(n) for n, i in enumerate(cohort.table["image_id"])}
        assert len(masks) == (9 if cohort is flat else 24)
        for image_id, mask in masks.items():
            np.testing.assert_array_equal(mask, truth[image_id])
    view = deep.where(deep.table["volume_id"] == "vol2")
    assert set(read_predictions(predicted, view)) == {f"v2{k}" for k in range(6)}
    with pytest.raises(DataDoubleError, match="those of another cohort"):
        shutil.copy(tmp_path / "raw" / "Dataset500_MySet" / "dataset.json", predicted)
        read_predictions(predicted, deep)


def test_faulty_predictions_are_all_named(flat: Cohort, tmp_path: Path) -> None:
    folder = tmp_path / "predicted"
    folder.mkdir()
    with pytest.raises(DataDoubleError, match="no predictions are there"):
        read_predictions(folder, flat)
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(folder / "case_0001.png")
    Image.fromarray(np.full((40, 48), 9, np.uint8)).save(folder / "case_0002.png")
    Image.fromarray(np.zeros((40, 48), np.uint8)).save(folder / "case_0099.png")
    (folder / "case_0003.png").write_bytes(b"cut")
    with pytest.raises(DataDoubleError) as caught:
        read_predictions(folder, flat)
    for expected in (
        "case_0001.png: prediction is 1 x 40 x 40, case is 1 x 40 x 48",
        "case_0002.png: values are no class ids (found 9 to 9)",
        "case_0003.png: the picture cannot be read",
        "case_0099.png: the cohort has no such case",
    ):
        assert expected in str(caught.value)


def test_what_does_not_fit_is_refused(flat: Cohort, deep: Cohort, tmp_path: Path) -> None:
    with pytest.raises(DataDoubleError, match="did you mean 'nnunet'"):
        export_cohort(flat, "nnunets", tmp_path / "raw")
    with pytest.raises(DataDoubleError, match="no volumes"):
        export_cohort(flat, "nnunet", tmp_path / "raw", ExportOptions(dimensions="3d"))
    with pytest.raises(DataDoubleError, match="no case for training has a mask"):
        export_cohort(flat.filter(image_id="x01"), "nnunet", tmp_path / "raw")
    assert not (tmp_path / "raw").exists()
    flat_2d = export_cohort(deep, "nnunet", tmp_path / "raw", ExportOptions(dimensions="2d"))
    assert flat_2d.cases == 24
    with pytest.raises(DataDoubleError, match="stands there already.*--overwrite"):
        export_cohort(deep, "nnunet", tmp_path / "raw")
    export_cohort(deep, "nnunet", tmp_path / "raw", ExportOptions(overwrite=True))
    assert not list((tmp_path / "raw").glob(".*"))
    info = CohortInfo("bare", "real", "CT", ("x",))
    with CohortWriter(tmp_path / "bare", info) as writer:
        writer.add(np.zeros((4, 4), np.uint8), image_id="i", patient_id="p", label="x")
        bare = writer.finish()
    with pytest.raises(DataDoubleError, match="no masks"):
        export_cohort(bare, "nnunet", tmp_path / "raw")


def test_one_patient_has_no_folds(deep: Cohort, tmp_path: Path) -> None:
    view = deep.where(deep.table["volume_id"].isin(["vol2", "vol3"]))
    made = export_cohort(view, "nnunet", tmp_path / "raw")
    assert not (made.path / "splits_final.json").exists()
    assert any("one patient alone" in note for note in made.notes)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("nnUNetv2_extract_fingerprint") is None, reason="nnunetv2 is not installed")
def test_nnunet_itself_finds_nothing_wrong(flat: Cohort, deep: Cohort, tmp_path: Path) -> None:
    for number, cohort in ((501, flat), (502, deep)):
        export_cohort(cohort, "nnunet", tmp_path / "raw", ExportOptions(dataset_id=number))
    folders = {f"nnUNet_{name}": str(tmp_path / name) for name in ("raw", "preprocessed", "results")}
    for folder in folders.values():
        Path(folder).mkdir(exist_ok=True)
    done = subprocess.run(
        ["nnUNetv2_extract_fingerprint", "-d", "501", "502", "--verify_dataset_integrity", "-np", "1"],
        env={**os.environ, **folders},
        capture_output=True,
        text=True,
        timeout=850,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("verify_dataset_integrity Done") == 2
    assert "Error" not in done.stdout and "Warning" not in done.stdout
