"""HU and grey levels."""

import numpy as np
import pytest

from datadouble.cohort.hounsfield import FULL_RANGE, to_grey_levels, to_hounsfield, window_limits
from datadouble.errors import DataDoubleError


def test_level_0_width_400_is_from_minus_200_to_200() -> None:
    assert window_limits(0, 400) == (-200, 200)
    grey = to_grey_levels(np.array([[-1000.0, -200, 0, 200, 900]]), -200, 200)
    assert grey.tolist() == [[0, 0, 128, 255, 255]]


def test_sixteen_bits_hold_every_hu() -> None:
    hu = np.arange(FULL_RANGE[0], FULL_RANGE[1] + 1)[None]
    intensity = {"unit": "HU", "low": FULL_RANGE[0], "high": FULL_RANGE[1]}
    back = to_hounsfield(to_grey_levels(hu, *FULL_RANGE, 16), intensity)
    np.testing.assert_array_equal(np.round(back), hu)


def test_the_phantom_follows_the_same_rule() -> None:
    from datadouble.cohort.phantom import chest_ct

    scan = chest_ct.draw(0, 0, "normal", size=64)
    assert scan.hounsfield is not None
    np.testing.assert_array_equal(to_grey_levels(scan.hounsfield, *chest_ct.WINDOW), scan.image)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(DataDoubleError, match="no width"):
        window_limits(0, 0)
    with pytest.raises(DataDoubleError, match="no meaning in HU"):
        to_hounsfield(np.zeros((2, 2), np.uint8), {"unit": "grey level"})
