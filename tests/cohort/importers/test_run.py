"""Imports whole: ids, masks, errors, and going on after a cut."""

import hashlib
import hmac
import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datadouble.cohort import Cohort
from datadouble.cohort.importers import FolderColumns, import_cohort
from datadouble.errors import DataDoubleError

from .conftest import picture

Save = Callable[[Path, np.ndarray], Path]


def test_an_unknown_kind_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataDoubleError, match="'busbra'"):
        import_cohort("bus-bra", tmp_path, tmp_path / "c")


def test_a_missing_source_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataDoubleError, match="source is missing"):
        import_cohort("busi", tmp_path / "nowhere", tmp_path / "c")


def test_pseudonyms_are_hmac_sha256_of_kind_and_patient(busbra: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("00112233445566778899aabbccddeeff")
    cohort = import_cohort("busbra", busbra, tmp_path / "c", keep_annotations=True, key=key)
    expected = hmac.new(key.read_bytes(), b"busbra\x001", hashlib.sha256).hexdigest()[:16]
    rows = cohort.table.set_index("image_id")
    assert rows.loc["bus_0001-l", "patient_id"] == rows.loc["bus_0001-r", "patient_id"] == expected
    assert rows["patient_id"].nunique() == 3


def test_the_key_is_made_beside_the_cohort_for_its_owner_only(busbra: Path, tmp_path: Path) -> None:
    cohort = import_cohort("busbra", busbra, tmp_path / "c", keep_annotations=True)
    key = tmp_path / "c.key"
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    assert not list((tmp_path / "c").rglob("*key*"))
    again = import_cohort("busbra", busbra, tmp_path / "d", keep_annotations=True, key=key)
    assert list(again.table["patient_id"]) == list(cohort.table["patient_id"])
    other = import_cohort("busbra", busbra, tmp_path / "e", keep_annotations=True)
    assert set(other.table["patient_id"]).isdisjoint(cohort.table["patient_id"])


def test_a_short_key_a_missing_key_and_a_key_inside_the_cohort_are_refused(
    busbra: Path, tmp_path: Path
) -> None:
    short = tmp_path / "short"
    short.write_text("abc\n")
    for key, message in (
        (short, "too short"),
        (tmp_path / "none", "missing"),
        (tmp_path / "c" / "key", "inside the cohort"),
    ):
        with pytest.raises(DataDoubleError, match=message):
            import_cohort("busbra", busbra, tmp_path / "c", keep_annotations=True, key=key)


def test_all_broken_pictures_are_listed_at_once_and_the_rest_is_kept(
    busbra: Path, tmp_path: Path, save: Save
) -> None:
    whole = (busbra / "Images" / "bus_0001-l.png").read_bytes()
    (busbra / "Images" / "bus_0001-l.png").write_bytes(whole[: len(whole) // 2])
    (busbra / "Images" / "bus_0002-r.png").unlink()
    save(busbra / "Masks" / "mask_0002-l.png", np.zeros((30, 30), bool))
    with pytest.raises(DataDoubleError) as caught:
        import_cohort("busbra", busbra, tmp_path / "c", keep_annotations=True)
    text = str(caught.value)
    assert "3 pictures cannot be imported" in text
    assert "bus_0001-l.png" in text
    assert "bus_0002-r.png" in text
    assert "mask is 30x30, image is 48x40" in text
    assert not (tmp_path / "c" / "cohort.json").exists()  # not finished
    # mended, the same command goes on
    (busbra / "Images" / "bus_0001-l.png").write_bytes(whole)
    cohort = import_cohort("busbra", busbra, tmp_path / "c", keep_annotations=True, skip_broken=True)
    assert sorted(cohort.table["image_id"]) == ["bus_0001-l", "bus_0001-r", "bus_0003-s"]


def test_an_import_cut_off_gives_the_same_cohort(
    busbra: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datadouble.cohort.writer import CohortWriter

    whole = import_cohort("busbra", busbra, tmp_path / "whole", keep_annotations=True)
    add, count = CohortWriter.add, iter(range(100))

    def cut(self: CohortWriter, *args: object, **named: object) -> None:
        if next(count) == 2:
            raise KeyboardInterrupt
        add(self, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(CohortWriter, "add", cut)
    arguments = {"keep_annotations": True, "key": tmp_path / "whole.key"}
    with pytest.raises(KeyboardInterrupt):
        import_cohort("busbra", busbra, tmp_path / "cut", **arguments)
    cohort = import_cohort("busbra", busbra, tmp_path / "cut", **arguments)
    assert (tmp_path / "cut/metadata.csv").read_bytes() == (tmp_path / "whole/metadata.csv").read_bytes()
    for sample, same in zip(cohort, whole, strict=True):
        np.testing.assert_array_equal(sample.image, same.image)


def test_two_processes_give_what_one_gives(busbra: Path, tmp_path: Path) -> None:
    one = import_cohort("busbra", busbra, tmp_path / "one", keep_annotations=True)
    two = import_cohort(
        "busbra", busbra, tmp_path / "two", keep_annotations=True, key=tmp_path / "one.key", processes=2
    )
    assert one.table.equals(two.table)


def test_cleaning_writes_columns_and_review_sheets_outside_the_cohort(
    busbra: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datadouble.cohort.deidentify as deidentify
    from datadouble.cohort.deidentify import Annotation, Annotations, Cleaned

    def blacken_corner(image: np.ndarray) -> Cleaned:
        mask = np.zeros(image.shape, bool)
        mask[:4, :6] = True
        return Cleaned(
            np.where(mask, 0, image).astype(np.uint8),
            Annotations(mask, (Annotation("text", (0, 0, 6, 4), 1.0),)),
        )

    monkeypatch.setattr(deidentify, "clean_image", blacken_corner)
    cohort = import_cohort("busbra", busbra, tmp_path / "c")
    assert set(cohort.table["cleaned_text"]) == {"1"}
    assert not cohort.image(0)[:4, :6].any()
    original = np.asarray(Image.open(busbra / "Images" / "bus_0001-l.png"))
    np.testing.assert_array_equal(cohort.image(0)[4:], original[4:])
    assert (tmp_path / "c-review" / "review_001.png").exists()
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == [
        "cohort.json",
        "images",
        "masks",
        "metadata.csv",
    ]
    # cleaned and uncleaned pictures are never mixed
    with pytest.raises(DataDoubleError, match="another cohort"):
        import_cohort("busbra", busbra, tmp_path / "c", keep_annotations=True)
    kept = import_cohort("busbra", busbra, tmp_path / "c", keep_annotations=True, overwrite=True)
    np.testing.assert_array_equal(kept.image(0), original)


def test_own_file_names_do_not_enter_the_cohort(tmp_path: Path, save: Save) -> None:
    for seed, name in enumerate(("ROSSI_ANNA", "ROSSI_MARIA", "BIANCHI_UGO")):
        save(tmp_path / "source" / "benign" / f"{name}.png", picture(seed))
    cohort = import_cohort("folder", tmp_path / "source", tmp_path / "c", patient_pattern=r"[A-Z]+")
    written = (tmp_path / "c" / "metadata.csv").read_text() + (tmp_path / "c" / "cohort.json").read_text()
    names = " ".join(str(p) for p in (tmp_path / "c").rglob("*"))
    for part in ("ROSSI", "ANNA", "BIANCHI", "UGO", "MARIA"):
        assert part not in written + names
    assert cohort.table["patient_id"].nunique() == 2
    assert cohort.table["image_id"].str.fullmatch("[0-9a-f]{16}").all()


def test_a_csv_and_class_folders_give_one_patient_one_pseudonym(tmp_path: Path, save: Save) -> None:
    source = tmp_path / "source"
    for seed in range(2):
        save(source / f"{seed}.png", picture(seed))
    (source / "t.csv").write_text("image,label,patient\n0.png,a,P7\n1.png,b,P8\n")
    first = import_cohort("folder", source / "t.csv", tmp_path / "c")
    (source / "t.csv").write_text("file,class,who\n0.png,a,P7\n1.png,b,P7\n")
    columns = FolderColumns(image="file", label="class", patient="who")
    second = import_cohort("folder", source, tmp_path / "d", columns=columns, key=tmp_path / "c.key")
    assert set(second.table["patient_id"]) <= set(first.table["patient_id"])


def test_colours_become_grey_and_are_noted(tmp_path: Path, save: Save) -> None:
    grey = picture(1)
    red = np.zeros((40, 48, 3), np.uint8)
    red[..., 0] = 255
    save(tmp_path / "s" / "x" / "same.png", np.repeat(grey[..., None], 3, axis=2))
    save(tmp_path / "s" / "x" / "red.png", red)
    cohort = import_cohort("folder", tmp_path / "s", tmp_path / "c")
    by_note = {row["converted"]: cohort.image(i) for i, row in enumerate(cohort.table.to_dict("records"))}
    np.testing.assert_array_equal(by_note[""], grey)
    assert set(np.unique(by_note["rgb"])) == {76}  # 0.299 * 255: the red weight of Rec. 601


def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path, save: Save) -> None:
    deep = (np.arange(40 * 48).reshape(40, 48) * 30).astype(np.uint16)
    save(tmp_path / "s" / "x" / "a.png", deep)
    cohort = import_cohort("folder", tmp_path / "s", tmp_path / "c")
    assert cohort.image(0).dtype == np.uint16
    np.testing.assert_array_equal(cohort.image(0), deep)


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "NaN"), (np.inf, "NaN or infinite"), (0.5, "floating-point")]
)
def test_float_pictures_are_refused(tmp_path: Path, save: Save, value: float, message: str) -> None:
    pixels = np.full((8, 8), 0.25, np.float32)
    pixels[3, 3] = value
    save(tmp_path / "s" / "x" / "a.tiff", pixels)
    with pytest.raises(DataDoubleError, match=message):
        import_cohort("folder", tmp_path / "s", tmp_path / "c")


def test_look_alikes_are_marked_on_import(tmp_path: Path, save: Save) -> None:
    for name, seed in (("a", 1), ("b", 2), ("c", 1)):
        save(tmp_path / "s" / "x" / f"{name}.png", picture(seed))
    cohort = import_cohort("folder", tmp_path / "s", tmp_path / "c")
    assert sorted(cohort.table["duplicate_group"]) == ["", "d0001", "d0001"]
    assert Cohort.open(tmp_path / "c").table.equals(cohort.table)
