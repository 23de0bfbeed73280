"""Low-rank adapters beside convolutions, as peft has them: down by a k x k convolution, up by one of 1 x 1.

A U-Net has few linear layers; adapters on these alone change little. `LowRankConv2d` is a `LowRank`: whatever folds,
lists or saves those takes it as well.
"""

import math
from collections.abc import Collection

import torch
from torch import Tensor, nn

from datadouble.errors import DataDoubleError
from datadouble.networks.lora import LowRank
from datadouble.networks.lora import _check_targets as check_targets
from datadouble.networks.lora import _ends_with as ends_with
from datadouble.networks.lora import _put as put_layer


class LowRankConv2d(LowRank):
    """y = base(x) + scaling * up(down(x)) of a convolution; `down` has its kernel, stride and padding.

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


def add_lora_everywhere(
    network: nn.Module,
    rank: int,
    *,
    skip: Collection[str] = (),
    targets: Collection[str] = (),
    scaling: float = 1.0,
    generator: torch.Generator | None = None,
) -> int:
    """Freeze `network` and put an adapter beside every linear layer and every convolution of one group, in place.

    Parameters
    ----------
    skip, targets
        As in `datadouble.networks.lora.add_lora`.

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
        (path, child)
        for path, child in network.named_modules()
        if path
        and (isinstance(child, nn.Linear) or (isinstance(child, nn.Conv2d) and child.groups == 1))
        and not set(path.split(".")) & set(skip)
    ]
    if not places:
        raise DataDoubleError("there is no layer to adapt", where=type(network).__name__)
    if targets:
        check_targets(targets, [path for path, _ in places])
        places = [place for place in places if any(ends_with(place[0], target) for target in targets)]
    network.requires_grad_(False)
    for path, child in places:
        kind = LowRankConv2d if isinstance(child, nn.Conv2d) else LowRank
        parent = network.get_submodule(path.rpartition(".")[0])
        put_layer(parent, path, kind(child, rank, scaling, generator))  # type: ignore[arg-type]
    return len(places)
