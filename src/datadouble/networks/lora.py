"""Low-rank adapters (Hu et al., ICLR 2022): frozen linear layers with a small trained product beside each.

Ours instead of peft's: no import of transformers, and both factors are plain `nn.Linear`, so that per-sample gradients
find them. The outputs are those of peft's adapters with the same factors (tested).
"""

import math
from collections.abc import Collection

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


def add_lora(
    network: nn.Module,
    rank: int,
    *,
    skip: Collection[str] = (),
    scaling: float = 1.0,
    generator: torch.Generator | None = None,
) -> int:
    """Freeze `network` and put an adapter beside every linear layer, in place.

    Parameters
    ----------
    skip
        Names of modules, such as ``"final"``, that get none, with all below them.

    Returns
    -------
    int
        Number of adapters.

    Raises
    ------
    DataDoubleError
        When the rank is not positive, or there is no linear layer to adapt.
    """
    if rank < 1:
        raise DataDoubleError("the rank of an adapter must be positive", where="rank", found=str(rank))
    network.requires_grad_(False)
    places = [
        (parent, name, child)
        for path, parent in network.named_modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear) and not set(f"{path}.{name}".strip(".").split(".")) & set(skip)
    ]
    if not places:
        raise DataDoubleError("there is no linear layer to adapt", where=type(network).__name__)
    for parent, name, child in places:
        adapter = LowRank(child, rank, scaling, generator)
        if isinstance(parent, nn.Sequential | nn.ModuleList):
            parent[int(name)] = adapter
        else:
            setattr(parent, name, adapter)
    return len(places)


def merged_state(network: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return `weights`, named as in `network` with adapters, as those of the network without: adapters folded in."""
    found = dict(weights)
    for name, module in network.named_modules():
        if isinstance(module, LowRank):
            start = f"{name}."
            own = {key[len(start) :]: found.pop(key) for key in list(found) if key.startswith(start)}
            found |= {start + key: value for key, value in module.merged(own).items()}
    return found
