"""Which real pictures play which part in an audit, and what to say where splits are missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from datadouble.errors import DataDoubleError

if TYPE_CHECKING:
    from datadouble.cohort.cohort import Cohort


@dataclass(frozen=True)
class Roles:
    """Names of the splits that play each part; ``""`` where none does.

    Parameters
    ----------
    reference : tuple of str
        The real pictures that the double is compared with: unseen by the generator where possible. Empty: all rows.
    counterpart : str
        The second real set of the real-against-real floor; ``""``: the reference is halved.
    gallery : str
        What the generator learned from, searched for neighbours; ``""``: all rows.
    control : tuple of str
        Real pictures that the generator never saw, for comparison with the neighbours. Empty: none.
    notes : tuple of str
    """

    reference: tuple[str, ...]
    counterpart: str
    gallery: str
    control: tuple[str, ...]
    notes: tuple[str, ...]


def choose_roles(real: Cohort, reference: str = "test") -> Roles:
    """Roles of the splits that a real cohort has.

    Parameters
    ----------
    real : Cohort
    reference : str
        Preferred reference: ``"test"``, ``"holdout"`` or ``"unseen"`` (both). Where it is absent the next best is
        taken, and a note says so.

    Raises
    ------
    DataDoubleError
        For another name.
    """
    if reference not in ("test", "holdout", "unseen"):
        raise DataDoubleError(
            "unknown reference", where="reference", found=reference, remedy="use test, holdout or unseen"
        )
    present = {str(split) for split in real.table["split"]}
    has = {name: name in present for name in ("train", "holdout", "test")}
    unseen = tuple(name for name in ("test", "holdout") if has[name])
    notes: list[str] = []
    if reference == "unseen":
        chosen = unseen
    elif has[reference]:
        chosen = (reference,)
    else:
        chosen = unseen[:1]
        if chosen:
            notes.append(f"The real cohort has no {reference} split: the reference is its {chosen[0]} split.")
    if not chosen:
        chosen = ("train",) if has["train"] else ()
        notes.append(
            "The real cohort has no test or holdout split: the reference holds pictures that the generator may have "
            "learned from, so a double that copies looks better than it is. Run `datadouble split` before fitting."
        )
    if not has["train"]:
        notes.append("The real cohort has no train split: neighbours were searched among all its pictures.")
    control = tuple(name for name in ("holdout", "test") if has[name])[:1] if has["train"] else ()
    if has["train"] and not control:
        notes.append("No holdout: nothing says how similar unseen patients are to the training set.")
    counterpart = "train" if has["train"] and chosen != ("train",) else ""
    return Roles(chosen, counterpart, "train" if has["train"] else "", control, tuple(notes))
