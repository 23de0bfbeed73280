"""The shadow-model attack: a network that learned by heart is seen, one that did not is not."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from datadouble.audit.privacy.shadow_model import mask_differences, shadow_model_attack
from datadouble.errors import DataDoubleError


def cases(seed: int, n: int, by_heart: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Discs, and predictions that are exact for members where a network learned by heart, else too large or small."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :32]
    masks, predictions = [], []
    member = np.arange(n) % 2 == 0
    for i in range(n):
        cy, cx = rng.uniform(12, 20, 2)
        mask = (y - cy) ** 2 + (x - cx) ** 2 <= rng.uniform(4, 8) ** 2
        steps = 0 if by_heart and member[i] and rng.random() < 0.8 else int(rng.integers(1, 3))
        change = binary_dilation if rng.random() < 0.5 else binary_erosion
        masks.append(mask)
        predictions.append(change(mask, iterations=steps) if steps else mask)
    return np.array(masks).astype(np.uint8), np.array(predictions).astype(np.uint8), member


def test_differences_by_hand():
    mask, said = np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 4), np.uint8)
    mask[0, 1:3, 1:3] = 1
    said[0, 1:3, 2:4] = 1
    dice, of_mask, of_said, missed, added, apart = mask_differences(mask, said, 1)[0]
    assert (dice, of_mask, of_said, missed, added) == (0.5, 0.25, 0.25, 0.125, 0.125)
    assert apart == pytest.approx(0.5 / 4 + 1 / 4)
    assert mask_differences(mask * 0, said * 0, 1)[0].tolist() == [1, 0, 0, 0, 0, 0]


def test_a_victim_that_learned_by_heart():
    found = shadow_model_attack(*cases(0, 80, True), *cases(1, 100, True), permutations=999)
    assert found.overall.advantage.low > 0.4
    assert found.p_value == 0.001
    assert "shadow" in found.attacker


def test_a_victim_that_knows_no_member():
    found = shadow_model_attack(*cases(2, 80, True), *cases(3, 100, False), permutations=999)
    assert found.p_value > 0.01
    assert found.overall.advantage.low < 0 < found.overall.advantage.high


def test_the_shadow_needs_both_kinds():
    masks, predictions, member = cases(4, 10, True)
    with pytest.raises(DataDoubleError, match="shadow network learned from"):
        shadow_model_attack(masks, predictions, np.ones(10, bool), masks, predictions, member)
