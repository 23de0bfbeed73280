"""NIfTI volumes: orientation, labels, layouts, and every fault with its place."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datadouble.cohort.importers import FolderColumns, VolumeOptions, import_cohort
from datadouble.cohort.volumes import volumes
from datadouble.errors import DataDoubleError

nibabel = pytest.importorskip("nibabel")

Write = Callable[..., Path]


def grey(hu: np.ndarray) -> np.ndarray:
    return np.round(255 * np.clip((hu + 200) / 400, 0, 1)).astype(np.uint8)


@pytest.fixture
def write() -> Write:
    """Writes a volume given as pictures (z, row to the back, column to the left); spacing 5, 2, 1.5 mm, axes L P S."""

    def save(path: Path, pictures: np.ndarray, *, axes: str = "LPS", dtype: type = np.int16) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = nibabel.Nifti1Image(pictures.T.astype(dtype), np.diag([-1.5, -2.0, 5.0, 1.0]))
        turn = nibabel.orientations.ornt_transform(
            nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(axes)
        )
        nibabel.save(image.as_reoriented(turn), path)
        return path

    return save


@pytest.fixture
def hu() -> np.ndarray:
    z, y, x = np.mgrid[:4, :6, :8]
    return 20.0 * z + 60 * y + x - 190


@pytest.fixture
def lesion() -> np.ndarray:
    mask = np.zeros((4, 6, 8))
    mask[1, 2:4, 3:6] = 1
    mask[2, 2:4, 1:3] = 2
    mask[2, 4, 1] = 1
    return mask


@pytest.mark.parametrize("axes", ["LPS", "RAS", "SAR", "PIL"])
def test_pictures_do_not_depend_on_how_the_file_is_stored(
    write: Write, hu: np.ndarray, lesion: np.ndarray, tmp_path: Path, axes: str
) -> None:
    write(tmp_path / "s" / "a.nii.gz", hu, axes=axes)
    write(tmp_path / "s" / "a_seg.nii.gz", lesion, axes="RAS", dtype=np.uint8)
    cohort = import_cohort("nifti", tmp_path / "s", tmp_path / "c", modality="CT")
    (volume,) = volumes(cohort)
    np.testing.assert_array_equal(volume.image, grey(hu))
    np.testing.assert_array_equal(volume.mask, lesion)
    assert volume.spacing == (5.0, 2.0, 1.5)
    labels = dict(zip(cohort.table["slice"], cohort.table["label"], strict=True))
    assert labels == {"0": "unmarked", "1": "class 1", "2": "class 2", "3": "unmarked"}
    assert cohort.info.mask_classes == ("background", "class 1", "class 2")
    assert cohort.info.intensity == {"unit": "HU", "low": -200.0, "high": 200.0}


def test_the_decathlon_layout(write: Write, hu: np.ndarray, lesion: np.ndarray, tmp_path: Path) -> None:
    root = tmp_path / "Task06_Lung"
    for case in ("lung_001", "lung_010"):
        write(root / "imagesTr" / f"{case}.nii.gz", hu)
        write(root / "labelsTr" / f"{case}.nii.gz", lesion > 0)
    write(root / "imagesTs" / "lung_002.nii.gz", hu)
    (root / "imagesTr" / "._lung_001.nii.gz").write_bytes(b"resource fork")
    about = {
        "name": "Lung",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "cancer"},
        "licence": "CC-BY-SA 4.0",
    }
    (root / "dataset.json").write_text(json.dumps(about))
    remarks: list[str] = []
    cohort = import_cohort("nifti", tmp_path, tmp_path / "c", remark=remarks.append)
    assert (cohort.info.name, cohort.info.licence) == ("Lung", "CC-BY-SA 4.0")
    assert cohort.info.mask_classes == ("background", "cancer")
    assert cohort.info.classes == ("unmarked", "cancer")
    assert cohort.table["volume_id"].nunique() == cohort.table["patient_id"].nunique() == 2
    assert any("imagesTs" in remark for remark in remarks)
    assert any("counts as a patient" in remark for remark in remarks)
    assert "lung_0" not in (tmp_path / "c" / "metadata.csv").read_text()


def test_an_nnunet_data_set(write: Write, hu: np.ndarray, lesion: np.ndarray, tmp_path: Path) -> None:
    root = tmp_path / "Dataset006_Lung"
    write(root / "imagesTr" / "lung_001_0000.nii.gz", hu)
    write(root / "labelsTr" / "lung_001.nii.gz", lesion)
    about = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "cyst": 1, "cancer": 2}}
    (root / "dataset.json").write_text(json.dumps(about))
    cohort = import_cohort("nifti", root, tmp_path / "c")
    assert cohort.info.mask_classes == ("background", "cyst", "cancer")
    assert len(cohort) == 4


def test_a_table_knows_patients_labels_and_splits(
    write: Write, hu: np.ndarray, lesion: np.ndarray, tmp_path: Path
) -> None:
    for name in "ab":
        write(tmp_path / "s" / f"{name}.nii", hu)
        write(tmp_path / "s" / f"{name}_m.nii", lesion)
    (tmp_path / "s" / "t.csv").write_text(
        "volume,mask,label,patient,split,kernel\na.nii,a_m.nii,benign,P1,train,B30\nb.nii,b_m.nii,malignant,P1,train,B70\n"
    )
    columns = FolderColumns(image="volume", extra=("kernel",))
    cohort = import_cohort("nifti", tmp_path / "s" / "t.csv", tmp_path / "c", modality="CT", columns=columns)
    assert cohort.info.classes == ("benign", "malignant")
    assert cohort.table["patient_id"].nunique() == 1
    assert cohort.table["volume_id"].nunique() == 2
    assert set(cohort.table["kernel"]) == {"B30", "B70"}
    assert set(cohort.table["split"]) == {"train"}


def test_names_that_go_together_and_the_patient_in_them(
    write: Write, hu: np.ndarray, lesion: np.ndarray, tmp_path: Path
) -> None:
    for visit in ("p1_v1", "p1_v2", "p2_v1"):
        write(tmp_path / "s" / visit / f"ct-{visit}.nii.gz", hu)
        write(tmp_path / "s" / visit / f"tumour-{visit}.nii.gz", lesion)
    options = VolumeOptions(pair=("ct-{case}.nii.gz", "tumour-{case}.nii.gz"))
    cohort = import_cohort(
        "nifti", tmp_path / "s", tmp_path / "c", modality="CT", volumes=options, patient_pattern=r"ct-(p\d)_"
    )
    assert cohort.table["patient_id"].nunique() == 2
    assert cohort.table["volume_id"].nunique() == 3
    assert all(cohort.mask(index) is not None for index in range(len(cohort)))


def test_mr_is_scaled_by_its_percentiles(write: Write, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2000, (4, 30, 40))
    write(tmp_path / "s" / "a.nii.gz", values)
    cohort = import_cohort("nifti", tmp_path / "s", tmp_path / "c", modality="MR")
    assert cohort.info.intensity["unit"] == "grey level"
    (volume,) = volumes(cohort)
    assert volume.mask is None
    assert 125 < volume.image.mean() < 130


def test_every_faulty_volume_is_named_at_once(
    write: Write, hu: np.ndarray, lesion: np.ndarray, tmp_path: Path
) -> None:
    root = tmp_path / "s"

    def pair(name: str, image: np.ndarray, mask: np.ndarray, dtype: type = np.int16) -> None:
        write(root / f"{name}.nii.gz", image)
        write(root / f"{name}_seg.nii.gz", mask, dtype=dtype)

    pair("good", hu, lesion)
    pair("shapes", hu, lesion[:, :5])
    pair("single", hu[:1], lesion[:1])
    pair("stored", hu + 1024, lesion)
    pair("fractions", hu, lesion / 2, np.float32)
    pair("cut", np.random.default_rng(0).integers(-900, 900, (4, 60, 80)), np.zeros((4, 60, 80)))
    cut = root / "cut.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-3000])
    (root / "nothing.nii").write_bytes(b"not a volume")
    (root / "nothing_seg.nii").write_bytes(b"not a volume")
    moved = nibabel.Nifti1Image(
        lesion.T.astype(np.int16), np.diag([-1.5, -2, 5, 1]) + np.eye(4)[[3] * 4].T * 0
    )
    moved.affine[2, 3] = 40
    write(root / "moved.nii.gz", hu)
    nibabel.save(nibabel.Nifti1Image(moved.get_fdata(), moved.affine), root / "moved_seg.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 6, 4, 3)), np.eye(4)), root / "four.nii.gz")
    write(root / "four_seg.nii.gz", lesion)
    write(root / "alone.nii.gz", hu)
    write(root / "widow_seg.nii.gz", lesion)
    with pytest.raises(DataDoubleError) as caught:
        import_cohort("nifti", root, tmp_path / "c", modality="CT")
    text = str(caught.value)
    for start, found, remedy in (
        (
            "shapes_seg.nii.gz: label volume is 4 x 5 x 8, volume is 4 x 6 x 8",
            "",
            "resample it to shapes.nii.gz",
        ),
        ("single.nii.gz: the volume has one slice", "1 x 6 x 8", "--incomplete-volumes"),
        ("stored.nii.gz: values are no HU", "nothing below 0", "--rescale 1/-1024"),
        ("fractions_seg.nii.gz: labels are no whole numbers", "0 to 1", "nearest neighbour"),
        ("cut.nii.gz: the volume cannot be read", "", "truncated"),
        ("nothing.nii: the volume cannot be read", "", "no NIfTI"),
        ("moved_seg.nii.gz: label volume and volume lie at different places", "40", "moved.nii.gz"),
        ("four.nii.gz: the volume has more than three axes", "8 x 6 x 4 x 3", "split it"),
        ("alone.nii.gz: volumes have no label volume", "1 of them", "add the label volumes"),
        ("widow_seg.nii.gz: label volumes have no volume", "1 of them", "--pair"),
    ):
        line = next((line for line in text.splitlines() if line.strip().startswith(start)), "")
        assert line and found in line and remedy in line, (start, text)
    cohort = import_cohort("nifti", root, tmp_path / "c", modality="CT", skip_broken=True)
    assert len(cohort) == 4


def test_class_ids_that_skip_numbers(
    write: Write, hu: np.ndarray, lesion: np.ndarray, tmp_path: Path
) -> None:
    write(tmp_path / "s" / "a.nii.gz", hu)
    write(tmp_path / "s" / "a_seg.nii.gz", np.where(lesion == 2, 3, lesion))
    with pytest.raises(DataDoubleError, match=r"skip numbers \(found 0, 1, 3\).*--mask-classes"):
        import_cohort("nifti", tmp_path / "s", tmp_path / "c", modality="CT")
    with pytest.raises(DataDoubleError, match=r"a_seg.nii.gz: .*ids without a name \(found 3\).*2 cancer"):
        import_cohort(
            "nifti", tmp_path / "s", tmp_path / "c", modality="CT", mask_classes=["none", "cyst", "cancer"]
        )
    names = ["background", "cyst", "unused", "cancer"]
    remarks: list[str] = []
    cohort = import_cohort(
        "nifti", tmp_path / "s", tmp_path / "c", modality="CT", mask_classes=names, remark=remarks.append
    )
    assert cohort.info.classes == ("unmarked", "cancer", "cyst")
    assert any("no label volume holds class 2 unused" in remark for remark in remarks)
    (tmp_path / "m" / "imagesTr").mkdir(parents=True)
    write(tmp_path / "m" / "imagesTr" / "a.nii.gz", hu)
    (tmp_path / "m" / "dataset.json").write_text(
        '{"modality": {"0": "CT"}, "labels": {"0": "background", "2": "cancer"}}'
    )
    with pytest.raises(
        DataDoubleError, match=r"dataset.json: class ids skip numbers \(found 0 background, 2 cancer\)"
    ):
        import_cohort("nifti", tmp_path / "m", tmp_path / "d")


def test_nobody_guesses_whether_values_are_hu(write: Write, hu: np.ndarray, tmp_path: Path) -> None:
    write(tmp_path / "s" / "a.nii.gz", hu)
    with pytest.raises(DataDoubleError, match="--modality CT"):
        import_cohort("nifti", tmp_path / "s", tmp_path / "c")
    with pytest.raises(DataDoubleError, match="no volume is there"):
        (tmp_path / "e").mkdir()
        import_cohort("nifti", tmp_path / "e", tmp_path / "c", modality="CT")


def test_a_lone_slice_and_stored_values_can_be_kept(write: Write, hu: np.ndarray, tmp_path: Path) -> None:
    write(tmp_path / "s" / "a.nii.gz", hu[:1] + 1024)
    options = VolumeOptions(incomplete=True, rescale=(1, -1024))
    cohort = import_cohort("nifti", tmp_path / "s", tmp_path / "c", modality="CT", volumes=options)
    np.testing.assert_array_equal(cohort.image(0), grey(hu[0]))


def test_the_lungs_are_cut_out(write: Write, tmp_path: Path) -> None:
    body = np.full((6, 64, 80), 40)
    body[:, :5] = body[:, -5:] = body[:, :, :5] = body[:, :, -5:] = -1000
    body[1:5, 20:45, 15:35] = body[1:5, 20:45, 45:65] = -850
    path = write(tmp_path / "s" / "a.nii.gz", body)
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asanyarray(image.dataobj), np.diag([-4.0, -4, 10, 1])), path)
    options = VolumeOptions(crop="lungs", margin_mm=0)
    cohort = import_cohort("nifti", tmp_path / "s", tmp_path / "c", modality="CT", volumes=options)
    assert {cohort.image(index).shape for index in range(len(cohort))} == {(25, 50)}
    assert sorted(cohort.table["slice"]) == ["1", "2", "3", "4"]
