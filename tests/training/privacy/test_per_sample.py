"""Per-sample gradients: right against a loop, clipped by patient, and refused where they cannot be right."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from datadouble.diffusion.objectives import make_objective
from datadouble.errors import DataDoubleError
from datadouble.networks.dit import DiT, DiTConfig
from datadouble.networks.lora import add_lora
from datadouble.networks.resnet import RESNETS, ResNet
from datadouble.networks.segmentation import SegmentationConfig, SegmentationUNet
from datadouble.training.privacy.per_sample import (
    Engine,
    GhostGradients,
    OpacusGradients,
    add_clipped,
    check_per_sample_gradients,
    choose_engine,
    replace_batch_norm,
)

ENGINES = [GhostGradients, OpacusGradients]
OBJECTIVE = make_objective("hybrid")


def dit() -> DiT:
    shape = DiTConfig(8, 4, 3, depth=2, width=32, heads=2)
    return DiT(shape, torch.Generator().manual_seed(0))


def dit_loss(network: nn.Module, *batch: Tensor) -> Tensor:
    return OBJECTIVE.loss(network, *batch).total


def dit_batch(count: int = 3) -> tuple[Tensor, ...]:
    random = torch.Generator().manual_seed(1)
    return (
        torch.randn(count, 4, 8, 8, generator=random),
        torch.arange(count) % 3,
        torch.rand(count, generator=random, dtype=torch.float64),
        torch.randn(count, 4, 8, 8, generator=random),
    )


def squared(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return (network(x) - y).flatten(1).square().mean(1)


def pictures(channels: int = 1, count: int = 3) -> Tensor:
    return torch.randn(count, channels, 16, 16, generator=torch.Generator().manual_seed(2))


class ChannelsLast(nn.Module):
    """A convolution whose input is channels_last, as diffusers' U-Net makes it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x.to(memory_format=torch.channels_last))


class Twice(nn.Module):
    """One layer used twice, a grouped norm, and an embedding of several tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.layer, self.norm = nn.Embedding(5, 8), nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        h = self.words((x.flatten(1)[:, :6].abs() * 3).long() % 5)
        return self.norm(self.layer(torch.tanh(self.layer(h)))).sum((1, 2))[:, None]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_diffusion_transformer_passes(engine: Callable[[nn.Module], Engine]) -> None:
    assert check_per_sample_gradients(dit(), dit_loss, dit_batch(), engine=engine) < 1e-5


def test_it_passes_under_bf16_and_with_adapters() -> None:
    network = dit()
    add_lora(network, 2, skip=("final",))
    assert check_per_sample_gradients(network, dit_loss, dit_batch(), bf16=True) < 1e-5


@pytest.mark.parametrize(
    "network",
    [
        SegmentationUNet(SegmentationConfig(4, 3), 1),
        replace_batch_norm(ResNet(RESNETS["small"])),
        Twice(),
        nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(784, 1)
        ),
    ],
    ids=["unet", "resnet", "twice", "inplace"],
)
def test_segmenters_and_classifiers_pass(network: nn.Module) -> None:
    assert choose_engine(network).name == "ghost"
    with torch.no_grad():
        y = torch.randn_like(network(pictures()))
    assert check_per_sample_gradients(network, squared, (pictures(), y)) < 1e-4


def test_a_layer_without_a_rule_goes_to_opacus() -> None:
    network = nn.Sequential(nn.Flatten(2), nn.Conv1d(1, 2, 5), nn.Flatten(), nn.Linear(504, 1))
    assert choose_engine(network).name == "opacus"
    assert check_per_sample_gradients(network, squared, (pictures(), torch.ones(3, 1))) < 1e-4


def test_the_channels_last_trap_is_shut() -> None:
    """Without the hook Opacus is wrong, silently; the gate sees it. With it, and in our own engine, it is right."""
    batch = (pictures(3), torch.zeros(3, 4, 16, 16))
    for engine in ENGINES:
        assert check_per_sample_gradients(ChannelsLast(), squared, batch, engine=engine) < 1e-5
    with pytest.raises(DataDoubleError, match="protect nothing"):
        check_per_sample_gradients(
            ChannelsLast(), squared, batch, engine=lambda network: OpacusGradients(network, contiguous=False)
        )


@pytest.mark.parametrize("engine", ENGINES)
def test_batch_norm_is_refused_by_name(engine: Callable[[nn.Module], Engine]) -> None:
    network = nn.Sequential()
    network.add_module("middle", nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)))
    with pytest.raises(DataDoubleError, match="batch norm mixes patients") as caught:
        engine(network)
    assert caught.value.where == "middle.1"


def test_a_loss_that_mixes_samples_is_refused() -> None:
    def mixing(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return squared(network, x - 0.5 * x.mean(0), y)

    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 1))
    with pytest.raises(DataDoubleError, match="protect nothing"):
        check_per_sample_gradients(network, mixing, (pictures(), torch.ones(3, 1)))


class RoundedAtTheKink(nn.Module):
    """A ReLU asked at zero in each map's first pixel; in float32 a batch rounds it up and a single sample down.

    As MONAI's DynUNet did it: -2.6e-7 and 4.1e-7 in one of 32,768 pixels, and gradients 2e-3 apart.
    """

    def __init__(self, mixing: float = 0.0) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 2, 1)
        self.mixing = mixing
        self.kept: list[Tensor] = []  # as DynUNet keeps its last scores; such a network cannot be copied

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h = h - h[..., :1, :1].detach()
        if x.dtype == torch.float32:
            h = h + (3e-7 if len(x) > 1 else -3e-7)
        h = h + self.mixing * h.mean(0, keepdim=True)
        self.kept = [self.last(nn.functional.leaky_relu(h))]
        return self.kept[0]


def test_rounding_across_a_kink_is_told_from_a_wrong_gradient() -> None:
    torch.manual_seed(0)
    batch = pictures(), torch.zeros(3, 2, 16, 16)
    for engine in ENGINES:
        network = RoundedAtTheKink()
        assert check_per_sample_gradients(network, squared, batch, engine=engine) < 1e-5
        assert network.first.weight.dtype == torch.float32
        # The error is there: a tolerance of float32's own rounding shows it to a gate that does not ask twice.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("datadouble.training.privacy.per_sample.TOLERANCE_KINK", 0.0)
            with pytest.raises(DataDoubleError, match="protect nothing"):
                check_per_sample_gradients(network, squared, batch, engine=engine)
        for mixing in (1e-3, 1e-2):  # wrong by as little: float64 finds it as well
            with pytest.raises(DataDoubleError, match="protect nothing"):
                check_per_sample_gradients(RoundedAtTheKink(mixing), squared, batch, engine=engine)


def test_a_gradient_that_is_no_number_is_refused() -> None:
    """NaN compares with nothing: a greatest error must not lose it."""

    def broken(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        losses = squared(network, x, y)
        return losses * torch.tensor([float("nan"), 1.0, 1.0])[: len(losses)]

    with pytest.raises(DataDoubleError, match="protect nothing"):
        check_per_sample_gradients(RoundedAtTheKink(), broken, (pictures(), torch.zeros(3, 2, 16, 16)))


def test_a_parameter_that_no_gradient_reaches_is_named() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(256, 1), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x.flatten(1))

    with pytest.raises(DataDoubleError, match=r"idle\.bias: no gradient reaches"):
        check_per_sample_gradients(Idle(), squared, (pictures(), torch.ones(3, 1)))


def moved() -> DiT:
    network = dit()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    return network


def clipped_sum(
    batch: tuple[Tensor, ...], patients: int, clip: float, engine: type = GhostGradients
) -> Tensor:
    network = moved()
    norms = add_clipped(engine(network).per_patient(lambda: dit_loss(network, *batch), patients), clip)
    assert norms.shape == (patients,)
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def test_one_patient_more_moves_the_sum_by_no_more_than_the_clip() -> None:
    batch, clip = dit_batch(12), 1e-2
    with_all = clipped_sum(batch, 4, clip)
    for engine in ENGINES:
        without = clipped_sum(tuple(part[3:] for part in batch), 3, clip, engine)
        assert (with_all - without).norm() <= clip * (1 + 1e-4)
        assert (with_all - without).norm() > 0.99 * clip  # far more before: it was cut to just that


def test_a_patient_with_five_pictures_counts_once() -> None:
    """Its gradient is that of the mean loss over them, by autograd; then it is cut like any other's."""
    batch = dit_batch(5)
    network = moved()
    dit_loss(network, *batch).mean().backward()
    truth = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
    for engine in ENGINES:
        torch.testing.assert_close(clipped_sum(batch, 1, 1e6, engine), truth, rtol=1e-4, atol=1e-6)
        assert clipped_sum(batch, 1, 1e-2, engine).norm() <= 1e-2 * (1 + 1e-4)


def test_both_engines_give_the_same_sum() -> None:
    one, other = (clipped_sum(dit_batch(6), 3, 0.5, engine) for engine in ENGINES)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)
