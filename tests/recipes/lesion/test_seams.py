"""Composites for training: picture and mask move together, and what belongs in the band joins on."""

import numpy as np

from datadouble.recipes.lesion.bands import BandOptions, ring
from datadouble.recipes.lesion.seams import SeamOptions, make_seam, membrane

EXACT = SeamOptions(gain=0, offset=0, shift=0, scale=0, shadow=0)


def hook(size: int = 64) -> np.ndarray:
    """A shape without any symmetry."""
    mask = np.zeros((size, size), bool)
    mask[20:44, 22:30] = True
    mask[20:27, 22:46] = True
    mask[34:38, 30:36] = True
    return mask


def test_picture_and_mask_are_moved_together() -> None:
    truth = np.where(hook(), 210, 60).astype(np.uint8)
    options = SeamOptions(gain=0, offset=0, shift=6, scale=0.2, shadow=0)
    moved = 0
    for i in range(12):
        seam = make_seam(truth, hook(), np.full_like(truth, 60), np.random.default_rng(i), options)
        shown = seam.composite > 135
        overlap = (shown & seam.mask).sum() / (shown | seam.mask).sum()
        mirrored = (shown[:, ::-1] & seam.mask).sum() / (shown[:, ::-1] | seam.mask).sum()
        assert overlap > 0.85 > 0.7 > mirrored
        moved += not np.array_equal(seam.mask, hook())
    assert moved == 12


def test_nothing_wrong_leaves_the_lesion_and_all_far_from_it() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(60, 120, (64, 64)).astype(np.uint8)
    seam = make_seam(truth, hook(), truth[::-1].copy(), np.random.default_rng(1), EXACT, BandOptions())
    assert np.array_equal(seam.mask, hook())
    far, within = ~ring(hook(), 5, 2) & ~hook(), hook() & ~ring(hook(), 5, 2)
    assert np.array_equal(seam.composite[far], truth[far])
    assert np.abs(seam.composite[within].astype(int) - truth[within]).max() <= 1


def test_a_membrane_continues_level_and_slope() -> None:
    rows, columns = np.indices((64, 64))
    band = ring((rows - 32) ** 2 + (columns - 30) ** 2 <= 100, 3, 3)
    level = np.full((64, 64), 7.0)
    found = membrane(level, band)
    assert np.abs(found[band] - 7).max() < 1e-6 and not found[~band].any()
    slope = 0.5 * columns - 0.2 * rows  # harmonic: the solution of Laplace's equation is the slope itself
    assert np.abs(membrane(slope, band)[band] - slope[band]).max() < 0.1


def test_what_belongs_in_the_band_has_no_edge_along_it() -> None:
    """A lesion put back 20% brighter: the bare truth in the band would end in an edge."""
    truth = np.where(hook(), 100, 100).astype(np.uint8)
    options = SeamOptions(gain=0, offset=0.25, shift=0, scale=0, shadow=0)
    for i in range(8):
        seam = make_seam(truth, hook(), truth, np.random.default_rng(i), options)
        whole = np.where(seam.band, seam.target, seam.composite).astype(float)
        bare = np.where(seam.band, truth, seam.composite).astype(float)
        edge = seam.band[:, 1:] != seam.band[:, :-1]
        jump = [np.abs(np.diff(x, axis=1))[edge].max() for x in (whole, bare)]
        if jump[1] > 8:
            assert jump[0] < 0.75 * jump[1]
        assert jump[0] < 22


def test_a_seam_is_a_function_of_its_random_numbers() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(60, 120, (64, 64)).astype(np.uint8)
    one, two, other = (make_seam(truth, hook(), truth, np.random.default_rng(i)) for i in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one.composite, other.composite)
    assert one.band.any() and one.mask.any()
