"""Whose membership attacks on downstream models ask for: members and others of the same centres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datadouble.audit.utility.segmenter_data import Cases
from datadouble.errors import DataDoubleError
from datadouble.randomness import generator_for

CONTROL_PATIENTS = 24  # learned by heart
LEAST_PATIENTS = 8


@dataclass(frozen=True)
class Subjects:
    """The patients whose membership is asked for.

    Parameters
    ----------
    cases : Cases
        Pictures (slices of volumes: ``cases.slices()``) with masks.
    member : ndarray of bool
        (n,): whether the generator (or the network itself) learned from the picture.
    sites : ndarray of str
        (n,): centre of each.
    """

    cases: Cases
    member: np.ndarray
    sites: np.ndarray

    def only(self, keep: np.ndarray) -> Subjects:
        """The subjects that a boolean array picks."""
        return Subjects(self.cases.only(keep), self.member[keep], self.sites[keep])


def check_same_centres(member: np.ndarray, sites: np.ndarray, patients: np.ndarray) -> None:
    """Refuse members and others of different centres.

    Raises
    ------
    DataDoubleError
        Naming every centre whose patients are all on one side; a centre with one patient cannot be on both.
    """
    member, sites = np.asarray(member, bool), np.asarray(sites).astype(str)
    faults = []
    for site in np.unique(sites):
        here = sites == site
        if member[here].all() or not member[here].any():
            count = len(np.unique(np.asarray(patients)[here]))
            side = "members" if member[here].all() else "others"
            faults.append(f"{site or 'no site'}: {count} patient{'s' if count > 1 else ''}, all {side}")
    if faults:
        raise DataDoubleError(
            "members and others must come from the same centres",
            where="site",
            found="; ".join(faults),
            remedy="leave these centres out, or split by patient within each centre",
        )


def same_centres(member: np.ndarray, sites: np.ndarray) -> np.ndarray:
    """Boolean (n,): pictures of centres that have members and others, to leave the rest out knowingly."""
    member, sites = np.asarray(member, bool), np.asarray(sites).astype(str)
    good = [site for site in np.unique(sites) if 0 < member[sites == site].mean() < 1]
    return np.isin(sites, good)


def some_of(subjects: Subjects, seed: int) -> np.ndarray:
    """Boolean (n,): pictures of some members, and of as many others, evenly over the centres."""
    rng = generator_for(seed, "by heart")
    patients = subjects.cases.patients
    centre = dict(zip(patients.tolist(), subjects.sites.tolist(), strict=True))
    sides = []
    for side in (subjects.member, ~subjects.member):
        turn: dict[str, int] = {}
        order = []
        for patient in rng.permutation(np.unique(patients[side])).tolist():
            turn[centre[patient]] = turn.get(centre[patient], 0) + 1
            order.append((turn[centre[patient]], patient))
        sides.append([patient for _, patient in sorted(order, key=lambda entry: entry[0])])
    count = min(CONTROL_PATIENTS, *(len(side) for side in sides))
    keep = np.isin(patients, [*sides[0][:count], *sides[1][:count]])
    # A centre that was drawn on one side only tells nothing.
    return keep & _within(keep, subjects)


def _within(keep: np.ndarray, subjects: Subjects) -> np.ndarray:
    good = np.zeros(len(keep), bool)
    good[keep] = same_centres(subjects.member[keep], subjects.sites[keep])
    return good


def check_subjects(subjects: Subjects, own: Cases) -> None:
    """Refuse volumes, patients on two sides, too few of them, and centres of one side.

    Raises
    ------
    DataDoubleError
    """
    patients, member = subjects.cases.patients, np.asarray(subjects.member, bool)
    if not isinstance(subjects.cases.images, np.ndarray) or not isinstance(own.images, np.ndarray):
        raise DataDoubleError(
            "attacks read pictures, not volumes", where="cases", remedy="give the slices: cases.slices()"
        )
    both = set(patients[member]) & set(patients[~member])
    if both or set(own.patients) & set(patients):
        raise DataDoubleError(
            "a patient is a member and another" if both else "the attacker's own pictures show subjects",
            where="patient_id",
            found=f"{len(both) or len(set(own.patients) & set(patients))} patients",
            remedy="split the cohort by patient: `datadouble split`",
        )
    counts = [len(np.unique(part)) for part in (patients[member], patients[~member], own.patients)]
    if min(counts) < LEAST_PATIENTS:
        raise DataDoubleError(
            f"attacks on a model need {LEAST_PATIENTS} patients a side",
            where="patient_id",
            found=f"{counts[0]} members, {counts[1]} others, {counts[2]} of the attacker's own",
            remedy="use more patients",
        )
    check_same_centres(member, subjects.sites, patients)
