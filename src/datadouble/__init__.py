"""DataDouble: synthetic medical images that may leave the hospital, and the evidence that they may.

The public names are loaded when they are first used, so that ``import datadouble`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datadouble import audit as audit
    from datadouble.cohort.cohort import Cohort as Cohort
    from datadouble.errors import DataDoubleError as DataDoubleError
    from datadouble.recipes import fit as fit
    from datadouble.recipes import generate as generate

__version__ = "0.1.0"

_WHERE = {
    "Cohort": "datadouble.cohort.cohort",
    "DataDoubleError": "datadouble.errors",
    "fit": "datadouble.recipes",
    "generate": "datadouble.recipes",
}
__all__ = ["Cohort", "DataDoubleError", "__version__", "audit", "fit", "generate"]


def __getattr__(name: str) -> Any:
    if name == "audit":  # a package that is called
        return import_module("datadouble.audit")
    if name not in _WHERE:
        raise AttributeError(f"module 'datadouble' has no attribute '{name}'")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
