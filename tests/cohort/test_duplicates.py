"""Look-alikes: made by hand, and in BUSI, where they are known."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.cohort.duplicates import find_duplicates, group_names, mark_duplicates, perceptual_hash


def scan(seed: int, height: int = 160, width: int = 200) -> np.ndarray:
    """Return a picture of blobs and speckle, brighter above than below as all ultrasound is."""
    random = np.random.default_rng(seed)
    blobs = random.normal(size=(12, 15)).astype(np.float32)
    smooth = np.asarray(Image.fromarray(blobs).resize((width, height), Image.Resampling.BICUBIC))
    depth = np.linspace(60, -40, height)[:, None]
    noise = random.normal(0, 12, (height, width))
    return np.clip(100 + depth + 45 * smooth + noise, 0, 255).astype(np.uint8)


def annotated(image: np.ndarray) -> np.ndarray:
    """Return the picture with calipers, a dotted line and words burned in."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for x, y in ((60, 50), (130, 90)):
        draw.line((x - 5, y, x + 5, y), fill=255, width=2)
        draw.line((x, y - 5, x, y + 5), fill=255, width=2)
    draw.line((60, 50, 130, 90), fill=255)
    draw.text((20, 130), "RT BREAST UOQ", fill=255, font_size=16)
    return np.asarray(picture)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        annotated,
        lambda image: np.clip(image * 0.7 + 20.0, 0, 255).astype(np.uint8),  # gain
        lambda image: np.ascontiguousarray(image[4:-3, 5:-2]),  # crop
        lambda image: np.asarray(Image.fromarray(image).resize((120, 96))),  # size
        lambda image: np.repeat(image[..., None], 3, axis=2),  # colour
        lambda image: image.astype(np.uint16) * 200,  # depth
    ],
    ids=["same", "calipers", "gain", "crop", "size", "rgb", "16-bit"],
)
def test_a_twin_is_found_among_strangers(change) -> None:  # type: ignore[no-untyped-def]
    pictures = [scan(seed) for seed in range(12)]
    found = find_duplicates([*pictures, change(pictures[5])])
    assert found.groups == ((5, 12),)
    assert not found.pairs[0].mirrored


def test_a_mirrored_twin_is_found() -> None:
    pictures = [scan(seed) for seed in range(6)]
    found = find_duplicates([*pictures, annotated(np.ascontiguousarray(pictures[2][:, ::-1]))])
    assert found.groups == ((2, 6),)
    assert found.pairs[0].mirrored


def test_groups_are_chains_and_conflicts_are_pairs_of_different_labels() -> None:
    one = scan(1)
    pictures = [one, scan(2), annotated(one), one]
    found = find_duplicates(pictures, ["a", "a", "a", "b"])
    assert found.groups == ((0, 2, 3),)
    assert [(pair.first, pair.second) for pair in found.conflicts] == [(0, 3), (2, 3)]
    assert found.pictures == 3


def test_constant_pictures_and_none_at_all_are_no_look_alikes() -> None:
    flat = np.full((50, 50), 7, np.uint8)
    assert find_duplicates([flat, flat, np.zeros((9, 9), np.uint8)]).groups == ()
    assert find_duplicates([]).groups == ()


def test_the_hash_of_a_brighter_picture_is_the_same() -> None:
    image = scan(3).astype(np.float64)
    low, high = (np.clip(image * factor, 0, 255).astype(np.uint8) for factor in (0.4, 0.8))
    assert (perceptual_hash(low) ^ perceptual_hash(high)).bit_count() <= 4
    assert (perceptual_hash(low) ^ perceptual_hash(scan(4))).bit_count() > 4


def write_cohort(path: Path, pictures: Sequence[np.ndarray], ids: Sequence[str]) -> Cohort:
    info = CohortInfo(name="t", origin="real", modality="ultrasound", classes=("a",))
    with CohortWriter(path, info) as writer:
        for image, image_id in zip(pictures, ids, strict=True):
            writer.add(image, image_id=image_id, patient_id=image_id, label="a")
        return writer.finish()


def test_marks_do_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    a, b, c = scan(1), scan(2), scan(3)
    cohort = write_cohort(tmp_path / "c", [a, b, c, b, a], ["p1", "p2", "p3", "p4", "p5"])
    mark_duplicates(cohort)
    marks = Cohort.open(tmp_path / "c").table.set_index("image_id")["duplicate_group"].to_dict()
    assert marks == {"p1": "d0001", "p2": "d0002", "p3": "", "p4": "d0002", "p5": "d0001"}
    cohort.replace_table(cohort.table.iloc[::-1])
    mark_duplicates(cohort)
    assert cohort.table.set_index("image_id")["duplicate_group"].to_dict() == marks


def test_blocks_give_what_one_block_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [scan(seed % 7) for seed in range(15)]
    whole = find_duplicates(pictures, crops=False)
    monkeypatch.setattr("datadouble.cohort.duplicates._BLOCK", 4)
    monkeypatch.setattr("datadouble.cohort.duplicates._PAIRS", 3)
    assert find_duplicates(pictures, crops=False) == whole
    assert len(whole.groups) == 7


def test_busi_holds_its_known_look_alikes(shared_data: Path) -> None:
    """An outside count found 263 pictures in 119 groups, ten pairs with conflicting labels.

    Ours finds a few more of each: the pairs beyond were looked at, and show the same patient and view under a shift
    or another gain.
    """
    root = shared_data / "busi" / "Dataset_BUSI_with_GT"
    paths = sorted(path for path in root.glob("*/*.png") if "_mask" not in path.name)
    labels = [path.parent.name for path in paths]
    started = time.monotonic()
    found = find_duplicates(
        (np.asarray(Image.open(path).convert("L")) for path in paths), labels, crops=False
    )
    assert time.monotonic() - started < 60  # 4 s on an idle core
    assert 263 <= found.pictures <= 345
    assert 119 <= len(found.groups) <= 155
    conflicts = {tuple(sorted((paths[p.first].stem, paths[p.second].stem))) for p in found.conflicts}
    assert 10 <= len(conflicts) <= 12
    assert ("benign (433)", "malignant (145)") in conflicts  # one picture, twice, byte for byte
    names = group_names(found, [path.stem for path in paths])
    assert max(names.count(name) for name in set(names) if name) <= 8


def test_busi_holds_its_known_crops(shared_data: Path) -> None:
    """An audit found the first pair between train and test; the others were looked at. No other is among these."""
    root = shared_data / "busi" / "Dataset_BUSI_with_GT" / "malignant"
    numbers = [95, 97, 98, 99, 65, 66, 80, 81, 113, 11, *range(150, 160)]
    found = find_duplicates(
        np.asarray(Image.open(root / f"malignant ({n}).png").convert("L")) for n in numbers
    )
    crops = {(pair.first, pair.second) for pair in found.pairs if pair.kind != "whole"}
    assert crops == {(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)}


def test_busbra_has_no_look_alikes_across_patients(shared_data: Path) -> None:
    paths = sorted((shared_data / "busbra" / "BUSBRA" / "Images").glob("*.png"))[:400]
    found = find_duplicates((np.asarray(Image.open(path)) for path in paths), crops=False)
    assert all(paths[p.first].stem[:8] == paths[p.second].stem[:8] for p in found.pairs)
