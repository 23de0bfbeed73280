"""Simulated breast ultrasound shows what its descriptors say."""

import time

import numpy as np
import pytest

from datadouble.cohort.phantom import KINDS, PhantomScan, draw
from datadouble.cohort.phantom.lesions import LEXICON
from datadouble.errors import DataDoubleError

KIND = "breast-ultrasound"
PATIENTS = range(9)


@pytest.fixture(scope="module")
def scans() -> dict[str, list[PhantomScan]]:
    return {
        label: [draw(KIND, n, 0, label, size=128, seed=4) for n in PATIENTS] for label in KINDS[KIND].classes
    }


def test_pictures_and_masks_are_as_promised(scans: dict[str, list[PhantomScan]]) -> None:
    for label, pictures in scans.items():
        for scan in pictures:
            assert scan.image.shape == scan.mask.shape == (128, 128)
            assert scan.image.dtype == scan.mask.dtype == np.uint8
            assert scan.mask.max() == (0 if label == "normal" else 1)
            assert tuple(scan.descriptors) == KINDS[KIND].descriptors
            assert 20 < scan.image.mean() < 160
            for name, terms in LEXICON.items():
                assert scan.descriptors[name] in (("",) if label == "normal" else terms)


def test_same_arguments_same_picture_others_differ() -> None:
    first = draw(KIND, 3, 1, "4", size=64, seed=1)
    assert np.array_equal(first.image, draw(KIND, 3, 1, "4", size=64, seed=1).image)
    for patient, picture, seed in ((4, 1, 1), (3, 2, 1), (3, 1, 2)):
        assert not np.array_equal(first.image, draw(KIND, patient, picture, "4", size=64, seed=seed).image)


def test_pictures_of_a_patient_share_lesion_and_scanner() -> None:
    one, two = (draw(KIND, 8, picture, "5", size=64) for picture in (0, 1))
    assert one.descriptors == two.descriptors
    assert (one.device, one.site) == (two.device, two.site)
    overlap = 2 * np.sum(one.mask & two.mask) / (one.mask.sum() + two.mask.sum())
    assert 0.4 < overlap < 1


def _inside_and_around(scan: PhantomScan) -> tuple[float, float]:
    from scipy.ndimage import binary_dilation, binary_erosion

    mask = scan.mask > 0
    ring = binary_dilation(mask, iterations=6) & ~binary_dilation(mask, iterations=2)
    return float(scan.image[binary_erosion(mask, iterations=2)].mean()), float(scan.image[ring].mean())


def test_cysts_are_black_and_masses_darker_than_tissue(scans: dict[str, list[PhantomScan]]) -> None:
    for label in ("2", "3", "4", "5"):
        contrasts = [np.subtract(*_inside_and_around(scan)) for scan in scans[label]]
        assert np.median(contrasts) < -8, label
    assert max(_inside_and_around(scan)[0] for scan in scans["2"]) < 45


def _below(scan: PhantomScan) -> float:
    """Grey in the strip below the lesion minus that at its sides."""
    rows, columns = np.nonzero(scan.mask)
    bottom, left, right = rows.max() + 4, columns.min(), columns.max()
    width = right - left
    strip = scan.image[bottom : bottom + 25].astype(float)
    under = strip[:, left + width // 4 : right - width // 4].mean()
    beside = np.concatenate(
        [strip[:, max(0, left - 25) : left - 4], strip[:, right + 5 : right + 25]], axis=1
    )
    return float(under - beside.mean())


def test_cysts_enhance_and_cancers_shadow(scans: dict[str, list[PhantomScan]]) -> None:
    assert np.median([_below(scan) for scan in scans["2"]]) > 15
    shadowing = [scan for scan in scans["5"] if scan.descriptors["posterior_features"] == "shadowing"]
    assert np.median([_below(scan) for scan in shadowing]) < -15


def _taller_than_wide(scan: PhantomScan) -> bool:
    # The square picture shows 30 to 42 mm of depth and 36 to 40 mm of width.
    rows, columns = np.nonzero(scan.mask)
    return np.ptp(rows) > np.ptp(columns)


def test_orientation_is_that_of_the_mask(scans: dict[str, list[PhantomScan]]) -> None:
    for label, wanted in (("3", "parallel"), ("5", "not parallel")):
        ovals = [
            s
            for s in scans[label]
            if s.descriptors["orientation"] == wanted and s.descriptors["shape"] != "round"
        ]
        share = np.mean([_taller_than_wide(scan) for scan in ovals])
        assert share < 0.2 if wanted == "parallel" else share > 0.7


def test_a_linear_classifier_tells_the_classes_apart_at_64_pixels() -> None:
    """Simple measures of lesion and surroundings are enough: so a person can, too."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, labels = [], []
    for number in range(60):
        label = ("2", "3", "4", "5")[number % 4]
        scan = draw(KIND, number, 0, label, size=64, seed=2)
        rim = (
            np.abs(np.diff(scan.mask.astype(int), axis=0)).sum()
            + np.abs(np.diff(scan.mask.astype(int), axis=1)).sum()
        )
        inside = scan.image[scan.mask > 0].astype(float)
        compactness = rim / np.sqrt(scan.mask.sum())
        height, width = (np.ptp(places) + 1 for places in np.nonzero(scan.mask))
        rows.append(
            [inside.mean(), inside.std(), scan.image.mean(), compactness, height / width, _below(scan)]
        )
        labels.append(label)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    assert cross_val_score(model, np.array(rows), labels, cv=5).mean() > 0.7  # chance is 0.25


def test_a_512_picture_takes_less_than_a_third_of_a_second() -> None:
    draw(KIND, 0, 0, "5", size=512)
    times = []
    for patient in range(4):
        start = time.process_time()
        draw(KIND, patient, 0, "5", size=512)
        times.append(time.process_time() - start)
    assert min(times) < 0.3


@pytest.mark.parametrize(
    ("kind", "label", "size", "word"),
    [
        (KIND, "6", 64, "class"),
        (KIND, "2", 4, "size"),
        ("breast-ultrasuond", "2", 64, "did you mean 'breast-ultrasound'"),
    ],
)
def test_impossible_requests_are_refused(kind: str, label: str, size: int, word: str) -> None:
    with pytest.raises(DataDoubleError, match=word):
        draw(kind, 0, 0, label, size=size)
