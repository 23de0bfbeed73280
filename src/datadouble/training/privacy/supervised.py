"""DP-SGD for segmenters and classifiers: a private generator's steps, for any network with a loss a sample.

In the compound scheme (Zhou et al., npj Digit Med 2024, fig. 5) such a network trains on a double, whose every
picture is a record of its own; on real pictures one record is one patient.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from datadouble.errors import DataDoubleError
from datadouble.randomness import seed_for
from datadouble.training.privacy.noise import add_noise
from datadouble.training.privacy.options import PrivacyOptions, PrivacyPlan, make_plan
from datadouble.training.privacy.per_sample import add_clipped, check_per_sample_gradients, choose_engine
from datadouble.training.privacy.sampling import PatientSampler

SampleLoss = Callable[[Tensor, Tensor], Tensor]
"""(scores (b, ...), targets (b, ...)) -> (b,)."""


class PrivateSteps(NamedTuple):
    """What a private training of a supervised network did."""

    plan: PrivacyPlan
    gradient_error: float  # greatest relative error of per-sample gradients, from the gate
    share_clipped: float

    def to_json(self) -> dict[str, Any]:
        """Return facts for evidence."""
        return self.plan.facts(["the network alone: what chose its pictures and settings is not covered"]) | {
            "gradient_error": self.gradient_error
        }


def supervised_plan(options: PrivacyOptions, steps: int, patients: np.ndarray) -> PrivacyPlan:
    """Return the plan of `steps` steps over the training rows' `patients`; nothing is spent on class shares.

    Raises
    ------
    DataDoubleError
        As `make_plan`.
    """
    from dataclasses import replace

    options = replace(options, shares_epsilon=0.0, trainable="full")
    return make_plan(options, steps * options.patients_per_step * options.images_per_patient, patients)


def train_privately(
    network: nn.Module,
    batch_of: Callable[[np.ndarray], tuple[Tensor, Tensor]],
    loss: SampleLoss,
    patients: np.ndarray,
    options: PrivacyOptions,
    *,
    steps: int,
    optimiser: torch.optim.Optimizer,
    rate: Callable[[int], float] | None = None,
    secret: int,
    bf16: bool = False,
    plan: PrivacyPlan | None = None,
    step_done: Callable[[], None] | None = None,
) -> PrivateSteps:
    """Train `network` in place with DP-SGD.

    Parameters
    ----------
    network
        On its device, without batch norm (`replace_batch_norm` mends that).
    batch_of
        Rows (b,) -> inputs and targets on that device; what it draws at random it draws for each row apart.
    loss
        Each sample's own loss.
    patients
        Patient of each training row; ``""`` for a row that is a record of its own.
    optimiser
        Over the network's parameters; it sees noised gradients only.
    rate
        Step number -> factor on each group's learning rate.
    secret
        Seed of sampling and noise; whoever knows it can undo the protection (`secrets.randbits(128)`).
    plan
        As made by `supervised_plan`, so that several trainings share the accounting.

    Raises
    ------
    DataDoubleError
        Before the first step, where per-sample gradients are wrong or no noise can reach the epsilon.
    """
    plan = plan or supervised_plan(options, steps, patients)
    if plan.steps != steps or plan.patients != len(PatientSampler(patients, 1, 1, 1, 0).groups):
        raise DataDoubleError(
            "the plan is of another training",
            where="privacy",
            found=f"{plan.steps} steps over {plan.patients} patients",
        )
    sampler = PatientSampler(patients, plan.patients_per_step, plan.images_per_patient, plan.draws, secret)
    device = next(network.parameters()).device
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    network.train()
    error = check_per_sample_gradients(
        network,
        lambda net, x, y: loss(net(x).float(), y),
        batch_of(np.arange(min(3, len(patients)))),
        bf16=bf16,
    )
    engine = choose_engine(network)
    parameters = [p for p in network.parameters() if p.requires_grad]
    first = [group["lr"] for group in optimiser.param_groups]
    clipped = seen = 0
    for step in range(steps):
        for group, value in zip(optimiser.param_groups, first, strict=True):
            group["lr"] = value * (rate(step) if rate else 1.0)
        optimiser.zero_grad(set_to_none=True)
        chosen = sampler.choose(step)
        if len(chosen.patients):
            inputs, targets = batch_of(chosen.rows)

            def losses(x: Tensor = inputs, y: Tensor = targets) -> Tensor:
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    scores = network(x)
                return loss(scores.float(), y)

            norms = add_clipped(engine.per_patient(losses, len(chosen.patients)), plan.clip)
            if not bool(norms.isfinite().all()):
                raise DataDoubleError("the loss is no longer a number", where=f"step {step}")
            clipped += int((norms > plan.clip).sum())
            seen += len(norms)
        add_noise(parameters, plan, seed_for(secret, "noise", step))
        optimiser.step()
        if step_done:
            step_done()
    optimiser.zero_grad(set_to_none=True)
    return PrivateSteps(plan, error, clipped / max(seen, 1))
