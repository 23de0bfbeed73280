"""The parts of an audit: each a function of the material, giving JSON values and what the report draws of them.

The arrays' names are what `report/` looks for. Rows are positions in a cohort, never ids.
"""

from datadouble.audit.sections.fidelity import coverage, distances, lesions, texture
from datadouble.audit.sections.privacy import controls, copies, make_gate, neighbours, release_only
from datadouble.audit.sections.usefulness import realism, segmentation, utility

__all__ = [
    "controls",
    "copies",
    "coverage",
    "distances",
    "lesions",
    "make_gate",
    "neighbours",
    "realism",
    "release_only",
    "segmentation",
    "texture",
    "utility",
]
