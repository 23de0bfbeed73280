"""Usefulness: train on synthetic, test on real.

The segmenters' names are loaded when they are first used: their networks import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from datadouble.audit.utility.arms import ARMS, CONTROLS, PAPER_ARMS
from datadouble.audit.utility.assess import MARGIN, assess_utility
from datadouble.audit.utility.inputs import Grouping, choose_grouping, parse_grouping
from datadouble.audit.utility.presets import SEGMENTATION_PRESETS, UTILITY_PRESETS, Preset
from datadouble.audit.utility.segmentation import assess_segmentation
from datadouble.audit.utility.table import markdown_table

if TYPE_CHECKING:
    from datadouble.audit.utility.segmenter_data import Cases as Cases
    from datadouble.audit.utility.segmenter_data import cases_of as cases_of
    from datadouble.audit.utility.segmenter_data import volumes_of as volumes_of
    from datadouble.audit.utility.segmenter_markdown import segmenters_markdown as segmenters_markdown
    from datadouble.audit.utility.segmenter_settings import SEGMENTERS as SEGMENTERS
    from datadouble.audit.utility.segmenter_settings import SegmenterSettings as SegmenterSettings
    from datadouble.audit.utility.segmenter_store import trained_segmenter as trained_segmenter
    from datadouble.audit.utility.segmenter_table import TableArm as TableArm
    from datadouble.audit.utility.segmenter_table import assess_segmenters as assess_segmenters
    from datadouble.audit.utility.segmenters import Segmenter as Segmenter
    from datadouble.audit.utility.segmenters import predict as predict
    from datadouble.audit.utility.segmenters import train_segmenter as train_segmenter

_WHERE = {
    "Cases": "segmenter_data",
    "SEGMENTERS": "segmenter_settings",
    "Segmenter": "segmenters",
    "SegmenterSettings": "segmenter_settings",
    "TableArm": "segmenter_table",
    "assess_segmenters": "segmenter_table",
    "cases_of": "segmenter_data",
    "predict": "segmenters",
    "segmenters_markdown": "segmenter_markdown",
    "train_segmenter": "segmenters",
    "trained_segmenter": "segmenter_store",
    "volumes_of": "segmenter_data",
}

__all__ = [
    "ARMS",
    "CONTROLS",
    "MARGIN",
    "PAPER_ARMS",
    "SEGMENTATION_PRESETS",
    "SEGMENTERS",
    "UTILITY_PRESETS",
    "Cases",
    "Grouping",
    "Preset",
    "Segmenter",
    "SegmenterSettings",
    "TableArm",
    "assess_segmentation",
    "assess_segmenters",
    "assess_utility",
    "cases_of",
    "choose_grouping",
    "markdown_table",
    "parse_grouping",
    "predict",
    "segmenters_markdown",
    "train_segmenter",
    "trained_segmenter",
    "volumes_of",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
