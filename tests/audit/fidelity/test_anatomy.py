"""Implausible anatomy: counted by hand, published intervals, and low on phantoms, where it is known to be right."""

import numpy as np
import pytest

from datadouble.audit.fidelity.anatomy import (
    AnatomySigns,
    anatomy_rates,
    body_of,
    compare_anatomy,
    measure_anatomy,
)

SOFT, AIR = 160, 10


def chest():
    """20 x 20: a body of 16 x 16 with a lung of 6 x 6 in it, and a table below it."""
    structure = np.zeros((20, 20), bool)
    structure[1:17, 2:18] = True
    structure[6:12, 4:10] = False
    structure[18, :] = True
    return structure


def lesion(*boxes):
    mask = np.zeros((20, 20), np.uint8)
    for value, top, left, height, width in boxes:
        mask[top : top + height, left : left + width] = value
    return mask


def measure(masks, **more):
    structure = np.stack([chest()] * len(masks))
    return measure_anatomy(
        np.where(structure, SOFT, AIR).astype(np.uint8), np.stack(masks), structure, **more
    )


def test_the_body_holds_its_lungs_and_not_the_table():
    body = body_of(chest())
    assert body.sum() == 16 * 16 and body[8, 6] and not body[18, 5]
    assert not body_of(np.zeros((4, 4), bool)).any()


def test_every_sign_is_counted():
    signs = measure(
        [
            lesion((1, 13, 8, 2, 5)),  # in tissue
            lesion((1, 6, 3, 1, 5)),  # four of five in the lung
            lesion((1, 14, 8, 6, 3)),  # three of six rows below the body, and the table in one of them
            lesion((1, 13, 8, 2, 4), (2, 13, 12, 2, 1)),  # a fifth is of another type
            lesion((1, 13, 3, 2, 4), (1, 13, 12, 2, 2)),  # a third is apart
            lesion(),
        ]
    )
    expected = {
        "outside_body": [0, 0, 1 / 2, 0, 0, np.nan],
        # Without the outermost pixels: rows 15 to 19 of one column, for the picture's end is no border: 17, 19.
        "in_air": [0, 0.8, 2 / 5, 0, 0, np.nan],
        "several_types": [0, 0, 0, 0.2, 0, np.nan],
        "fragments": [0, 0, 0, 0, 1 / 3, np.nan],
    }
    for name, shares in expected.items():
        np.testing.assert_allclose(signs.shares[name], shares, err_msg=name)
    assert signs.implausible.tolist() == [False, True, True, True, True, False]
    rates = anatomy_rates(signs)
    assert rates["n"] == 6 and rates["implausible"]["value"] == pytest.approx(4 / 6)
    assert rates["signs"]["in_air"]["value"] == pytest.approx(2 / 6)


def test_air_may_be_told_by_its_grey_level():
    structure = np.ones((1, 20, 20), bool)  # what a network claims
    images = np.full((1, 20, 20), AIR, np.uint8)
    signs = measure_anatomy(images, lesion((1, 2, 2, 3, 3))[None], structure, air_level=72)
    assert signs.found["in_air"].all() and not signs.found["outside_body"].any()


def test_classes_say_whether_a_lesion_is_due():
    signs = measure([lesion(), lesion((1, 13, 8, 2, 5)), lesion()], expects_lesion=[True, False, False])
    assert signs.found["no_lesion"].tolist() == [True, False, False]
    assert signs.found["unexpected_lesion"].tolist() == [False, True, False]


def counted(found: int, n: int) -> AnatomySigns:
    return AnatomySigns({}, {"in_air": np.arange(n) < found})


def test_the_difference_has_newcombes_interval():
    # Newcombe (1998), Table II, example (a), method 10: 56/70 - 48/80 = 0.2, from 0.0524 to 0.3339.
    found = compare_anatomy(counted(56, 70), counted(48, 80))
    assert found["value"] == pytest.approx(0.2)
    assert found["low"] == pytest.approx(0.0524, abs=5e-5)
    assert found["high"] == pytest.approx(0.3339, abs=5e-5)
    # Fisher's tea: 3 of 4 against 1 of 4, two-sided P = 34/70.
    assert compare_anatomy(counted(3, 4), counted(1, 4))["p_value"] == pytest.approx(34 / 70)


def test_phantoms_are_plausible_and_become_implausible_when_moved():
    from datadouble.cohort.phantom import KINDS, draw
    from datadouble.cohort.structure import structure_mask

    kind = KINDS["chest-ct"]
    scans = [
        draw("chest-ct", patient, 0, kind.classes[patient % 6], size=96, seed=7) for patient in range(30)
    ]
    images, masks = np.stack([s.image for s in scans]), np.stack([s.mask for s in scans])
    structure = np.stack([structure_mask(i, "hounsfield", intensity=kind.intensity) for i in images])
    expects = [s.label != "normal" for s in scans]
    real = measure_anatomy(images, masks, structure, expects_lesion=expects)
    assert not real.found["outside_body"].any() and not real.found["in_air"].any()
    assert not real.found["no_lesion"].any() and not real.found["unexpected_lesion"].any()
    moved = measure_anatomy(images, np.roll(masks, 30, axis=2), structure, expects_lesion=expects)
    assert moved.found["in_air"].sum() >= 15  # of 25 with a tumour: into the lungs


def test_shapes_must_agree_and_nothing_is_no_rate():
    with pytest.raises(ValueError, match="one shape"):
        measure_anatomy(np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), np.zeros((4, 4)))
    empty = measure_anatomy(*(np.zeros((0, 4, 4), np.uint8),) * 3)
    assert anatomy_rates(empty) == {"n": 0, "implausible": None, "signs": {}}
    with pytest.raises(ValueError, match="both sides"):
        compare_anatomy(empty, counted(1, 2))
