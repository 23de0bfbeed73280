"""Simulated chest CT holds the HU and the anatomy that textbooks give."""

import numpy as np
import pytest
from scipy import ndimage

from datadouble.cohort.phantom import KINDS, PhantomScan, draw
from datadouble.cohort.phantom.chest_ct import CENTRES, STRUCTURE_HU, WINDOW

CLASSES = KINDS["chest-ct"].classes


@pytest.fixture(scope="module")
def scans() -> list[PhantomScan]:
    return [draw("chest-ct", number, 0, CLASSES[number % 6], size=256, seed=1) for number in range(24)]


def test_mask_holds_the_type_of_the_tumour(scans: list[PhantomScan]) -> None:
    for scan in scans:
        expected = {0} if scan.label == "normal" else {0, CLASSES.index(scan.label)}
        assert set(np.unique(scan.mask)) == expected
        assert scan.hounsfield is not None and scan.hounsfield.dtype == np.int16
        assert not np.any(scan.mask[scan.hounsfield < -700]), "no tumour in air"


def test_structure_mask_is_the_body_above_the_threshold(scans: list[PhantomScan]) -> None:
    for scan in scans:
        assert scan.structure is not None and scan.hounsfield is not None
        assert np.all(scan.hounsfield[scan.structure > 0] > STRUCTURE_HU)
        outside = scan.structure[:12]
        assert not outside.any()
        body = ndimage.binary_fill_holes(scan.structure)
        share = scan.structure[body].mean()
        assert 0.3 < share < 0.8  # the rest is lung and airway


def test_tissues_have_their_hounsfield_units(scans: list[PhantomScan]) -> None:
    for scan in scans:
        assert scan.structure is not None and scan.hounsfield is not None
        body = ndimage.binary_fill_holes(scan.structure)
        lung = ndimage.binary_erosion(body & (scan.hounsfield < -500), iterations=3)
        assert -930 < np.median(scan.hounsfield[lung]) < -720
        assert np.median(scan.hounsfield[:8]) < -950  # air
        assert scan.hounsfield.max() > 300  # bone
        labels, _ = ndimage.label(body & (ndimage.median_filter(scan.hounsfield, 5) < -500))
        assert (np.bincount(labels.ravel())[1:] > 1500).sum() == 2  # two lungs


def _values(scans: list[PhantomScan], label: str) -> np.ndarray:
    """Return the HU inside the tumours of a type, away from the border, where they share pixels with lung."""
    return np.concatenate(
        [
            scan.hounsfield[ndimage.binary_erosion(scan.mask > 0, iterations=3)]
            for scan in scans
            if scan.label == label and scan.hounsfield is not None
        ]
    )


def test_types_differ_as_they_do_in_patients(scans: list[PhantomScan]) -> None:
    assert np.mean(_values(scans, "germ-cell") < -40) > 0.05  # fat
    assert np.mean(_values(scans, "thymoma") < -40) < 0.02
    assert np.median(_values(scans, "thyroid")) > np.median(_values(scans, "neurogenic")) + 30
    assert np.std(_values(scans, "germ-cell")) > np.std(_values(scans, "neurogenic"))
    places = {
        label: np.mean([np.nonzero(scan.mask)[0].mean() for scan in scans if scan.label == label])
        for label in CLASSES[1:]
    }
    assert (
        max(places["thymoma"], places["lymphoma"], places["germ-cell"])
        < places["thyroid"]
        < places["neurogenic"]
    )


def test_window_gives_the_grey(scans: list[PhantomScan]) -> None:
    scan = scans[1]
    assert scan.hounsfield is not None
    low, high = WINDOW
    assert np.all(scan.image[scan.hounsfield <= low] == 0) and np.all(
        scan.image[scan.hounsfield >= high] == 255
    )
    middle = (scan.hounsfield > low) & (scan.hounsfield < high)
    back = scan.image[middle] / 255 * (high - low) + low
    assert np.abs(back - scan.hounsfield[middle]).max() <= 0.5 * (high - low) / 255 + 1e-6


def test_five_centres_with_their_own_noise() -> None:
    noise: dict[str, list[float]] = {}
    for patient in range(24):
        scan = draw("chest-ct", patient, 0, "normal", size=128, seed=3)
        assert scan.hounsfield is not None
        noise.setdefault(scan.site, []).append(float(scan.hounsfield[:10].std()))  # air above the patient
    assert set(noise) == {centre.site for centre in CENTRES}
    assert max(noise["centre-5"]) < min(noise["centre-4"])  # iterative reconstruction against low dose


def test_slices_are_reproducible_and_of_any_size() -> None:
    one = draw("chest-ct", 5, 2, "lymphoma", size=96, seed=7)
    two = draw("chest-ct", 5, 2, "lymphoma", size=96, seed=7)
    assert np.array_equal(one.hounsfield, two.hounsfield) and one.image.shape == (96, 96)
    assert not np.array_equal(one.image, draw("chest-ct", 5, 3, "lymphoma", size=96, seed=7).image)
