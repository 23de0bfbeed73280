"""Which patients a step takes: each with the same chance, on its own, as the accountant assumes.

One record is one patient. Of a patient that is taken, `images_per_patient` pictures are chosen and each is noised
`draws` times; the gradient of their mean is the patient's one gradient. What is chosen follows from (secret, step) and,
within a patient, from nothing that other patients decide.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from datadouble.errors import DataDoubleError
from datadouble.randomness import generator_for, torch_generator_for


class Chosen(NamedTuple):
    """What a step learns from.

    Attributes
    ----------
    patients : (p,) int64, numbers of the patients taken; empty when chance took none.
    rows : (p * views,) int64, training images, a patient's together.
    times : (p * views,) float64 tensor in [0, 1): a patient's diffusion times, one in each equal stratum.
    """

    patients: np.ndarray
    rows: np.ndarray
    times: torch.Tensor


class PatientSampler:
    """Poisson sampling of patients.

    Parameters
    ----------
    patients
        Patient of each training row, any names; a row without one (``""``) is a patient of its own.
    patients_per_step
        Expected number of patients of a step; their chance is this over all patients.
    images_per_patient, draws
        Pictures of a patient that is taken (with replacement where it has fewer) and noise draws of each.
    secret
        Seed; whoever knows it can undo the protection.

    Raises
    ------
    DataDoubleError
        When more patients are asked for than there are, or a number is not positive.
    """

    def __init__(
        self,
        patients: Sequence[str] | np.ndarray,
        patients_per_step: int,
        images_per_patient: int,
        draws: int,
        secret: int,
    ) -> None:
        self.groups = rows_by_patient(patients)
        if min(patients_per_step, images_per_patient, draws) < 1:
            raise DataDoubleError(
                "patients_per_step, images_per_patient and draws must be positive",
                where="privacy",
                found=f"{patients_per_step}, {images_per_patient}, {draws}",
            )
        if patients_per_step > len(self.groups):
            raise DataDoubleError(
                "a step cannot take more patients than there are",
                where="privacy.patients_per_step",
                found=f"{patients_per_step} of {len(self.groups)}",
                remedy=f"at most {len(self.groups)}; a tenth of the patients or fewer protects better",
            )
        self.images_per_patient, self.draws, self._secret = images_per_patient, draws, secret
        self.rate = patients_per_step / len(self.groups)

    @property
    def views(self) -> int:
        """Return the rows of a patient in a step."""
        return self.images_per_patient * self.draws

    def choose(self, step: int) -> Chosen:
        """Return what step number `step` learns from."""
        random = generator_for(self._secret, "patients", step)
        taken = np.flatnonzero(random.random(len(self.groups)) < self.rate)
        rows = np.empty((len(taken), self.images_per_patient), dtype=np.int64)
        for place, patient in enumerate(taken):
            group = self.groups[patient]
            few = len(group) < self.images_per_patient
            rows[place] = random.choice(group, self.images_per_patient, replace=few)
        clock = torch_generator_for(self._secret, "times", step)
        shape = (len(taken), self.views)
        strata = torch.rand(shape, generator=clock).argsort(dim=1)
        times = (strata + torch.rand(shape, generator=clock, dtype=torch.float64)) / self.views
        # Each picture's draws lie side by side: its strata are a random choice among the patient's.
        return Chosen(taken, np.repeat(rows.ravel(), self.draws), times.flatten())


def patients_of(table: Any) -> np.ndarray:
    """Return each row's unit of protection (n,): its patient, and one with all that share a duplicate group.

    A picture that also lies under another patient's name would otherwise be protected by half.
    """
    from datadouble.cohort.split import units_of

    units = np.empty(len(table), dtype=object)
    for number, rows in enumerate(units_of(table)):
        units[rows] = f"unit {number}"
    return units.astype(str)


def rows_by_patient(patients: Sequence[str] | np.ndarray) -> list[np.ndarray]:
    """Return each patient's rows, in the order in which patients first appear."""
    groups: dict[str, list[int]] = {}
    for row, name in enumerate(patients):
        key = str(name)
        groups.setdefault(f"patient {key}" if key else f"row {row}", []).append(row)
    return [np.array(rows, dtype=np.int64) for rows in groups.values()]
