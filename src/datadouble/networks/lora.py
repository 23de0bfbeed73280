"""Low-rank adapters (Hu et al., ICLR 2022): frozen layers with a small trained product beside each.

Ours instead of peft's: no import of transformers, and both factors are plain `nn.Linear` (or `nn.Conv2d`), so that
per-sample gradients find them. The outputs are those of peft's adapters with the same factors (tested). A U-Net has few
linear layers, and adapters on these alone change little: there convolutions get them too.
"""

import math
from collections.abc import Collection, Iterator

import torch
from torch import Tensor, nn

from datadouble.errors import DataDoubleError


class LowRank(nn.Module):
    """y = base(x) + scaling * up(down(x)); `up` starts at zero, so that nothing changes at first.

    Parameters
    ----------
    base : the layer to adapt; frozen.
    rank : width of the product.
    scaling : alpha / rank of the paper.
    generator : source of `down`'s weights; None takes torch's global one.
    """

    def __init__(
        self, base: nn.Linear, rank: int, scaling: float = 1.0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.base, self.scaling = base.requires_grad_(False), scaling
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5), generator=generator)
        nn.init.zeros_(self.up.weight)
        self.to(base.weight.device, base.weight.dtype)

    @property
    def weight(self) -> Tensor:
        """The base's, for code that asks a layer for its dtype."""
        return self.base.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.scaling * self.up(self.down(x))

    def merged(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the `weight` (and `bias`) of one linear layer with the same answers, from this one's weights."""
        product = self.scaling * weights["up.weight"].float() @ weights["down.weight"].float()
        found = {"weight": (weights["base.weight"].float() + product).to(weights["base.weight"].dtype)}
        return found | ({"bias": weights["base.bias"]} if "base.bias" in weights else {})


class LowRankConv2d(LowRank):
    """The same beside a convolution, as peft has it: `down` has its kernel, stride and padding, `up` is of 1 x 1.

    Parameters
    ----------
    base : the layer to adapt, of one group; frozen.
    rank, scaling, generator : as in `LowRank`.
    """

    def __init__(
        self, base: nn.Conv2d, rank: int, scaling: float = 1.0, generator: torch.Generator | None = None
    ) -> None:
        nn.Module.__init__(self)
        if base.groups != 1 or base.padding_mode != "zeros":
            raise DataDoubleError(
                "only convolutions of one group with zero padding can be adapted",
                found=f"{base.groups} groups, padding {base.padding_mode}",
            )
        self.scaling = scaling
        down = nn.Conv2d(base.in_channels, rank, base.kernel_size, bias=False)  # type: ignore[arg-type]
        down.stride, down.padding, down.dilation = base.stride, base.padding, base.dilation
        layers = {"base": base.requires_grad_(False), "down": down}
        layers["up"] = nn.Conv2d(rank, base.out_channels, 1, bias=False)
        for name, layer in layers.items():
            self.add_module(name, layer)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5), generator=generator)
        nn.init.zeros_(self.up.weight)
        self.to(base.weight.device, base.weight.dtype)

    def merged(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the `weight` (and `bias`) of one convolution with the same answers, from this one's weights."""
        up, down = weights["up.weight"].float(), weights["down.weight"].float()
        product = self.scaling * torch.einsum("or,rikl->oikl", up[:, :, 0, 0], down)
        found = {"weight": (weights["base.weight"].float() + product).to(weights["base.weight"].dtype)}
        return found | ({"bias": weights["base.bias"]} if "base.bias" in weights else {})


def add_lora(
    network: nn.Module,
    rank: int,
    *,
    convolutions: bool = False,
    skip: Collection[str] = (),
    targets: Collection[str] = (),
    scaling: float = 1.0,
    generator: torch.Generator | None = None,
) -> int:
    """Freeze `network` and put an adapter beside every linear layer, in place.

    Parameters
    ----------
    convolutions
        Also beside every convolution of one group.
    skip
        Names of modules, such as ``"final"``, that get none, with all below them.
    targets
        Names of the layers that get one: the end of a dotted path, such as ``"qkv"`` or ``"blocks.0.qkv"``; empty for
        all.

    Returns
    -------
    int
        Number of adapters.

    Raises
    ------
    DataDoubleError
        When the rank is not positive, the network has adapters or no layer to adapt, or one of `targets` is none of
        its layers. The network is then as it was.
    """
    if rank < 1:
        raise DataDoubleError("the rank of an adapter must be positive", where="rank", found=str(rank))
    if any(isinstance(module, LowRank) for module in network.modules()):
        raise DataDoubleError(
            "the network has adapters already", where=type(network).__name__, remedy="merge or swap these"
        )
    places = [
        (f"{path}.{name}".strip("."), parent, child)
        for path, parent in network.named_modules()
        for name, child in parent.named_children()
        if (isinstance(child, nn.Linear) or (convolutions and _is_plain_convolution(child)))
        and not set(f"{path}.{name}".strip(".").split(".")) & set(skip)
    ]
    if not places:
        kind = "layer" if convolutions else "linear layer"
        raise DataDoubleError(f"there is no {kind} to adapt", where=type(network).__name__)
    if targets:
        _check_targets(targets, [path for path, _, _ in places])
        places = [place for place in places if any(_ends_with(place[0], target) for target in targets)]
    network.requires_grad_(False)
    for path, parent, child in places:
        adapter = LowRankConv2d if isinstance(child, nn.Conv2d) else LowRank
        _put(parent, path, adapter(child, rank, scaling, generator))
    return len(places)


def _is_plain_convolution(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups == 1


def _ends_with(path: str, target: str) -> bool:
    return path == target or path.endswith(f".{target}")


def _check_targets(targets: Collection[str], paths: list[str]) -> None:
    """Refuse targets that are no layer, and say which there are."""
    absent = [target for target in targets if not any(_ends_with(path, target) for path in paths)]
    if absent:
        known = list(dict.fromkeys(path.rsplit(".", 1)[-1] for path in paths))
        known = [name for name in known if not name.isdecimal()] or paths
        raise DataDoubleError(
            "the network has no such layers to adapt",
            where="LoRA targets",
            found=", ".join(absent),
            remedy=f"choose among {', '.join(known)}",
        )


def _put(parent: nn.Module, path: str, layer: nn.Module) -> None:
    """Put a layer in the place of the one at `path`, of which `parent` is the module above."""
    name = path.rsplit(".", 1)[-1]
    if isinstance(parent, nn.Sequential | nn.ModuleList):
        parent[int(name)] = layer
    else:
        setattr(parent, name, layer)


def merged_state(network: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return `weights`, named as in `network` with adapters, as those of the network without: adapters folded in."""
    found = dict(weights)
    for name, module in network.named_modules():
        if isinstance(module, LowRank):
            start = f"{name}."
            own = {key[len(start) :]: found.pop(key) for key in list(found) if key.startswith(start)}
            found |= {start + key: value for key, value in module.merged(own).items()}
    return found


def _adapters(network: nn.Module) -> Iterator[tuple[str, LowRank]]:
    return ((name, module) for name, module in network.named_modules() if isinstance(module, LowRank))


def adapter_weights(network: nn.Module, weights: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Return the adapters' factors alone, by ``<layer>.down`` (rank, in) and ``<layer>.up`` (out, rank).

    Parameters
    ----------
    weights
        Those of `network`, such as its average; its own if not given.
    """
    state = network.state_dict() if weights is None else weights
    return {
        f"{name}.{factor}": state[f"{name}.{factor}.weight"].detach().clone()
        for name, _ in _adapters(network)
        for factor in ("down", "up")
    }


def swap_adapter(network: nn.Module, factors: dict[str, Tensor]) -> None:
    """Put other factors in the place of a network's adapters, as `adapter_weights` returned them.

    Raises
    ------
    DataDoubleError
        When they are those of other layers or of another rank. The network is then as it was.
    """
    own = adapter_weights(network)
    wrong = sorted(
        name
        for name in own.keys() | factors.keys()
        if name not in own or name not in factors or own[name].shape != factors[name].shape
    )
    if wrong or not own:
        raise DataDoubleError(
            "the adapter does not fit the network",
            where="LoRA",
            found=", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
            if own
            else "the network has no adapters",
            remedy="use an adapter of this base network, with its rank and its layers",
        )
    with torch.no_grad():
        for name, module in _adapters(network):
            module.down.weight.copy_(factors[f"{name}.down"])
            module.up.weight.copy_(factors[f"{name}.up"])


def merge_lora(network: nn.Module) -> int:
    """Fold the adapters into the layers beside which they stand, in place; return how many there were.

    The answers stay the same up to rounding, and cost what the network without adapters cost. It stays frozen.
    """
    found = list(_adapters(network))
    for path, adapter in found:
        with torch.no_grad():
            state = adapter.merged(adapter.state_dict())
            adapter.base.weight.copy_(state["weight"])
        _put(network.get_submodule(path.rpartition(".")[0]), path, adapter.base)
    return len(found)
