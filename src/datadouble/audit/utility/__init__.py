"""Usefulness: train on synthetic, test on real."""

from datadouble.audit.utility.arms import ARMS, CONTROLS, PAPER_ARMS
from datadouble.audit.utility.assess import MARGIN, assess_utility
from datadouble.audit.utility.inputs import Grouping, choose_grouping, parse_grouping
from datadouble.audit.utility.presets import SEGMENTATION_PRESETS, UTILITY_PRESETS, Preset
from datadouble.audit.utility.segmentation import assess_segmentation
from datadouble.audit.utility.table import markdown_table

__all__ = [
    "ARMS",
    "CONTROLS",
    "MARGIN",
    "PAPER_ARMS",
    "SEGMENTATION_PRESETS",
    "UTILITY_PRESETS",
    "Grouping",
    "Preset",
    "assess_segmentation",
    "assess_utility",
    "choose_grouping",
    "markdown_table",
    "parse_grouping",
]
