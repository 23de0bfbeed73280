"""The published parameter counts, adaLN-Zero's exact zero, and that every shortcut computes the same."""

import copy

import numpy as np
import pytest
import torch

from datadouble.errors import DataDoubleError
from datadouble.networks.dit import (
    DIT_SIZES,
    DiT,
    DiTConfig,
    ModulationCache,
    dit_config,
    position_table,
    timestep_frequencies,
)

SMALL = DiTConfig(input_size=8, in_channels=4, num_classes=3, depth=3, width=64, heads=4)


def trained(config: DiTConfig = SMALL, seed: int = 0) -> DiT:
    """A network whose modulation and output are not zero."""
    model = DiT(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def inputs(batch: int = 6, size: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, 4, size, size, generator=generator)
    return x, torch.linspace(0, 999.5, batch), torch.arange(batch) % 4


@pytest.mark.parametrize(
    ("side", "classes", "published"),
    [(64, 5, 32_876_192), (32, 1000, 32_963_360)],
    ids=["coldit", "imagenet"],
)
def test_parameters_of_s2(side: int, classes: int, published: int) -> None:
    with torch.device("meta"):
        model = DiT(dit_config("S/2", input_size=side, in_channels=4, num_classes=classes))
    assert model.parameter_count(include_positions=True) == published
    assert model.parameter_count() == published - (side // 2) ** 2 * 384


def test_xl2_has_the_675_million_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        model = DiT(dit_config("XL/2", input_size=32, in_channels=4, num_classes=1000))
    assert round(model.parameter_count(include_positions=True) / 1e6) == 675


def test_output_is_exactly_zero_at_the_start() -> None:
    x, timesteps, labels = inputs()
    output = DiT(SMALL)(x, timesteps, labels)
    assert output.shape == (6, 8, 8, 8)
    assert torch.count_nonzero(output) == 0


def test_weights_come_from_the_generator_alone() -> None:
    torch.manual_seed(1)
    a = DiT(SMALL, torch.Generator().manual_seed(5)).state_dict()
    torch.manual_seed(2)
    b = DiT(SMALL, torch.Generator().manual_seed(5)).state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_every_parameter_learns() -> None:
    x, timesteps, labels = inputs()
    model = trained()
    model(x, timesteps, labels).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_the_class_and_the_time_matter() -> None:
    x, timesteps, labels = inputs()
    model = trained()
    with torch.no_grad():
        output = model(x, timesteps, labels)
        assert (output - model(x, timesteps, (labels + 1) % 4)).abs().max() > 1e-3
        assert (
            output - model(x, timesteps + 0.5, labels)
        ).abs().max() > 1e-5  # fractions count: flow matching


def test_pictures_of_a_batch_do_not_mix() -> None:
    x, timesteps, labels = inputs()
    model = trained()
    with torch.no_grad():
        together = model(x, timesteps, labels)
        alone = torch.cat([model(x[i : i + 1], timesteps[i : i + 1], labels[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("timesteps", "labels", "rows"),
    [
        ([7.0] * 8, [2] * 8, 1),  # one class
        ([7.0] * 8, [1] * 4 + [3] * 4, 2),  # guidance: the class, then the null label
        ([7.0] * 8, [0, 0, 1, 1, 1, 1, 3, 3], 4),  # runs of two
        ([7.0] * 8, [0, 1, 2, 3, 0, 0, 1, 1], 8),  # no common run
    ],
)
def test_kept_modulation_gives_the_same_output(timesteps: list[float], labels: list[int], rows: int) -> None:
    model, calls = trained(), []
    x, t, classes = inputs(8)[0], torch.tensor(timesteps), torch.tensor(labels)
    with torch.no_grad():
        truth = model(x, t, classes)
        modulations = model.modulations
        model.modulations = lambda t, y: calls.append(len(t)) or modulations(t, y)
        cache = ModulationCache(model)
        for _ in range(3):
            torch.testing.assert_close(cache(x, t, classes), truth, atol=1e-5, rtol=1e-4)
    assert calls == [rows]


def test_modulation_cache_stays_bounded() -> None:
    cache = ModulationCache(trained(), max_rows=5)
    x, _, labels = inputs(2)
    for t in range(20):
        cache(x, torch.full((2,), float(t)), labels)
    assert cache.stored <= 5


def test_positions_stretch_to_other_sizes() -> None:
    trained_grid = position_table(64, 8, 8, 8).view(8, 8, 64)
    finer = position_table(64, 16, 16, 8).view(16, 16, 64)
    torch.testing.assert_close(finer[::2, ::2], trained_grid)
    wide = position_table(64, 8, 16, 8).view(8, 16, 64)
    torch.testing.assert_close(wide[:, ::2], trained_grid)
    x = torch.randn(2, 4, 16, 24)
    assert trained()(x, torch.zeros(2), torch.zeros(2, dtype=torch.long)).shape == (2, 8, 16, 24)


def test_positions_by_hand() -> None:
    table = position_table(8, 2, 3, 3).view(2, 3, 8).double().numpy()
    row, column = 1 * 3 / 2, 2.0  # two rows stretched over a grid of three
    hand = [np.sin(column), np.sin(column / 100), np.cos(column), np.cos(column / 100)]
    hand += [np.sin(row), np.sin(row / 100), np.cos(row), np.cos(row / 100)]
    np.testing.assert_allclose(table[1, 2], hand, atol=1e-6)


def test_timestep_frequencies_by_hand() -> None:
    f = timestep_frequencies(torch.tensor([2.5]))[0].double()
    assert f.shape == (256,)
    np.testing.assert_allclose(
        f[[0, 127, 128, 255]], np.cos([2.5, 2.5e-4, 2.5 - np.pi / 2, 2.5e-4 - np.pi / 2]), atol=1e-6
    )


def test_bf16_is_close_and_keeps_norms_in_float32() -> None:
    model = trained()
    x, timesteps, labels = inputs()
    seen = []
    with torch.no_grad():
        truth = model(x, timesteps, labels)
        model.blocks[1].register_forward_pre_hook(lambda _, args: seen.append((args[0].dtype, args[1].dtype)))
        with torch.autocast("cpu", torch.bfloat16):
            autocast = model(x, timesteps, labels)
        assert seen == [(torch.float32, torch.float32)]
        cast = copy.deepcopy(model).bfloat16()(x, timesteps, labels)
    scale = truth.abs().max()
    assert (autocast.float() - truth).abs().max() < 0.02 * scale
    assert (cast.float() - truth).abs().max() < 0.05 * scale


def test_one_graph_without_breaks() -> None:
    model = trained()
    x, timesteps, labels = inputs()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, timesteps, labels), model(x, timesteps, labels))


def test_per_sample_gradients_under_opacus_equal_a_loop() -> None:
    opacus = pytest.importorskip("opacus")
    model = trained().train()
    x, timesteps, labels = inputs(3)
    loop = []
    for i in range(3):
        model.zero_grad()
        model(x[i : i + 1], timesteps[i : i + 1], labels[i : i + 1]).square().mean().backward()
        loop.append({name: p.grad.clone() for name, p in model.named_parameters()})
    private = opacus.GradSampleModule(copy.deepcopy(model), loss_reduction="sum")
    private.zero_grad()
    private(x, timesteps, labels).square().flatten(1).mean(1).sum().backward()
    for name, parameter in private._module.named_parameters():
        for i in range(3):
            torch.testing.assert_close(parameter.grad_sample[i], loop[i][name], atol=1e-6, rtol=1e-4)


def test_named_sizes() -> None:
    for name in DIT_SIZES:
        config = dit_config(name, input_size=16, in_channels=4, num_classes=2)
        assert config.width % config.heads == 0
        assert config.patch_size == int(name.split("/")[1])
    small = DiT(dit_config("M/2", input_size=16, in_channels=16, num_classes=5, learn_sigma=False))
    assert 18e6 < small.parameter_count() < 20e6


def test_errors() -> None:
    with pytest.raises(DataDoubleError, match="did you mean"):
        dit_config("S/3", input_size=16, in_channels=4, num_classes=2)
    with pytest.raises(DataDoubleError, match="heads"):
        DiTConfig(16, 4, 2, width=64, heads=5)
    with pytest.raises(DataDoubleError, match="patch"):
        DiTConfig(15, 4, 2)


def test_conditions_steer_a_class_and_not_the_null_label() -> None:
    plain, told = (
        DiT(DiTConfig(8, 2, 3, depth=1, width=32, heads=2, conditions=c), torch.Generator().manual_seed(0))
        for c in (0, 5)
    )
    assert not any("condition" in name for name in plain.state_dict())
    with torch.no_grad():
        for p in told.parameters():
            p.add_(0.05)
    x, t = torch.randn(2, 2, 8, 8), torch.tensor([10.0, 700.0])
    one, other = torch.randn(2, 5), torch.randn(2, 5)
    of_class, null = torch.tensor([0, 2]), torch.tensor([3, 3])
    assert not torch.allclose(told(x, t, of_class, one), told(x, t, of_class, other))
    torch.testing.assert_close(told(x, t, null, one), told(x, t, null, other))
    for wrong in (None, one[:, :4]):
        with pytest.raises(DataDoubleError, match="conditions"):
            told(x, t, of_class, wrong)
