"""Recipe ``lesion``: from a healthy scan to one with a lesion and its mask, in three stages (Wen et al., J Med Imaging
2026;13(2):024002): a lesion is drawn, placed, and its seam repaired.
"""

from importlib import import_module
from typing import Any

__all__ = ["ATTACKED", "CONFIG", "attack_material", "fit_run", "load_generator"]

ATTACKED = "lesion"  # folder in a run of the stage that an attack on weights is about

_PLACES = {
    "CONFIG": ("config", "LesionConfig"),
    "attack_material": ("lesion_attack", "attack_material"),
    "fit_run": ("stages", "fit_run"),
    "load_generator": ("loading", "load_generator"),
}


def __getattr__(name: str) -> Any:
    """Load a part when it is asked for: a stage can be imported without the others."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)
