"""A package that is missing is asked for by the extra that brings it, as pyproject.toml has it."""

import ast
import re
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

from datadouble.cli.failures import _EXTRA_OF, explain

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def plain(requirement: str) -> str:
    """`Dp-Accounting>=0.6` -> `dp-accounting`."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;(]", requirement)[0]).lower()


CORE = {plain(name) for name in PROJECT["dependencies"]}
EXTRAS = {extra: {plain(name) for name in names} for extra, names in PROJECT["optional-dependencies"].items()}


@cache
def installed() -> Mapping[str, list[str]]:
    return packages_distributions()


def distributions(module: str) -> set[str]:
    """What brings a module; by its own name where it is not installed."""
    return {plain(name) for name in installed().get(module, [])} | {plain(module)}


@pytest.mark.parametrize(("module", "extra"), _EXTRA_OF.items())
def test_the_extra_brings_the_module(module: str, extra: str) -> None:
    brought = set(EXTRAS[extra])
    if module == "cv2":  # comes with the reader of words, which asks for it
        brought |= {plain(name) for name in requires("rapidocr-onnxruntime") or []}
    assert distributions(module) & brought, f"{extra} brings {sorted(brought)}"
    assert not distributions(module) & CORE, "the core brings it"
    message = explain(ModuleNotFoundError(f"No module named '{module}.x'", name=f"{module}.x"))
    assert message is not None and f"datadouble[{extra}]" in message


def test_every_package_that_an_extra_brings_and_the_code_imports_is_known() -> None:
    imported = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    imported -= {"datadouble", *sys.stdlib_module_names}
    outside_core = {module for module in imported if not distributions(module) & CORE}
    assert outside_core - set(_EXTRA_OF) <= {"torchvision"}
    assert {"opacus", "fastapi", "pydicom", "monai"} <= outside_core
