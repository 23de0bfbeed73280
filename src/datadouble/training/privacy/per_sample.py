"""Each patient's own gradient, clipped and summed; and the gate that compares it with a loop over single samples.

Two engines with one answer. `GhostGradients` is ours: one forward, one backward that computes no gradient of weights,
then norms and the clipped sum layer by layer ("book-keeping", Bu et al., ICML 2023): little dearer than plain
training, in time and in memory. `OpacusGradients` holds every sample's gradient, and knows layers that ours does not.
"""

import copy
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from datadouble.errors import DataDoubleError
from datadouble.training.privacy.layers import Rule, Seen, rule_for

TOLERANCE = 1e-4
TOLERANCE_BF16 = (
    3e-2  # bf16 keeps 8 bits: a batch and a single sample round differently, and no more than that
)
# Beyond TOLERANCE and up to this, float64 decides whether float32 rounded across a kink.
TOLERANCE_KINK = 3e-2
Losses = Callable[[], Tensor]
"""() -> losses (rows,), the rows of a patient side by side, as many for each."""


class Gradients(Protocol):
    """Gradients of a batch, one a patient."""

    def norms(self) -> Tensor:
        """Return each patient's norm over all trained parameters, float32 (patients,)."""

    def add_weighted(self, weights: Tensor) -> None:
        """Add the sum over patients of weight x gradient to every trained parameter's `grad`."""


class Engine(Protocol):
    """Something that finds each patient's gradient."""

    name: str

    def per_patient(self, losses: Losses, patients: int) -> Gradients:
        """Run forward and backward; a patient's loss is the mean over its rows."""


def add_clipped(gradients: Gradients, clip: float) -> Tensor:
    """Add every patient's gradient, cut to the norm `clip`, to `grad`; return the norms before (patients,)."""
    norms = gradients.norms()
    gradients.add_weighted((clip / (norms + 1e-6)).clamp(max=1.0))
    return norms


class GhostGradients:
    """Book-keeping clipping of a network whose trained layers `layers.RULES` knows.

    Raises
    ------
    DataDoubleError
        When a trained parameter belongs to no such layer (which is named).
    """

    name = "ghost"

    def __init__(self, network: nn.Module) -> None:
        refuse_batch_norm(network)
        unknown = unknown_layers(network)
        if unknown:
            raise DataDoubleError(
                "no rule for this layer's per-sample gradients",
                where=unknown[0],
                remedy="use the engine 'opacus', or freeze it",
            )
        self._layers: list[tuple[nn.Module, Rule]] = []
        for module in network.modules():
            own = [p for p in module.parameters(recurse=False) if p.requires_grad]
            if own:
                rule = rule_for(module)
                assert rule is not None
                self._layers.append((module, rule))
            if getattr(module, "inplace", False) is True:
                # It would overwrite the output whose gradient is asked for.
                setattr(module, "inplace", False)  # noqa: B010

    def per_patient(self, losses: Losses, patients: int) -> "GhostBatch":
        uses: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {module: [] for module, _ in self._layers}

        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if not output.requires_grad:
                output.requires_grad_()  # the graph begins here: weights are no part of it
            seen = inputs[0].detach()
            uses[module].append((seen.to(output.dtype) if seen.is_floating_point() else seen, output))
            return output

        wanted = {module: _wanted(module) for module, _ in self._layers}
        with ExitStack() as stack:
            for module, _ in self._layers:
                stack.callback(module.register_forward_hook(note).remove)
            stack.enter_context(_frozen([module for module, _ in self._layers]))
            values = losses()
            _check_rows(values, patients)
            total = values.float().view(patients, -1).mean(1).sum()
            outputs = [output for module in uses for _, output in uses[module]]
            found = iter(torch.autograd.grad(total, outputs, allow_unused=True))
        kept: list[tuple[nn.Module, Rule, list[Seen], tuple[bool, bool]]] = []
        for module, rule in self._layers:
            seen = [
                Seen(x, gradient) for (x, _), gradient in zip(uses[module], found) if gradient is not None
            ]
            for use in seen:
                if len(use.input) != len(values) or len(use.gradient) != len(values):
                    raise DataDoubleError(
                        "a layer does not keep the samples apart: its first axis is not the batch",
                        where=type(module).__name__,
                        found=f"{tuple(use.input.shape)} for {len(values)} samples",
                    )
            if seen:
                kept.append((module, rule, seen, wanted[module]))
        return GhostBatch(kept, patients, len(values), values.detach())


class GhostBatch:
    """What `GhostGradients` kept of a batch."""

    def __init__(
        self,
        kept: list[tuple[nn.Module, Rule, list[Seen], tuple[bool, bool]]],
        patients: int,
        rows: int,
        losses: Tensor,
    ) -> None:
        self._kept, self._patients, self._rows, self.losses = kept, patients, rows, losses

    @torch.no_grad()
    def norms(self) -> Tensor:
        """Return each patient's norm (patients,)."""
        total = torch.zeros(self._patients, device=self.losses.device)
        with _exact_products(self.losses.device):
            for module, rule, uses, (weight, bias) in self._kept:
                total += rule.squared_norms(module, uses, self._patients, weight, bias)
        return total.sqrt()

    @torch.no_grad()
    def add_weighted(self, weights: Tensor) -> None:
        """Add the weighted sum to `grad`."""
        rows = weights.float().repeat_interleave(self._rows // self._patients)
        with _exact_products(self.losses.device):
            for module, rule, uses, (weight, bias) in self._kept:
                found = rule.weighted(module, uses, rows, weight, bias)
                for name, gradient in zip(("weight", "bias"), found, strict=True):
                    if gradient is not None:
                        _accumulate(getattr(module, name), gradient)


class OpacusGradients:
    """Every sample's gradient by Opacus.

    Opacus computes them wrongly, and says nothing, for a Conv2d whose input is channels_last; so every convolution is
    handed a contiguous input (`contiguous=False` leaves that out, for the test that shows it).

    Raises
    ------
    DataDoubleError
        When a layer mixes samples, or Opacus is not installed.
    """

    name = "opacus"

    def __init__(self, network: nn.Module, *, contiguous: bool = True) -> None:
        try:
            import opacus  # noqa: F401
        except ImportError as error:
            raise DataDoubleError(
                "per-sample gradients of this network need Opacus", remedy="pip install 'datadouble[dp]'"
            ) from error
        refuse_batch_norm(network)
        self._network, self._contiguous = network, contiguous

    def per_patient(self, losses: Losses, patients: int) -> "OpacusBatch":
        from opacus.grad_sample import GradSampleModule

        with ExitStack() as stack:
            if self._contiguous:
                for module in self._network.modules():
                    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Conv3d | nn.Conv1d):
                        stack.callback(module.register_forward_pre_hook(_make_contiguous).remove)
            wrapper = GradSampleModule(self._network, loss_reduction="sum", strict=False)
            stack.callback(wrapper.remove_hooks)
            values = losses()
            _check_rows(values, patients)
            with warnings.catch_warnings():
                # It fires for the first layer, as it should.
                warnings.filterwarnings("ignore", "Full backward hook is firing")
                (values.float().sum() * (patients / len(values))).backward()
        found = []
        for parameter in self._network.parameters():
            if not parameter.requires_grad:
                continue
            parameter.grad = None
            sample: Any = getattr(parameter, "grad_sample", None)
            if isinstance(sample, list):
                sample = torch.stack(sample).sum(0)
            if sample is not None:
                found.append((parameter, sample.float().reshape(patients, -1, *parameter.shape).sum(1)))
            for name in ("grad_sample", "_forward_counter"):
                if hasattr(parameter, name):
                    delattr(parameter, name)
        return OpacusBatch(found, values.detach())


class OpacusBatch:
    """Gradients (patients, ...) of every parameter."""

    def __init__(self, gradients: list[tuple[nn.Parameter, Tensor]], losses: Tensor) -> None:
        self.gradients, self.losses = gradients, losses

    def norms(self) -> Tensor:
        """Return each patient's norm (patients,)."""
        return torch.stack([g.flatten(1).square().sum(1) for _, g in self.gradients]).sum(0).sqrt()

    def add_weighted(self, weights: Tensor) -> None:
        """Add the weighted sum to `grad`."""
        for parameter, gradients in self.gradients:
            _accumulate(parameter, torch.tensordot(weights.float(), gradients, dims=1))


def choose_engine(network: nn.Module) -> Engine:
    """Return the engine for a network: ours, or Opacus where it has a trained layer that ours does not know."""
    refuse_batch_norm(network)
    return OpacusGradients(network) if unknown_layers(network) else GhostGradients(network)


def refuse_batch_norm(network: nn.Module) -> None:
    """Raise `DataDoubleError` where a layer computes with several samples at once."""
    bad = nn.modules.batchnorm._BatchNorm
    for name, module in network.named_modules():
        if isinstance(module, bad) and not isinstance(module, nn.modules.instancenorm._InstanceNorm):
            raise DataDoubleError(
                "batch norm mixes patients, so that no gradient is one patient's",
                where=name or type(module).__name__,
                found=type(module).__name__,
                remedy="use group norm: `replace_batch_norm(network)` puts it in its place",
            )
        if isinstance(module, nn.modules.instancenorm._InstanceNorm) and module.track_running_stats:
            raise DataDoubleError(
                "instance norm that keeps running statistics takes them from private pictures",
                where=name,
                remedy="build it with track_running_stats=False",
            )


def replace_batch_norm(network: nn.Module, groups: int = 8) -> nn.Module:
    """Put group norm (at most `groups` groups) in place of every batch norm, in place; return the network."""
    for name, child in list(network.named_children()):
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            count = max(g for g in range(1, groups + 1) if child.num_features % g == 0)
            norm = nn.GroupNorm(count, child.num_features, eps=child.eps, affine=child.affine)
            setattr(network, name, norm)
        else:
            replace_batch_norm(child, groups)
    return network


def unknown_layers(network: nn.Module) -> list[str]:
    """Return the names of layers with trained parameters of their own for which there is no rule."""
    found = []
    for name, module in network.named_modules():
        trained = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
        if trained and rule_for(module) is None:
            found.append(f"{name} ({type(module).__name__})" if name else type(module).__name__)
    return found


def check_per_sample_gradients(
    network: nn.Module,
    loss: Callable[..., Tensor],
    batch: tuple[Tensor, ...],
    *,
    engine: Callable[[nn.Module], Engine] = choose_engine,
    bf16: bool = False,
    tolerance: float = TOLERANCE,
) -> float:
    """Compare every sample's gradient with a loop over single samples; refuse where they differ.

    Works on a copy of the network, each parameter moved by a little noise: a layer that starts at zero would hide
    those before it. Computed in float32 on the network's device; with `bf16` once more under autocast, to what
    its rounding allows.

    A ReLU's derivative jumps at zero. Where a batch and a single sample round an input of it to either side (-3e-7 and
    4e-7, say), one pixel of one feature map has another derivative, and gradients differ by up to a hundredth although
    none is wrong. Such an error is judged again in float64, where the two agree to 16 digits and a kink is hardly
    ever hit; what mixes samples, or leaves out a term, is as wrong there as here.

    Parameters
    ----------
    loss
        (network, *batch) -> (n,), each sample's own loss.
    batch
        Tensors of n samples each; three or four samples are enough.
    tolerance
        Greatest relative error of a parameter's gradient.

    Returns
    -------
    float
        The greatest relative error found, in float32; in float64 where that decided.

    Raises
    ------
    DataDoubleError
        When a gradient is wrong, or mixes samples, or a trained parameter gets none.
    """
    trial = copy.deepcopy(network).train()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trial.parameters():
            moved = 0.02 * torch.randn(parameter.shape, generator=random)
            parameter.add_(moved.to(parameter.device, parameter.dtype))
    for module in trial.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()  # else the loop would drop others
    worst = _greatest_error(trial, loss, batch, engine, False)
    if tolerance < worst.value <= TOLERANCE_KINK:
        worst = _in_float64(trial, loss, batch, engine) or worst
    _refuse_beyond(tolerance, worst, False)
    if bf16:
        _refuse_beyond(TOLERANCE_BF16, _greatest_error(trial, loss, batch, engine, True), True)
    return worst.value


class _Error(NamedTuple):
    """The greatest relative error, infinite where one is no number, and whose it is."""

    value: float
    where: str

    def or_greater(self, value: float, where: str) -> "_Error":
        value = value if math.isfinite(value) else math.inf
        return _Error(value, where) if value > self.value else self


def _in_float64(
    network: nn.Module,
    loss: Callable[..., Tensor],
    batch: tuple[Tensor, ...],
    engine: Callable[[nn.Module], Engine],
) -> _Error | None:
    """The error in float64; None where the network or its loss does not work in it."""
    # In place: a network that keeps its last outputs, as DynUNet does, cannot be copied any more.
    network.double()
    try:
        found = _greatest_error(
            network, loss, tuple(x.double() if x.is_floating_point() else x for x in batch), engine, False
        )
    except (RuntimeError, TypeError):
        return None
    finally:
        network.float()
    return found._replace(where=f"{found.where}, in float64")


def _greatest_error(
    network: nn.Module,
    loss: Callable[..., Tensor],
    batch: tuple[Tensor, ...],
    engine: Callable[[nn.Module], Engine],
    bf16: bool,
) -> _Error:
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    device = next(iter(trained.values())).device
    count, worst, reached = len(batch[0]), _Error(0.0, ""), set()
    with _exact_products(device), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        found = engine(network).per_patient(lambda: loss(network, *batch), count)
        norms = found.norms()
        for i in range(count):
            alone = loss(network, *(part[i : i + 1] for part in batch)).float().sum()
            values = torch.autograd.grad(alone, list(trained.values()), allow_unused=True)
            truth = {
                name: torch.zeros_like(p) if value is None else value.float()
                for (name, p), value in zip(trained.items(), values, strict=True)
            }
            network.zero_grad(set_to_none=True)
            found.add_weighted(torch.eye(count, device=device)[i])
            norm = torch.stack([value.norm() for value in truth.values()]).norm()
            for name, parameter in trained.items():
                if truth[name].any():
                    reached.add(name)
                given = torch.zeros_like(truth[name]) if parameter.grad is None else parameter.grad
                # A gradient that is next to nothing is held against the whole one: its digits are rounding.
                scale = torch.maximum(truth[name].norm(), 1e-2 * norm).clamp(min=1e-30)
                error = float((given.float() - truth[name]).norm() / scale)
                worst = worst.or_greater(error, f"sample {i}, parameter {name}")
            error = float(abs(norms[i] - norm) / norm.clamp(min=1e-30))
            worst = worst.or_greater(error, f"sample {i}, norm")
    network.zero_grad(set_to_none=True)
    missing = sorted(set(trained) - reached)
    if missing:
        raise DataDoubleError(
            "no gradient reaches a trained parameter, so that the check says nothing about it",
            where=missing[0],
            found=f"{len(missing)} of {len(trained)} parameters",
            remedy="freeze it (requires_grad_(False)), or give a batch that uses it",
        )
    return worst


def _refuse_beyond(tolerance: float, found: _Error, bf16: bool) -> None:
    if found.value <= tolerance:
        return
    raise DataDoubleError(
        "per-sample gradients are not those of single samples: private training would protect nothing",
        where=found.where,
        found=f"relative error {found.value:.1e}, allowed {tolerance:.0e}{' in bf16' if bf16 else ''}",
        remedy="the loss must not mix samples; for a layer of a new kind use the engine 'opacus'",
    )


def _check_rows(values: Tensor, patients: int) -> None:
    if values.dim() != 1 or len(values) % patients:
        raise DataDoubleError(
            "the loss must give one number a sample, as many for each patient",
            found=f"{tuple(values.shape)} for {patients} patients",
        )


def _wanted(module: nn.Module) -> tuple[bool, bool]:
    """Return whether weight and bias are trained."""
    parts = [getattr(module, name, None) for name in ("weight", "bias")]
    weight, bias = (part is not None and part.requires_grad for part in parts)
    return weight, bias


@contextmanager
def _frozen(modules: list[nn.Module]) -> Iterator[None]:
    """Keep the layers' parameters out of the graph, so that backward computes no gradient of them."""
    parameters = [p for module in modules for p in module.parameters(recurse=False) if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


@contextmanager
def _exact_products(device: torch.device) -> Iterator[None]:
    """Float32 products in float32, also on a GPU that would round convolutions to TF32; and no autocast."""
    with ExitStack() as stack:
        stack.enter_context(torch.autocast(device.type, enabled=False))
        if device.type == "cuda":
            stack.enter_context(torch.backends.cudnn.flags(allow_tf32=False))
        yield


def _make_contiguous(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (inputs[0].contiguous(), *inputs[1:])


def _accumulate(parameter: nn.Parameter, gradient: Tensor) -> None:
    gradient = gradient.to(parameter.dtype)
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
