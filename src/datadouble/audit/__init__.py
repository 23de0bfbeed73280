"""Judging a double: how faithful, how useful, how safe, against whom and with which controls.

The package is also the verb: ``datadouble.audit(double, real, out)`` is :func:`datadouble.audit.audit.audit`.
"""

import sys
from types import ModuleType
from typing import Any


class _Verb(ModuleType):
    """A package that is called as its function: importing any part of it would hide a function of the same name."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        from datadouble.audit.audit import audit as verb

        return verb(*args, **options)


sys.modules[__name__].__class__ = _Verb
