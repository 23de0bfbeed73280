"""The repair: what it must not touch, what it learns, and that a cut-off training goes on bit for bit."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from datadouble.cohort import CohortInfo
from datadouble.diffusion.objectives import FlowObjective
from datadouble.errors import DataDoubleError
from datadouble.networks.lora import merge_lora
from datadouble.networks.weights import load_tensors
from datadouble.recipes.lesion.bands import generation_band
from datadouble.recipes.lesion.material import HEALTHY, LesionMaterial, Pictures
from datadouble.recipes.lesion.repair_options import build_repair_unet
from datadouble.recipes.lesion.repair_stage import (
    Repairer,
    RepairOptions,
    check_repair,
    fit_repair,
    load_repair_network,
)
from datadouble.recipes.lesion.repair_task import (
    Batch,
    Crop,
    RepairTask,
    band_loss,
    fill_band,
    make_objective,
    predict_band,
    smooth_fill,
)
from datadouble.recipes.lesion.repairer import cover_band

CPU = torch.device("cpu")
TINY = RepairOptions(
    images=48,
    batch=8,
    seam_images=32,
    side=32,
    width=8,
    head_width=8,
    multipliers=(1, 2),
    patch=2,
    detail=4,
    lora_rank=2,
    learning_rate=2e-3,
    precision="fp32",
    ema_half_life=100,
    checkpoint_every=16,
    validate_every=48,
    sheet_every=48,
    steps=3,
)


class Composite(NamedTuple):
    image: np.ndarray
    mask: np.ndarray
    touched: np.ndarray


def scan(number: int, size: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Layers of tissue and a dark ellipse without symmetry of the whole."""
    random = np.random.default_rng(number)
    rows, columns = np.indices((size, size))
    grey = 110 + 30 * np.sin(rows / 3 + columns / 11 + number) + random.normal(0, 6, (size, size))
    row, column = random.uniform(16, size - 16, 2)
    mask = ((rows - row) / 6) ** 2 + ((columns - column) / 9) ** 2 < 1
    grey[mask] -= 60
    return np.clip(grey, 0, 255).astype(np.uint8), mask


def pictures(numbers: range) -> Pictures:
    made = [scan(n) for n in numbers]
    labels = np.array([n % 3 - 1 for n in numbers])  # HEALTHY, 0, 1
    masks = np.stack([mask & (label != HEALTHY) for (_, mask), label in zip(made, labels, strict=True)])
    names = tuple(f"i{n}" for n in numbers)
    return Pictures(np.stack([image for image, _ in made]), masks, np.zeros_like(masks), labels, names, names)


@pytest.fixture(scope="module")
def material() -> LesionMaterial:
    info = CohortInfo("layers", "real", "ultrasound", ("normal", "a", "b"), ("background", "lesion"), {})
    shares = (0.3, 0.3, 0.4)
    chosen: Any = None
    return LesionMaterial(
        pictures(range(18)), pictures(range(18, 24)), ("a", "b"), (1, 1), shares, "normal", info, chosen
    )


def config(options: RepairOptions) -> Any:
    return SimpleNamespace(repair=options, data=SimpleNamespace(size=48))


def fit(options: RepairOptions, material: LesionMaterial, folder: Path) -> Path:
    fit_repair(config(options), material, folder, lambda _: None)
    return folder


@pytest.fixture(scope="module")
def run(material: LesionMaterial, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(TINY, material, tmp_path_factory.mktemp("run") / "repair")


def composite(number: int, size: int = 48, *, shadow: bool = True) -> tuple[Composite, np.ndarray]:
    """A lesion with a shadow in a healthy scan."""
    image, mask = scan(number, size)
    healthy = scan(number + 100, size)[0]
    touched = mask.copy()
    made = np.where(mask, image, healthy)
    if shadow:
        rows, columns = np.nonzero(mask)
        below = np.zeros_like(mask)
        below[rows.max() : rows.max() + 10, columns.min() + 2 : columns.max() - 2] = True
        made, touched = np.where(below & ~mask, made * 0.6, made).astype(np.uint8), touched | below
    return Composite(made.astype(np.uint8), mask, touched), healthy


def some(count: int = 4) -> tuple[list[Composite], list[np.ndarray]]:
    made = [composite(n) for n in range(count)]
    return [c for c, _ in made], [h for _, h in made]


def test_outside_the_band_every_pixel_is_that_of_the_healthy_scan(run: Path) -> None:
    repairer = Repairer.load(run, CPU)
    composites, healthy = some()
    repaired = repairer.repair(composites, healthy, [0, 1, 0, HEALTHY], [1, 2, 3, 4])
    for one, made, before in zip(repaired, composites, healthy, strict=True):
        assert one.image.dtype == np.uint8 and one.image.shape == (48, 48)
        assert np.array_equal(one.image[~one.band], made.image[~one.band])
        untouched = ~(one.band | made.touched)
        assert np.array_equal(one.image[untouched], before[untouched])
        assert (one.image[one.band] != made.image[one.band]).mean() > 0.5
        assert np.array_equal(one.band, generation_band(made.image, before, made.mask, TINY.bands()))


def test_what_is_drawn_comes_from_the_seed_of_each(run: Path) -> None:
    repairer = Repairer.load(run, CPU)
    composites, healthy = some(2)
    both = repairer.repair(composites, healthy, [0, 1], [1, 2])
    again = repairer.repair(composites, healthy, [0, 1], [1, 2])
    alone = repairer.repair(composites[1:], healthy[1:], [1], [2])
    other = repairer.repair(composites, healthy, [0, 1], [1, 3])
    assert all(np.array_equal(a.image, b.image) for a, b in zip(both, again, strict=True))
    assert np.abs(both[1].image.astype(int) - alone[0].image).max() <= 1
    assert np.array_equal(both[0].image, other[0].image)
    assert not np.array_equal(both[1].image, other[1].image)


def test_a_lesion_larger_than_a_crop_is_repaired_in_several(run: Path) -> None:
    rows, columns = np.indices((48, 48))
    mask = ((rows - 23) / 18) ** 2 + ((columns - 24) / 21) ** 2 < 1
    healthy = scan(3)[0]
    made = Composite(np.where(mask, healthy // 2, healthy).astype(np.uint8), mask, mask)
    (one,) = Repairer.load(run, CPU).repair([made], [healthy], [0], [5])
    windows = cover_band(one.band, 32)
    assert len(windows) > 1
    assert np.array_equal(one.image[~one.band], made.image[~one.band])
    assert (one.image[one.band] != made.image[one.band]).mean() > 0.5


def test_windows_hold_every_pixel_of_a_band_once() -> None:
    random = np.random.default_rng(0)
    for i in range(40):
        band = np.zeros((60, 60), bool)
        low = random.integers(0, 50, 2)
        high = low + random.integers(1, 60, 2)
        band[low[0] : high[0], low[1] : high[1]] = (
            random.random(band[low[0] : high[0], low[1] : high[1]].shape) < 0.4
        )
        count = np.zeros((60, 60), int)
        for window in cover_band(band, 24):
            assert 0 <= window.top <= 36 and 0 <= window.left <= 36
            count[window.top : window.top + 24, window.left : window.left + 24] += window.band
        assert np.array_equal(count, band.astype(int)), i


def crops(count: int = 3) -> Batch:
    made = []
    for n in range(count):
        image, mask = scan(n)
        band = np.zeros((32, 32), bool)
        band[4 + n : 12, 6:20] = True
        made.append(Crop(image[:32, :32], mask[:32, :32], band, image[8:40, 8:40]))
    return Batch.of(made, CPU)


def test_the_network_sees_what_is_known_and_nothing_of_what_the_band_hides() -> None:
    batch = crops()
    x = torch.randn(3, 1, 32, 32)
    seen = batch.inputs(x)
    inside = batch.band[:, 0] > 0
    assert torch.equal(seen[:, 0][inside], x[:, 0][inside])
    assert torch.equal(seen[:, 0][~inside], batch.known[:, 0][~inside])
    changed = batch._replace(known=torch.where(batch.band > 0, torch.zeros(()), batch.known))
    assert torch.equal(changed.inputs(x), seen)


@pytest.mark.parametrize(
    ("name", "sampler"), [("flow", "dpmpp"), ("mse", "dpmpp"), ("clean", "dpmpp"), ("clean", "sde")]
)
def test_who_knows_the_truth_has_no_loss_and_draws_it(name: str, sampler: str) -> None:
    batch, objective = crops(), make_objective(name)
    noise, labels = torch.randn(3, 1, 32, 32), torch.zeros(3, dtype=torch.int64)

    def oracle(seen: torch.Tensor, timesteps: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        x = seen[:, :1]
        if name == "clean":
            answer = batch.target - batch.guess
        elif name == "flow":
            answer = (x - batch.target) / (timesteps / 1000).view(-1, 1, 1, 1)
        else:
            cumulative = torch.tensor(objective.path.alphas_cumprod, dtype=torch.float32)[timesteps.long()]  # type: ignore[union-attr]
            share = cumulative.view(-1, 1, 1, 1)
            answer = (x - share.sqrt() * batch.target) / (1 - share).sqrt()
        return torch.cat([answer, torch.full_like(seen[:, 1:], 9.0)], dim=1)  # further channels are not read

    times = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    terms = band_loss(objective, oracle, batch, labels, times, noise)
    assert terms.total.abs().max() < 1e-4
    drawn = fill_band(
        objective,
        oracle,
        batch,
        labels,
        noise,
        sampler=sampler,
        steps=6,
        step_noise=lambda i: torch.randn(noise.shape, generator=torch.Generator().manual_seed(i)),
    )
    inside = batch.band > 0
    torch.testing.assert_close(drawn[inside], batch.target[inside], atol=2e-3, rtol=0)
    assert torch.equal(drawn[~inside], batch.known[~inside])


def test_an_untrained_network_draws_the_smooth_fill() -> None:
    batch, objective = crops(), make_objective("clean")
    noise, labels = torch.randn(3, 1, 32, 32), torch.zeros(3, dtype=torch.int64)
    drawn = fill_band(
        objective, build_repair_unet(TINY, 2).eval(), batch, labels, noise, sampler="dpmpp", steps=3
    )
    torch.testing.assert_close(drawn, torch.where(batch.band > 0, batch.guess, batch.known))
    assert predict_band(objective, lambda x, t, y: x, batch, noise, noise, labels).shape == noise.shape


def test_a_smooth_fill_continues_a_level() -> None:
    known = torch.full((2, 1, 32, 32), 0.4)
    band = torch.zeros_like(known)
    band[:, :, 8:26, 10:24] = 1
    hidden = torch.where(band > 0, torch.tensor(-9.0), known)
    torch.testing.assert_close(smooth_fill(hidden, band), known)
    slope = torch.linspace(-1, 1, 32).expand(2, 1, 32, 32)
    found = smooth_fill(torch.where(band > 0, torch.tensor(-9.0), slope), band)
    assert torch.equal(found[band == 0], slope[band == 0])
    assert found[0, 0, 16].diff(n=1)[8:-8].mean() > 0.02  # it rises as what surrounds it
    assert float((found - slope).abs().max()) < 0.5


def test_with_everything_hidden_the_loss_is_the_plain_objectives() -> None:
    batch = crops()._replace(band=torch.ones(3, 1, 32, 32))
    noise, labels = torch.randn(3, 1, 32, 32), torch.zeros(3, dtype=torch.int64)
    times = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    ours = band_loss(FlowObjective(), lambda x, t, y: x, batch, labels, times, noise)
    plain = FlowObjective().loss(lambda x, t, y: x, batch.target, labels, times, noise)
    torch.testing.assert_close(ours.total, plain.total)


def test_the_loss_is_the_mean_over_the_band() -> None:
    """Zero as the answer: the squared velocity, averaged over the band by hand."""
    batch = crops()
    noise, labels = torch.randn(3, 1, 32, 32), torch.zeros(3, dtype=torch.int64)
    terms = band_loss(
        FlowObjective(),
        lambda x, t, y: 0 * x,
        batch,
        labels,
        torch.full((3,), 0.5, dtype=torch.float64),
        noise,
    )
    squared = (noise - batch.target) ** 2
    expected = torch.stack([squared[i][batch.band[i] > 0].mean() for i in range(3)])
    torch.testing.assert_close(terms.total, expected)


class CutOff(Exception):
    pass


@pytest.mark.parametrize("after", [3, 8])  # in the base's training, and among the composites
def test_a_training_that_is_cut_off_goes_on_bit_for_bit(
    material: LesionMaterial, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    calls = 0
    losses = RepairTask.losses

    def failing(self: RepairTask, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            raise CutOff
        return losses(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(RepairTask, "losses", failing)
        with pytest.raises(CutOff):
            fit(TINY, material, tmp_path / "repair")
    with pytest.raises(DataDoubleError, match="not finished"):
        Repairer.load(tmp_path / "repair", CPU)
    fit(TINY, material, tmp_path / "repair")
    for name in ("base/model/last", "seam/model/last", "seam/state/state", "adapters/seam/adapter"):
        one, other = (
            load_tensors(folder / f"{name}.safetensors")[0] for folder in (run, tmp_path / "repair")
        )
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_composites_train_the_adapter_and_leave_the_base(run: Path) -> None:
    base, _ = load_tensors(run / "base/model/last.safetensors")
    seam, _ = load_tensors(run / "seam/model/last.safetensors")
    for name, value in base.items():
        if name in seam:
            assert torch.equal(value, seam[name])
        else:  # a layer with an adapter
            layer, _, last = name.rpartition(".")
            assert torch.equal(value, seam[f"{layer}.base.{last}"])
    adapter, _ = load_tensors(run / "adapters/seam/adapter.safetensors")
    assert sum(v.numel() for v in adapter.values()) < 0.5 * sum(v.numel() for v in base.values())
    assert all(value.abs().max() > 0 for name, value in adapter.items() if name.endswith(".up"))


def test_base_and_adapter_merge_to_the_same_answers(run: Path) -> None:
    network, both = load_repair_network(run)
    x = torch.randn(2, 3, 32, 32)
    inputs = (x, torch.tensor([100.0, 700.0]), torch.tensor([0, 2]))
    with torch.no_grad():
        answers = network.eval()(*inputs)
        merge_lora(network)
        torch.testing.assert_close(network(*inputs), answers, atol=1e-5, rtol=1e-4)
    plain, base = load_repair_network(run, adapter="")
    assert type(plain) is type(network) and base != both
    assert {n for n, _ in plain.named_parameters()} == {n for n, _ in network.named_parameters()}


def test_an_adapter_of_another_base_is_refused(material: LesionMaterial, run: Path, tmp_path: Path) -> None:
    other = fit(replace(TINY, images=16, seam_images=8, seed=1), material, tmp_path / "repair")
    for name in ("adapter.safetensors", "adapter.json"):
        (other / "adapters/seam" / name).write_bytes((run / "adapters/seam" / name).read_bytes())
    with pytest.raises(DataDoubleError, match="another base"):
        Repairer.load(other, CPU)


def test_rank_0_trains_all_weights(material: LesionMaterial, tmp_path: Path) -> None:
    folder = fit(replace(TINY, images=16, seam_images=16, lora_rank=0), material, tmp_path / "repair")
    base, _ = load_tensors(folder / "base/model/last.safetensors")
    repairer = Repairer.load(folder, CPU)
    changed = [not torch.equal(base[k], v) for k, v in repairer._network.state_dict().items()]
    assert np.mean(changed) > 0.9
    composites, healthy = some(1)
    assert repairer.repair(composites, healthy, [0], [1])[0].band.any()


def test_wrong_settings_are_refused_before_any_training(material: LesionMaterial, tmp_path: Path) -> None:
    for options, says in (
        (replace(TINY, side=64), "at most 48"),
        (replace(TINY, objective="noise"), "unknown objective"),
        (replace(TINY, lora_targets=("to_everything",)), "to_q"),
        (replace(TINY, lora_rank=-1), "not negative"),
    ):
        with pytest.raises(DataDoubleError, match=says):
            fit(options, material, tmp_path / "repair")
    assert not (tmp_path / "repair").exists()
    check_repair(TINY, 48)
    assert build_repair_unet(TINY, 2).config.num_classes == 3  # type: ignore[union-attr]
