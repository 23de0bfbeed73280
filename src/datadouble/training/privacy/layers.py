"""What each kind of layer tells of its patients' gradients: their norms, and their weighted sum.

For a layer y = W a, a patient's gradient is the sum over tokens of g a', with a the layer's input and g the gradient
of the loss by its output. Its norm needs no gradient: |sum g a'|^2 = sum over pairs of tokens of (a.a)(g.g) (Goodfellow
2015; Li et al., ICLR 2022, "ghost clipping"). Where tokens outnumber weights the gradient itself is cheaper (Bu et
al., NeurIPS 2022, "mixed ghost clipping"); each layer takes the cheaper way.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

LARGEST = 32_000_000  # numbers of a temporary: 128 MB


class Seen(NamedTuple):
    """One use of a layer: its input, and the gradient of the loss by its output; rows first in both."""

    input: Tensor
    gradient: Tensor


class Rule(NamedTuple):
    """How a kind of layer is treated.

    Attributes
    ----------
    squared_norms : (module, uses, patients, want weight, want bias) -> (patients,)
    weighted : (module, uses, weight of each row (rows,), want weight, want bias) -> gradient of weight, of bias
    fits : whether a layer of the kind is one that the rule knows
    """

    squared_norms: Callable[[nn.Module, list[Seen], int, bool, bool], Tensor]
    weighted: Callable[[nn.Module, list[Seen], Tensor, bool, bool], tuple[Tensor | None, Tensor | None]]
    fits: Callable[[nn.Module], bool]


def rule_for(module: nn.Module) -> Rule | None:
    """Return how `module` is treated, or None where it is not known here.

    Of exactly that type: a subclass, such as a convolution that standardises its weights, may compute another thing.
    """
    rule = RULES.get(type(module))
    return rule if rule is not None and rule.fits(module) else None


def _scaled(gradient: Tensor, weights: Tensor) -> Tensor:
    return gradient.float() * weights.view(-1, *[1] * (gradient.dim() - 1))


def pair_norms(a: Tensor, g: Tensor) -> Tensor:
    """Return the squared norms (p,) of sum over t of g_t a_t', for a (p, t, m) and g (p, t, n)."""
    patients, tokens, m, n = *a.shape, g.shape[2]
    if tokens == 1:
        return a.square().sum((1, 2)) * g.square().sum((1, 2))
    by_pairs = tokens * (m + n) < m * n
    at_once = max(1, LARGEST // (2 * tokens * tokens if by_pairs else m * n))
    parts = []
    for start in range(0, patients, at_once):
        left, right = a[start : start + at_once], g[start : start + at_once]
        if by_pairs:
            gram = torch.bmm(left, left.transpose(1, 2)).mul_(torch.bmm(right, right.transpose(1, 2)))
            # Rounding may leave a tiny negative number where the true one is zero.
            parts.append(gram.sum((1, 2)).clamp_(min=0))
        else:
            parts.append(torch.bmm(right.transpose(1, 2), left).square_().sum((1, 2)))
    return torch.cat(parts) if len(parts) != 1 else parts[0]


# Linear: input (rows, ..., m), gradient (rows, ..., n)


def _linear_norms(module: nn.Module, uses: list[Seen], patients: int, weight: bool, bias: bool) -> Tensor:
    a = torch.cat([u.input.float().reshape(patients, -1, u.input.shape[-1]) for u in uses], dim=1)
    g = torch.cat([u.gradient.float().reshape(patients, -1, u.gradient.shape[-1]) for u in uses], dim=1)
    total = pair_norms(a, g) if weight else torch.zeros(patients, device=g.device)
    return total + g.sum(1).square().sum(1) if bias else total


def _linear_sum(
    module: nn.Module, uses: list[Seen], weights: Tensor, weight: bool, bias: bool
) -> tuple[Tensor | None, Tensor | None]:
    scaled = [_scaled(u.gradient, weights).flatten(0, -2) for u in uses]
    inputs = [u.input.float().flatten(0, -2) for u in uses]
    return (
        _add([g.t() @ a for g, a in zip(scaled, inputs, strict=True)]) if weight else None,
        _add([g.sum(0) for g in scaled]) if bias else None,
    )


# Convolution: its input's patches are a linear layer's tokens


def _patches(module: nn.Conv2d | nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """Return (rows, places, channels * k * k)."""
    assert not isinstance(module.padding, str)
    unfolded = F.unfold(x.float(), module.kernel_size, module.dilation, module.padding, module.stride)
    return unfolded.transpose(1, 2)


def _by_patient(x: Tensor, patients: int) -> Tensor:
    return x.reshape(patients, -1, x.shape[-1])


def _convolution_norms(
    module: nn.Module, uses: list[Seen], patients: int, weight: bool, bias: bool
) -> Tensor:
    """Patches are large: as many patients at a time as memory likes."""
    assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    turned = isinstance(
        module, nn.ConvTranspose2d
    )  # its weights' gradient is a convolution's, ends exchanged
    rows = len(uses[0].input) // patients
    kernel = module.kernel_size[0] * module.kernel_size[1]
    largest = max((u.gradient if turned else u.input).numel() // len(u.input) * kernel for u in uses)
    at_once = max(1, LARGEST // max(1, largest * rows))
    parts = []
    for start in range(0, patients, at_once):
        here = slice(start * rows, (start + at_once) * rows)
        count = min(at_once, patients - start)
        lefts, rights = [], []
        total = torch.zeros(count, device=uses[0].gradient.device)
        for use in uses:
            outer, inner = (use.gradient, use.input) if turned else (use.input, use.gradient)
            if weight:
                lefts.append(_by_patient(_patches(module, outer[here]), count))
                rights.append(_by_patient(inner[here].float().flatten(2).transpose(1, 2), count))
        if weight:
            total = total + pair_norms(torch.cat(lefts, dim=1), torch.cat(rights, dim=1))
        if bias:
            summed = _add([u.gradient[here].float().sum((2, 3)).view(count, rows, -1).sum(1) for u in uses])
            total = total + summed.square().sum(1)
        parts.append(total)
    return torch.cat(parts)


def _convolution_sum(
    module: nn.Module, uses: list[Seen], weights: Tensor, weight: bool, bias: bool
) -> tuple[Tensor | None, Tensor | None]:
    assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and not isinstance(module.padding, str)
    found, scaled = [], [_scaled(u.gradient, weights).contiguous() for u in uses]
    for use, g in zip(uses, scaled, strict=True) if weight else ():
        outer, inner = use.input.float().contiguous(), g
        if isinstance(module, nn.ConvTranspose2d):
            outer, inner = inner, outer
        gradient = conv2d_weight(
            outer, module.weight.shape, inner, module.stride, module.padding, module.dilation
        )
        found.append(gradient)
    return _add(found) if weight else None, _add([g.sum((0, 2, 3)) for g in scaled]) if bias else None


def _plain_convolution(module: nn.Module) -> bool:
    assert isinstance(module, nn.Conv2d)
    return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _plain_transpose(module: nn.Module) -> bool:
    assert isinstance(module, nn.ConvTranspose2d)
    return module.groups == 1 and not any(module.output_padding)


# Embedding: input (rows, ...) of numbers, gradient (rows, ..., n)


def _embedding_norms(module: nn.Module, uses: list[Seen], patients: int, weight: bool, bias: bool) -> Tensor:
    numbers = torch.cat([u.input.reshape(patients, -1) for u in uses], dim=1)
    g = torch.cat([u.gradient.float().reshape(patients, -1, u.gradient.shape[-1]) for u in uses], dim=1)
    same = numbers[:, :, None] == numbers[:, None, :]
    return (torch.bmm(g, g.transpose(1, 2)) * same).sum((1, 2)).clamp_(min=0)


def _embedding_sum(
    module: nn.Module, uses: list[Seen], weights: Tensor, weight: bool, bias: bool
) -> tuple[Tensor | None, Tensor | None]:
    assert isinstance(module, nn.Embedding)
    total = torch.zeros_like(module.weight, dtype=torch.float32)
    for use in uses:
        total.index_add_(0, use.input.flatten(), _scaled(use.gradient, weights).flatten(0, -2))
    return total, None


def _plain_embedding(module: nn.Module) -> bool:
    assert isinstance(module, nn.Embedding)
    return module.padding_idx is None and not module.scale_grad_by_freq and module.max_norm is None


# Norms: gradient of gain and shift are sums over what the norm is taken within


def _normalised(module: nn.Module, x: Tensor) -> Tensor:
    x = x.float()
    if isinstance(module, nn.LayerNorm):
        return F.layer_norm(x, module.normalized_shape, eps=module.eps)
    if isinstance(module, nn.GroupNorm):
        return F.group_norm(x, module.num_groups, eps=module.eps)
    assert isinstance(module, nn.InstanceNorm2d | nn.InstanceNorm1d | nn.InstanceNorm3d)
    return F.instance_norm(x, eps=module.eps)


def _norm_gradients(module: nn.Module, use: Seen) -> tuple[Tensor, Tensor]:
    """Return each row's gradient of gain and of shift (rows, n)."""
    g = use.gradient.float()
    gained = g * _normalised(module, use.input)
    if isinstance(module, nn.LayerNorm):
        n = len(module.normalized_shape)
        return (
            gained.flatten(-n).flatten(1, -2).sum(1) if g.dim() > n + 1 else gained.flatten(1),
            g.flatten(-n).flatten(1, -2).sum(1) if g.dim() > n + 1 else g.flatten(1),
        )
    return gained.flatten(2).sum(2), g.flatten(2).sum(2)


def _norm_norms(module: nn.Module, uses: list[Seen], patients: int, weight: bool, bias: bool) -> Tensor:
    rows = [_norm_gradients(module, use) for use in uses]
    total = torch.zeros(patients, device=uses[0].gradient.device)
    for wanted, place in ((weight, 0), (bias, 1)):
        if wanted:
            summed = _add([r[place].view(patients, -1, r[place].shape[-1]).sum(1) for r in rows])
            total = total + summed.square().sum(1)
    return total


def _norm_sum(
    module: nn.Module, uses: list[Seen], weights: Tensor, weight: bool, bias: bool
) -> tuple[Tensor | None, Tensor | None]:
    rows = [_norm_gradients(module, use) for use in uses]
    assert isinstance(module.weight, Tensor)
    shape = module.weight.shape
    found = [_add([weights @ r[place] for r in rows]).view(shape) for place in (0, 1)]
    return found[0] if weight else None, found[1] if bias else None


def _no_statistics(module: nn.Module) -> bool:
    return not getattr(module, "track_running_stats", False)


def _add(parts: list[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: Rule(_linear_norms, _linear_sum, lambda _: True),
    nn.Conv2d: Rule(_convolution_norms, _convolution_sum, _plain_convolution),
    nn.ConvTranspose2d: Rule(_convolution_norms, _convolution_sum, _plain_transpose),
    nn.Embedding: Rule(_embedding_norms, _embedding_sum, _plain_embedding),
    nn.LayerNorm: Rule(_norm_norms, _norm_sum, lambda _: True),
    nn.GroupNorm: Rule(_norm_norms, _norm_sum, lambda _: True),
    nn.InstanceNorm2d: Rule(_norm_norms, _norm_sum, _no_statistics),
}
