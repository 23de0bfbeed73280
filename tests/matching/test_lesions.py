import numpy as np
import pytest
import torch
from PIL import Image

from datadouble.audit.privacy.planted import leak
from datadouble.cohort.phantom import draw
from datadouble.matching import alignment, lesions
from datadouble.matching.keypoints import SIDE, to_working
from datadouble.matching.lesions import STANDARD, Found, Lesions, find_lesions, prepare_lesions

COUNT = 12


def small(mask: np.ndarray, pixels: int = 130) -> np.ndarray:
    """The part of a lesion nearest to its middle: 130 of 128 x 128 pixels are 0.8% of the picture."""
    y, x = np.nonzero(mask)
    near = np.argsort((y - y.mean()) ** 2 + (x - x.mean()) ** 2, kind="stable")[:pixels]
    kept = np.zeros_like(mask)
    kept[y[near], x[near]] = 1
    return kept


@pytest.fixture(scope="module")
def scans() -> tuple[np.ndarray, np.ndarray]:
    drawn = [draw("breast-ultrasound", p, 0, "4", size=SIDE, seed=11) for p in range(COUNT + 8)]
    return np.stack([d.image for d in drawn]), np.stack([small(d.mask) for d in drawn])


@pytest.fixture(scope="module")
def gain(scans: tuple[np.ndarray, np.ndarray]) -> torch.Tensor:
    return alignment.whitener(alignment.detail(to_working(scans[0][:COUNT])))


@pytest.fixture(scope="module")
def known(scans: tuple[np.ndarray, np.ndarray], gain: torch.Tensor) -> Lesions:
    found = prepare_lesions(scans[0][:COUNT], scans[1][:COUNT], gain)
    assert found is not None
    return found


def search(pictures: np.ndarray, known: Lesions, gain: torch.Tensor, **options: list[np.ndarray]) -> Found:
    details = alignment.detail(to_working(pictures))
    return find_lesions(details, alignment.whiten(details, gain), known, **options)


def fisher(found: Found) -> np.ndarray:
    return np.arctanh(found.correlation.numpy().clip(-0.9999, 0.9999)) * STANDARD**0.5


@pytest.mark.parametrize("kind", ["stitched", "lesion-only"])
def test_a_planted_small_lesion_is_found_where_it_lies(
    kind: str, scans: tuple[np.ndarray, np.ndarray], known: Lesions, gain: torch.Tensor
) -> None:
    images, masks = scans
    sources = [1, 4, 9]
    leaks = [
        leak(kind, images[s], seed=3, key=s, background=images[COUNT + 1], mask=masks[s]) for s in sources
    ]
    found = search(np.stack([one.picture for one in leaks]), known, gain)
    chance = fisher(search(images[COUNT:], known, gain))
    assert fisher(found).min() > chance.max() + 2
    np.testing.assert_array_equal(found.row, sources)
    for i, one in enumerate(leaks):
        left, top, width, height = found.box[i].tolist()
        left = SIDE - width - left if found.mirrored[i] else left
        expected = ((one.box[0] + one.box[2]) / 2, (one.box[1] + one.box[3]) / 2)
        assert np.hypot(left + width / 2 - expected[0], top + height / 2 - expected[1]) < 3


def test_a_mirrored_lesion_is_found_mirrored(
    scans: tuple[np.ndarray, np.ndarray], known: Lesions, gain: torch.Tensor
) -> None:
    images, _ = scans
    found = search(np.stack([images[2], images[2][:, ::-1]]), known, gain)
    np.testing.assert_array_equal(found.row, [2, 2])
    np.testing.assert_array_equal(found.mirrored, [False, True])
    np.testing.assert_allclose(found.transform, [[1, 1, 0, 0]] * 2, atol=0.3)


@pytest.mark.parametrize("zoom", [0.8, 1.25])
def test_a_lesion_of_another_size_is_found(
    zoom: float, scans: tuple[np.ndarray, np.ndarray], gain: torch.Tensor
) -> None:
    images = scans[0]
    masks = np.stack([draw("breast-ultrasound", p, 0, "4", size=SIDE, seed=11).mask for p in range(COUNT)])
    whole = prepare_lesions(images[:COUNT], masks, gain)
    assert whole is not None
    half = SIDE / zoom / 2
    box = (SIDE / 2 - half, SIDE / 2 - half, SIDE / 2 + half, SIDE / 2 + half)
    picture = Image.fromarray(images[5]).transform(
        (SIDE, SIDE), Image.Transform.EXTENT, box, Image.Resampling.BICUBIC
    )
    found = search(np.asarray(picture)[None], whole, gain)
    assert int(found.row[0]) == 5 and not bool(found.mirrored[0])
    np.testing.assert_allclose(found.transform[0, :2], [1 / zoom] * 2, atol=0.05)


def test_a_patient_can_be_left_out(
    scans: tuple[np.ndarray, np.ndarray], known: Lesions, gain: torch.Tensor
) -> None:
    found = search(scans[0][:2], known, gain, left_out=[np.array([0]), np.arange(COUNT)])
    assert int(found.row[0]) != 0 and fisher(found)[0] < 8
    assert float(found.correlation[1]) == -1


def test_chance_correlations_have_fishers_spread(known: Lesions) -> None:
    """Against noise, z of any one place has mean 0 and a spread of at most about 1: samples are not over-counted."""
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(200, SIDE, SIDE, generator=rng)
    gain = alignment.whitener(noise)
    texture = lesions.level(alignment.whiten(noise, gain))
    piece = torch.arange(200) % known.total
    pieces = known._replace(
        texture=lesions._cut(texture.flip(0), torch.arange(200), known.corner[piece], lesions.CROP)
    )
    values = []
    for i in range(0, 200, 2):
        own = alignment.sample_square(
            known.inside[piece[i : i + 1]].float(),
            torch.tensor([[1.0, 1.0, 6.0, 6.0]]),
            torch.full((1, 2), 21.5),
            44,
        )
        there = pieces.texture[i : i + 1, 6:50, 6:50]
        here = lesions._cut(texture, torch.tensor([i]), torch.tensor([[40, 40]]), 44)
        products = (own * here * there, own * there * there, own * here * here, own)
        values.append(float(lesions._fisher(*(p.flatten(1).sum(1) for p in products))))
    assert abs(np.mean(values)) < 0.3
    assert 0.5 < np.std(values) < 1.1


def test_pictures_do_not_depend_on_each_other(
    scans: tuple[np.ndarray, np.ndarray], known: Lesions, gain: torch.Tensor
) -> None:
    together = search(scans[0][COUNT : COUNT + 3], known, gain)
    alone = search(scans[0][COUNT + 1 : COUNT + 2], known, gain)
    np.testing.assert_allclose(together.correlation[1:2], alone.correlation, atol=1e-4)


def test_what_is_too_small_or_absent_is_not_sought(gain: torch.Tensor) -> None:
    pictures = np.zeros((2, 64, 64), np.uint8)
    masks = np.zeros((2, 64, 64), np.uint8)
    assert prepare_lesions(pictures, masks, gain) is None
    masks[0, 30:32, 30:34] = 1  # 8 pixels of 64 x 64 are 32 of 128 x 128
    assert prepare_lesions(pictures, masks, gain) is None


def test_large_lesions_are_cut_into_pieces_within_reach() -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    pieces = lesions._pieces(((x - 64) / 60) ** 2 + ((y - 64) / 35) ** 2 < 1)
    assert len(pieces) == 2
    for piece in pieces:
        rows, columns = np.nonzero(piece)
        assert np.ptp(rows) <= 40 and np.ptp(columns) <= 40
    assert not (pieces[0] & pieces[1]).any()
    two = np.zeros((SIDE, SIDE), bool)
    two[10:20, 10:30] = two[80:95, 60:90] = True
    assert len(lesions._pieces(two)) == 2
