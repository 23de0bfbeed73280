"""The pixel store: what stands in it, what makes it anew, and the stream of rows in which classes take turns."""

import json
from pathlib import Path

import numpy as np
import pytest

from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.errors import DataDoubleError
from datadouble.training import pixels
from datadouble.training.pixels import PixelStore, balanced_rows

WINDOW = {"unit": "HU", "low": -400, "high": 300}
SOFT = round((40 + 400) / 700 * 255)  # 40 HU


def make(path: Path, count: int = 5, *, depth: type = np.uint8, lacking: tuple[int, ...] = ()) -> Cohort:
    """Pictures of 20 x 30 pixels: air, tissue in the lower half, and a lesion of type 1 or 2 in it."""
    info = CohortInfo("ct", "real", "chest CT", ("normal", "a", "b"), ("background", "a", "b"), WINDOW)
    with CohortWriter(path, info) as writer:
        for i in range(count):
            image, mask = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint8)
            image[10:] = SOFT
            if i % 3:
                mask[12:16, 6:12] = i % 3
            image = image.astype(depth) * (257 if depth is np.uint16 else 1)
            writer.add(
                image,
                image_id=f"i{i}",
                patient_id=f"p{i}",
                label=info.classes[i % 3],
                mask=None if i in lacking else mask,
            )
        return writer.finish()


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_the_store_holds_picture_structure_and_lesion(tmp_path: Path, depth: type) -> None:
    store = PixelStore.build(make(tmp_path / "c", depth=depth), 10, tmp_path / "s", structure="hounsfield")
    assert store.classes == ("background", "soft tissue", "a", "b")
    assert store.images.shape == store.masks.shape == (5, 10, 10) and store.size == 10
    assert isinstance(store.images, np.memmap) and store.images.dtype == np.uint8
    assert np.unique(store.masks[0]).tolist() == [0, 1]  # normal
    # By hand: 20 x 30 to 10 x 10 halves the rows and thirds the columns, so the lesion is 2 x 2.
    assert (store.masks[1, 6:8, 2:4] == 2).all() and (store.masks[1] == 2).sum() == 4
    assert (store.masks[2] == 3).sum() == 4
    assert (store.masks[0, 6:] == 1).all() and (store.masks[0, :4] == 0).all()
    assert store.images[0, 8, 5] == SOFT
    assert store.presence().tolist()[:2] == [[True, True, False, False], [True, True, True, False]]
    images, masks = store.batch(np.array([1, 0]))
    assert images.shape == (2, 1, 10, 10) and masks.shape == (2, 10, 10)
    assert images[0, 0, 8, 5].item() == pytest.approx(SOFT / 127.5 - 1) and masks.max() == 2


def test_without_structure_the_drawn_mask_is_the_cohorts_own(tmp_path: Path) -> None:
    store = PixelStore.build(make(tmp_path / "c"), 10, tmp_path / "s")
    assert store.classes == ("background", "a", "b") and np.unique(store.masks).tolist() == [0, 1, 2]


def test_it_is_made_once_and_anew_when_anything_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort, made = make(tmp_path / "c"), []
    whole = pixels._make
    monkeypatch.setattr(pixels, "_make", lambda *args: made.append(args[1:4:2]) or whole(*args))
    keys = [PixelStore.build(cohort, 10, tmp_path / "s").key for _ in range(2)]
    assert len(made) == 1 and keys[0] == keys[1]
    assert PixelStore.build(cohort, 12, tmp_path / "s").size == 12
    PixelStore.build(cohort, 12, tmp_path / "s", structure="hounsfield")
    few = PixelStore.build(cohort.where(np.arange(5) < 3), 12, tmp_path / "s", structure="hounsfield")
    assert len(few) == 3 and len(made) == 4
    other = cohort.where(np.arange(5)[::-1] < 3)  # as many rows, others
    assert np.array_equal(PixelStore.build(other, 12, tmp_path / "s").images[0], few.images[2])
    picture = tmp_path / "c" / "images" / "i4.png"
    picture.write_bytes(picture.read_bytes() + b"\0")  # a byte more than it had
    PixelStore.build(other, 12, tmp_path / "s")
    assert len(made) == 6


def test_a_making_that_was_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = make(tmp_path / "c", 9)
    monkeypatch.setattr(pixels, "_NOTE_EVERY", 2)
    whole, read = pixels._read, []

    def dies(cohort: Cohort, row: int, size: int, structure: str) -> tuple:
        if row == 5:
            raise KeyboardInterrupt
        return whole(cohort, row, size, structure)

    monkeypatch.setattr(pixels, "_read", dies)
    with pytest.raises(KeyboardInterrupt):
        PixelStore.build(cohort, 10, tmp_path / "s", structure="hounsfield")
    assert not (tmp_path / "s" / "images.npy").exists()
    monkeypatch.setattr(pixels, "_read", lambda *args: read.append(args[1]) or whole(*args))
    again = PixelStore.build(cohort, 10, tmp_path / "s", structure="hounsfield")
    assert read == [4, 5, 6, 7, 8]
    fresh = PixelStore.build(cohort, 10, tmp_path / "t", structure="hounsfield")
    assert np.array_equal(again.images, fresh.images) and np.array_equal(again.masks, fresh.masks)
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == ["images.npy", "masks.npy", "pixels.json"]


def test_a_half_made_store_of_another_size_is_not_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = make(tmp_path / "c", 9)
    monkeypatch.setattr(pixels, "_NOTE_EVERY", 2)
    whole = pixels._read

    def dies(*args: object) -> tuple:
        if args[1] == 5:
            raise KeyboardInterrupt
        return whole(*args)

    monkeypatch.setattr(pixels, "_read", dies)
    with pytest.raises(KeyboardInterrupt):
        PixelStore.build(cohort, 10, tmp_path / "s")
    monkeypatch.setattr(pixels, "_read", whole)
    assert PixelStore.build(cohort, 12, tmp_path / "s").images.shape == (9, 12, 12)


def test_pictures_without_a_mask_are_named_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataDoubleError, match=r"2 of 9 images have no mask.*i4, i8"):
        PixelStore.build(make(tmp_path / "c", 9, lacking=(0, 4, 8)), 10, tmp_path / "s")  # i0 is normal
    store = PixelStore.build(make(tmp_path / "d", lacking=(0,)), 10, tmp_path / "s")
    assert not store.masks[0].any()


def test_masks_that_do_not_fit_are_named_all_at_once(tmp_path: Path) -> None:
    from PIL import Image

    cohort = make(tmp_path / "c")
    Image.fromarray(np.full((20, 30), 7, np.uint8)).save(tmp_path / "c" / "masks" / "i1.png")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / "c" / "masks" / "i3.png")
    with pytest.raises(DataDoubleError, match=r"2 masks do not fit.*i1: id 7 of 3.*i3: 5x5 beside 30x20"):
        PixelStore.build(cohort, 10, tmp_path / "s")
    assert not (tmp_path / "s" / "masks.npy").exists()


def test_the_structure_may_come_from_files(tmp_path: Path) -> None:
    from PIL import Image

    cohort = make(tmp_path / "c", 4)
    (tmp_path / "c" / "structures").mkdir()
    table = cohort.table.assign(structure_file_name=[f"structures/i{i}.png" for i in range(4)])
    table.loc[2, "structure_file_name"] = ""
    cohort.replace_table(table)
    for i in (0, 1):
        found = np.zeros((20, 30), np.uint8)
        found[:, :15] = 255
        Image.fromarray(found).save(tmp_path / "c" / "structures" / f"i{i}.png")
    with pytest.raises(DataDoubleError, match=r"2 of 4 images have no structure file.*i2, i3"):
        PixelStore.build(Cohort.open(tmp_path / "c"), 10, tmp_path / "s", structure="file")
    good = Cohort.open(tmp_path / "c").where(np.arange(4) < 2)
    store = PixelStore.build(good, 10, tmp_path / "s", structure="file")
    assert (store.masks[0, :, :5] == 1).all() and not store.masks[0, :, 5:].any()


def test_the_note_says_nothing_of_patients(tmp_path: Path) -> None:
    PixelStore.build(make(tmp_path / "c"), 10, tmp_path / "s")
    assert set(json.loads((tmp_path / "s" / "pixels.json").read_text())) == {
        "format",
        "key",
        "images",
        "done",
    }


def test_classes_take_turns_and_no_image_is_left_out() -> None:
    labels = np.array([0] * 7 + [2] * 2 + [1])  # ten images, three classes
    stream = np.concatenate([balanced_rows(labels, 0, seen, 6) for seen in range(0, 420, 6)])
    assert (np.sort(labels[stream].reshape(-1, 3), axis=1) == [0, 1, 2]).all()
    # 140 visits of each class: 20 of each of seven, 70 of each of two, 140 of the one. By hand.
    assert np.bincount(stream).tolist() == [20] * 7 + [70, 70, 140]
    assert np.ptp(np.bincount(stream[:100], minlength=10)[:7]) <= 1
    assert len({tuple(labels[stream[i : i + 3]]) for i in range(0, 90, 3)}) == 6  # every order comes


def test_the_stream_does_not_depend_on_how_it_is_cut() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    whole = balanced_rows(labels, 4, 0, 40)
    parts = [
        balanced_rows(labels, 4, 0, 7),
        balanced_rows(labels, 4, 7, 20),
        balanced_rows(labels, 4, 27, 13),
    ]
    assert np.array_equal(whole, np.concatenate(parts))
    assert not np.array_equal(whole, balanced_rows(labels, 5, 0, 40))
