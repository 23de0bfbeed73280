"""An exponential moving average of weights whose half-life ramps up."""

import torch
from torch import Tensor, nn


class WeightAverage:
    """Average of a network's parameters, in float32.

    The half-life, counted in images, is at most `ramp_up` times the images seen so far (Karras et al., CVPR 2024,
    EDM2). A fixed decay of 0.9999 would still hold the first noise after a short run.

    Parameters
    ----------
    half_life
        In images. The paper's decay of 0.9999 at batch 256 is a half-life of 1.77 million.
    ramp_up
        Greatest share of the images seen that the half-life may be.
    """

    def __init__(self, network: nn.Module, half_life: float, ramp_up: float = 0.09) -> None:
        self.half_life, self.ramp_up = half_life, ramp_up
        self.weights = {name: value.detach().float().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, images_seen: int, batch: int) -> None:
        """Take in the weights after a step of `batch` images, `images_seen` of them in all."""
        half_life = min(self.half_life, self.ramp_up * images_seen)
        weight = 1 - 0.5 ** (batch / max(half_life, 1e-8))
        current = network.state_dict()
        floating = [name for name, value in self.weights.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [self.weights[name] for name in floating], [current[name].float() for name in floating], weight
        )

    def copy_to(self, network: nn.Module) -> None:
        """Load the averaged weights into `network`."""
        network.load_state_dict(self.weights)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Put back saved weights."""
        for name, value in weights.items():
            self.weights[name].copy_(value)
