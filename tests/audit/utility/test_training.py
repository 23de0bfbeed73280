"""Training the classifiers: equal results for equal seeds, and what augmentation may do."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from datadouble.audit.utility.presets import UTILITY_PRESETS
from datadouble.audit.utility.training import Pool, augment, classification_loss, predict, train

DEMO = replace(UTILITY_PRESETS["demo"], precision="fp32")


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Noise of 32 px; those of class 1 have a bright square."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 60, (48, 32, 32)).astype(np.uint8)
    targets = np.arange(48) % 2
    pictures[targets == 1, 10:20, 10:20] += 120
    return pictures, targets


def test_a_pool_numbers_real_first_then_synthetic() -> None:
    real, synthetic = np.arange(6).reshape(3, 2), np.arange(6, 10).reshape(2, 2)
    taken = Pool([real, synthetic]).take(np.array([4, 0, 2, 3]))
    assert np.array_equal(taken, np.concatenate([real, synthetic])[[4, 0, 2, 3]])


def test_it_learns_and_equal_seeds_are_equal(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    pictures, targets = blobs
    stages = [(np.arange(32), 12)]
    state = torch.get_rng_state()
    scores = [
        predict(
            DEMO,
            train(DEMO, Pool([pictures]), Pool([targets]), stages, loss=classification_loss, seed=seed),
            pictures[32:],
        )
        for seed in (3, 3, 4)
    ]
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's random numbers were touched
    assert np.array_equal(scores[0], scores[1]) and not np.array_equal(scores[0], scores[2])
    assert scores[0][targets[32:] == 1].min() > scores[0][targets[32:] == 0].max()


def test_every_step_is_counted(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    pictures, targets = blobs
    done: list[int] = []
    two_stages = [(np.arange(3), 2), (np.arange(8, 20), 3)]  # the first has fewer pictures than a batch
    train(
        DEMO,
        Pool([pictures]),
        Pool([targets]),
        two_stages,
        loss=classification_loss,
        seed=0,
        step_done=lambda: done.append(1),
    )
    assert len(done) == 5


def test_masks_move_with_their_pictures() -> None:
    rng = np.random.default_rng(1)
    masks = (rng.random((16, 24, 24)) > 0.5).astype(np.uint8)
    moved, moved_masks = augment(replace(DEMO, gain=0.0), masks * 200, masks, np.random.default_rng(2))
    assert np.array_equal(moved > 100, moved_masks == 1)
    assert any(not np.array_equal(a, b) for a, b in zip(masks, moved_masks))


def test_without_shift_and_gain_a_picture_is_itself_or_its_mirror() -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (12, 16, 16)).astype(np.uint8)
    moved, _ = augment(
        replace(DEMO, gain=0.0, shift=0.0), pictures, np.zeros(12, np.int64), np.random.default_rng(0)
    )
    mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(moved, pictures)]
    assert all(flip or np.array_equal(a, b) for flip, a, b in zip(mirrored, moved, pictures))
    assert 0 < sum(mirrored) < 12
