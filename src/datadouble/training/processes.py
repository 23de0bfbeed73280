"""One process or many: started by torchrun, held together by accelerate, equal in result.

Without torchrun nothing is imported and every function is the trivial one.
"""

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from datadouble.errors import DataDoubleError

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass
class Processes:
    """The processes that share a job.

    Attributes
    ----------
    rank, count : int
        This process, and how many there are.
    device : torch.device
    """

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _accelerator: "Accelerator | None" = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """Return which places of a batch of `batch` images are this process's.

        Raises
        ------
        DataDoubleError
            When the batch cannot be divided evenly.
        """
        if batch % self.count:
            raise DataDoubleError(
                f"the batch must divide by the {self.count} processes",
                where="training.batch",
                found=str(batch),
                remedy=f"use a multiple of {self.count}",
            )
        size = batch // self.count
        return slice(self.rank * size, (self.rank + 1) * size)

    def prepare(self, network: nn.Module) -> nn.Module:
        """Return `network` with gradients averaged over the processes."""
        return network if self._accelerator is None else self._accelerator.prepare_model(network)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over the processes."""
        return value if self._accelerator is None else self._accelerator.reduce(value, reduction="mean")

    def gather(self, values: list[Any]) -> list[Any]:
        """Return the lists of all processes, one after another."""
        if self._accelerator is None:
            return values
        from accelerate.utils import gather_object

        return gather_object(values)

    def broadcast(self, value: Any) -> Any:
        """Return the main process's value in every process."""
        if self._accelerator is None:
            return value
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def wait(self) -> None:
        """Wait until every process is here."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()


def start_processes() -> Processes:
    """Return this process's place: alone on the best device, or one of torchrun's."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Processes(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    if accelerator.num_processes != count:
        raise DataDoubleError(
            f"{count} processes were asked for and accelerate started {accelerator.num_processes}",
            remedy="start with `torchrun --nproc_per_node N -m datadouble ...`",
        )
    return Processes(accelerator.process_index, count, accelerator.device, accelerator)
