"""What a DiffGuard run under differential privacy may not take from the pictures, and what it declares of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datadouble.errors import DataDoubleError
from datadouble.recipes.filter_fitting import check_rules
from datadouble.recipes.mask_labels import labels_by_name
from datadouble.recipes.runs import Material

if TYPE_CHECKING:
    from datadouble.recipes.diffguard import DiffguardConfig

TRAINED_WHOLE = ("time_emb_proj", "class_embedding", "conv_out")
"""Modules of the U-Net that are trained whole when few parameters are: scales and shifts by time, classes, the end."""


def check_private_choices(config: DiffguardConfig, material: Material) -> None:
    """Refuse what rests on private pictures and no budget covers, or would have no effect.

    Raises
    ------
    DataDoubleError
        For balanced classes, filters whose autoencoder or cuts come from the pictures, and classes that the lesions'
        names do not tell.
    """
    if config.data.balance:
        raise DataDoubleError(
            "a private step takes every patient with the same chance: classes cannot take turns",
            where="data.balance",
            found="true",
            remedy="set data.balance=false",
        )
    check_rules(config.filters)
    if not config.data.conditional:
        info = material.train.info
        labels_by_name(info.mask_classes, material.classes, info.classes)


def declared_of(config: DiffguardConfig, rule: str, *, window: bool) -> list[str]:
    """Return what the run takes from the cohort besides gradients, a sentence each.

    Parameters
    ----------
    rule
        Of the structure mask.
    window
        Whether the cohort says how grey levels stand for Hounsfield units or the like.
    """
    lines = [
        "taken as public: the classes of the masks, that each occurs, and which classes of pictures have no masks"
    ]
    if rule == "file":
        lines.append("not covered: the structure files of the cohort, if what made them learned from it")
    elif rule != "none":
        lines.append(f"structure masks: of each picture alone, by the fixed rule '{rule}'")
    if window:
        lines.append("taken as public: the cohort's window of grey levels")
    if not config.data.conditional:
        lines.append("class of a lesion type: by its name; no mask was asked")
    if config.filters.use:
        lines.append(f"filters ({', '.join(config.filters.use)}): fixed rules and cuts; no picture was asked")
    return lines
