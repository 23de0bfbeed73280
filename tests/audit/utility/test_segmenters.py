"""Segmenters of several classes learn discs of two brightnesses; losses and windows against MONAI."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from datadouble.audit.utility.mask_classes import classify_from_masks
from datadouble.audit.utility.segmenter_augment import AUGMENTATIONS, augment
from datadouble.audit.utility.segmenter_inputs import Drawer, Levels, lesion_levels, to_grey
from datadouble.audit.utility.segmenter_losses import dice_ce_loss
from datadouble.audit.utility.segmenter_settings import SEGMENTERS
from datadouble.audit.utility.segmenters import predict, probabilities, train_segmenter
from datadouble.audit.utility.sliding import sliding_window, starts
from datadouble.errors import DataDoubleError

DEMO = SEGMENTERS["demo"]


def discs(n: int, seed: int, side: int = 32, depth: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a disc (or ball): class 1 brighter, class 2 darker, class 0 none, in turns."""
    rng = np.random.default_rng(seed)
    shape = (depth, side, side) if depth else (side, side)
    grid = np.stack(np.meshgrid(*(np.arange(s) for s in shape), indexing="ij"))
    kinds = np.arange(n) % 3
    images, masks = [], []
    for kind in kinds:
        centre = np.array([rng.uniform(0.3 * s, 0.7 * s) for s in shape])
        inside = ((grid - centre.reshape(-1, *[1] * len(shape))) ** 2).sum(0) < rng.uniform(5, 8) ** 2
        mask = inside * kind
        level = np.choose(mask, [100, 190, 30])
        images.append(np.clip(level + rng.normal(0, 25, shape), 0, 255).astype(np.uint8))
        masks.append(mask.astype(np.uint8))
    return np.stack(images), np.stack(masks)


def mean_dice(truth: np.ndarray, found: list[np.ndarray]) -> float:
    hits = [
        2 * ((t == f) & (t > 0)).sum() / max(((t > 0).sum() + (f > 0).sum()), 1) for t, f in zip(truth, found)
    ]
    return float(np.mean([h for h, t in zip(hits, truth) if t.any()]))


@pytest.mark.parametrize(("kind", "steps"), [("unet", 50), ("dynunet", 50), ("transunet", 60)])
def test_each_kind_learns_two_types(kind: str, steps: int) -> None:
    if kind == "dynunet":
        pytest.importorskip("monai")
    images, masks = discs(48, 0)
    unseen, truth = discs(18, 1)
    segmenter = train_segmenter(kind, images, masks, 3, replace(DEMO[kind], steps=steps), seed=0)
    found = predict(segmenter, unseen)
    assert mean_dice(truth, found) > 0.5
    wanted = classify_from_masks(truth, 3)
    assert (classify_from_masks(found, 3) == wanted)[wanted > 0].mean() > 0.7
    chances = next(probabilities(segmenter, unseen))
    assert chances.shape == (3, 32, 32) and np.allclose(chances.sum(0), 1, atol=1e-5)


def test_equal_seeds_give_equal_networks() -> None:
    images, masks = discs(12, 0)
    few = replace(DEMO["transunet"], steps=3)  # has dropout
    runs = [train_segmenter("transunet", images, masks, 3, few, seed=s).network for s in (1, 1, 2)]
    first, again, other = (torch.cat([p.flatten() for p in run.parameters()]) for run in runs)
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("kind", ["unet", "dynunet"])
def test_volumes(kind: str) -> None:
    if kind == "dynunet":
        pytest.importorskip("monai")
    images, masks = discs(9, 0, side=24, depth=12)
    few = replace(DEMO[kind], steps=30, patch_3d=(8, 16, 16), width=4)
    segmenter = train_segmenter(kind, list(images), list(masks), 3, few, seed=0)
    assert segmenter.dims == 3 and segmenter.patch == (8, 16, 16)
    found = predict(segmenter, list(images)[:3])
    assert found[0].shape == (12, 24, 24)
    with pytest.raises(DataDoubleError, match="needs volumes"):
        predict(segmenter, images[0])


def test_a_picture_network_reads_volumes_slice_by_slice() -> None:
    images, masks = discs(12, 0)
    segmenter = train_segmenter("unet", images, masks, 3, replace(DEMO["unet"], steps=3))
    volume = predict(segmenter, [images[:5]])
    assert volume[0].shape == (5, 32, 32) and np.array_equal(
        volume[0], np.stack(predict(segmenter, images[:5]))
    )
    odd = predict(segmenter, images[:2, :29, :31])  # padded inside
    assert odd[0].shape == (29, 31)


def test_wrong_input_is_refused() -> None:
    images, masks = discs(6, 0)
    with pytest.raises(DataDoubleError, match="no mask shows a lesion"):
        train_segmenter("unet", images, np.zeros_like(masks), 3, "demo")
    with pytest.raises(DataDoubleError, match="not declared"):
        train_segmenter("unet", images, masks, 2, "demo")
    with pytest.raises(DataDoubleError, match="mask for every picture"):
        train_segmenter("unet", images, masks[:3], 3, "demo")
    with pytest.raises(DataDoubleError, match="another shape"):
        train_segmenter("unet", images, masks[:, :20], 3, "demo")
    with pytest.raises(DataDoubleError, match="did you mean 'demo'"):
        train_segmenter("unet", images, masks, 3, "demos")
    with pytest.raises(DataDoubleError, match="did you mean 'unet'"):
        train_segmenter("unets", images, masks, 3, "demo")
    with pytest.raises(DataDoubleError, match="no 3D form"):
        train_segmenter("transunet", [images], [masks], 3, "demo")


@pytest.mark.parametrize("batch_dice", [True, False])
def test_loss_is_that_of_monai(batch_dice: bool) -> None:
    losses = pytest.importorskip("monai.losses")
    torch.manual_seed(0)
    scores, truth = torch.randn(3, 4, 8, 8), torch.randint(0, 4, (3, 8, 8))
    peer = losses.DiceCELoss(
        include_background=False,
        to_onehot_y=True,
        softmax=True,
        batch=batch_dice,
        smooth_nr=1e-5,
        smooth_dr=1e-5,
    )
    assert dice_ce_loss(scores, truth, batch_dice=batch_dice) == pytest.approx(
        float(peer(scores, truth[:, None])), rel=1e-5
    )


def test_windows_cover_and_their_mean_is_fair() -> None:
    assert starts(20, 8, 0.5) == [0, 4, 8, 12] and starts(8, 8, 0.5) == [0] and starts(5, 8, 0.5) == [0]
    x = torch.randn(1, 1, 9, 20, 17)
    assert torch.allclose(
        sliding_window(lambda p: torch.cat([p, 2 * p], 1), x, (4, 8, 24))[:, 1:], 2 * x, atol=1e-5
    )


def test_windows_as_monai() -> None:
    inferers = pytest.importorskip("monai.inferers")
    x = torch.randn(1, 1, 8, 24, 24)
    network = torch.nn.Conv3d(1, 2, 3, padding=1)
    with torch.no_grad():
        peer = inferers.sliding_window_inference(x, (8, 16, 16), 1, network, overlap=0.5, mode="gaussian")
        assert torch.allclose(sliding_window(network, x, (8, 16, 16)), peer, atol=1e-3)


def test_masks_move_with_their_pictures() -> None:
    """A picture that equals its mask still does after every change of geometry."""
    rng = np.random.default_rng(0)
    mask = np.kron(rng.integers(0, 2, (4, 8, 8)), np.ones((6, 6))).astype(np.int64)
    how = replace(AUGMENTATIONS["turned"], p_rotation=1.0, p_zoom=1.0, p_brightness=0.0, p_contrast=0.0)
    for upright in (True, False):
        x, y = augment(
            torch.from_numpy(mask)[:, None].float(), torch.from_numpy(mask), how, rng, upright=upright
        )
        inner = ((x[:, 0] > 0.5).long() == y)[:, 10:-10, 10:-10].float().mean()
        assert inner > 0.97 and not torch.equal(y, torch.from_numpy(mask))


def test_upright_pictures_stay_upright() -> None:
    """Ultrasound: bright above, dark below, whatever nnU-Net's rules would turn."""
    x = torch.cat([torch.ones(64, 1, 16, 32), -torch.ones(64, 1, 16, 32)], dim=2)
    moved, _ = augment(x, torch.zeros(64, 32, 32), AUGMENTATIONS["nnunet"], np.random.default_rng(0))
    assert bool((moved[:, 0, :8].mean((1, 2)) > moved[:, 0, -8:].mean((1, 2))).all())
    turned, _ = augment(
        x, torch.zeros(64, 32, 32), AUGMENTATIONS["nnunet"], np.random.default_rng(0), upright=False
    )
    assert bool((turned[:, 0, :8].mean((1, 2)) < turned[:, 0, -8:].mean((1, 2))).any())


def test_every_case_once_a_round_and_lesions_where_forced() -> None:
    images, masks = discs(9, 0)
    images[:] = np.arange(9)[:, None, None]  # each names itself
    drawer = Drawer(images, masks, Levels("ct", 0, 255, 0, 1), (), 0.0, seed=3)
    seen = [drawer.draw(3, step, np.random.default_rng(0))[0][:, 0, 0, 0] for step in range(6)]
    assert sorted(np.concatenate(seen[:3])) == sorted(np.concatenate(seen[3:])) == list(range(9))
    forced = Drawer(images, masks, Levels("fixed"), (), 0.34, seed=3)
    assert all(forced.draw(3, step, np.random.default_rng(step))[1][-1].any() for step in range(8))
    volume, truth = np.zeros((1, 20, 40, 40), np.uint8), np.zeros((1, 20, 40, 40), np.uint8)
    truth[0, 18, 3, 37] = 1
    cutter = Drawer(volume, truth, Levels("zscore"), (8, 16, 16), 0.5, seed=0)
    assert all(cutter.draw(2, step, np.random.default_rng(step))[1][1].sum() == 1 for step in range(5))


def test_levels_by_hand() -> None:
    image = np.array([[0, 64], [128, 255]], np.uint8)
    assert Levels("fixed").apply(to_grey(image)).tolist()[0] == [-1.0, 0.0]
    assert to_grey(np.array([65535], np.uint16)) == pytest.approx(255)
    ct = lesion_levels([image], [np.array([[0, 1], [1, 0]])])
    assert (ct.mean, ct.spread) == (96, 32) and ct.low == pytest.approx(64.32)
    assert Levels("zscore").apply(to_grey(np.full((4, 4), 9, np.uint8))).tolist() == [[0.0] * 4] * 4
