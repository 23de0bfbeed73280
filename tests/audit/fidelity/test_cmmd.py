"""CMMD against the sums of its definition; its name tells the truth."""

import numpy as np
import pytest

from datadouble.audit.fidelity import cmmd, cmmd_interval, cmmd_name


def by_definition(x, y, biased):
    def kernel(a, b):
        return np.exp(-sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) / 200)

    def mean(a, b, same):
        values = [
            kernel(p, q) for i, p in enumerate(a) for j, q in enumerate(b) if biased or not same or i != j
        ]
        return sum(values) / len(values)

    x, y = ([v / np.sqrt(v @ v) for v in z] for z in (x, y))
    return 1000 * (mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False))


@pytest.mark.parametrize("biased", [False, True])
def test_equals_the_definition(biased):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 4)), rng.normal(size=(9, 4)) + 1
    assert cmmd(x, y, biased=biased) == pytest.approx(by_definition(x, y, biased), rel=1e-9)


def test_opposite_points_in_closed_form():
    # All of one side at e, all of the other at -e: 2 - 2 exp(-4 / 200).
    x = np.tile([3.0, 0, 0], (5, 1))
    assert cmmd(x, -x) == pytest.approx(1000 * (2 - 2 * np.exp(-0.02)), rel=1e-9)
    assert cmmd(x, x) == pytest.approx(0, abs=1e-9)


def test_a_shift_is_seen_and_an_independent_draw_is_not():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(150, 8)) + 1, rng.normal(size=(150, 8)) + 1
    same, shifted = cmmd_interval(x, y, resamples=100), cmmd_interval(x, y + 0.5, resamples=100)
    assert same.low < 0 < same.high
    assert shifted.low > 0
    assert shifted.value == pytest.approx(cmmd(x, y + 0.5))


def test_only_clip_features_carry_the_name():
    assert cmmd_name("clip-vit-b32") == "CMMD(clip-vit-b32)"
    assert cmmd_name("efficientnet-lite0") == "MMD-rbf(efficientnet-lite0)"
