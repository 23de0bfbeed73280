"""The noise of a private step."""

import torch
from torch import nn

from datadouble.training.privacy.options import PrivacyPlan


@torch.no_grad()
def add_noise(parameters: list[nn.Parameter], plan: PrivacyPlan, seed: int) -> None:
    """Add the step's noise to the summed gradients, and divide by the expected number of patients.

    The true number is a secret. A parameter that no patient's gradient reached gets its noise all the same.
    """
    random = torch.Generator(parameters[0].device).manual_seed(seed)
    for parameter in parameters:
        noise = torch.empty_like(parameter, memory_format=torch.contiguous_format)
        noise.normal_(0.0, plan.noise_multiplier * plan.clip, generator=random)
        if parameter.grad is not None:
            noise += parameter.grad
        parameter.grad = noise.div_(plan.patients_per_step)
