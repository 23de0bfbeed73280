"""The walls of the design: imports go one way, and what is imported is declared."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "datadouble"
MODULES = sorted(PACKAGE.rglob("*.py"))

# What each part may import of ours besides itself and the ground (errors, files, randomness, progress).
GROUND = {"errors", "files", "randomness", "progress"}
MAY_IMPORT = {
    "stats": set(),
    "matching": set(),
    "cohort": {"matching"},
    "networks": {"cohort", "stats"},
    "encoders": {"networks", "cohort", "stats"},
    "diffusion": {"networks", "cohort", "stats"},
    "training": {"diffusion", "encoders", "networks", "cohort", "stats"},
    "recipes": {"training", "diffusion", "encoders", "networks", "cohort", "stats"},
    # Audit and study judge any double, also one made elsewhere: cohorts yes, recipes no.
    "audit": {"matching", "training", "diffusion", "encoders", "networks", "cohort", "stats"},
    "study": {"audit", "cohort", "stats"},
}
MAY_IMPORT["release"] = {*MAY_IMPORT}
EVERYTHING = {*MAY_IMPORT, "demo", "cli"}


def part_of(module: Path) -> str:
    return module.relative_to(PACKAGE).with_suffix("").parts[0]


def imports_of(module: Path) -> Iterator[tuple[str, bool]]:
    """Each dotted name a module imports, and whether the import runs when the module is loaded."""
    tree = ast.parse(module.read_text())
    inside: set[ast.AST] = set()
    for node in ast.walk(tree):
        is_type_checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_type_checking:
            inside.update(ast.walk(node))
    for node in ast.walk(tree):
        at_load = node not in inside
        if isinstance(node, ast.Import):
            yield from ((alias.name, at_load) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            yield node.module or "", at_load
            if node.module == "datadouble":
                for alias in node.names:
                    if alias.name in EVERYTHING | GROUND:
                        yield f"datadouble.{alias.name}", at_load


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_imports_go_one_way(module: Path) -> None:
    part = part_of(module)
    allowed = MAY_IMPORT.get(part, EVERYTHING if part in {"cli", "demo", "__init__", "__main__"} else set())
    if part in GROUND:
        allowed = set()
    ground = set() if part == "stats" else GROUND
    for name, _ in imports_of(module):
        if name.startswith("datadouble."):
            other = name.split(".")[1]
            assert other == part or other in ground or other in allowed, f"{part} must not import {other}"


def test_every_import_is_declared() -> None:
    project = tomllib.loads((PACKAGE.parent.parent / "pyproject.toml").read_text())["project"]
    requirements = list(chain(project["dependencies"], *project["optional-dependencies"].values()))
    declared = {normalised(requirement) for requirement in requirements} | {"datadouble"}
    distributions = packages_distributions()
    missing = {}
    for module in MODULES:
        for name, _ in imports_of(module):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names:
                continue
            owners = {normalised(owner) for owner in distributions.get(top, [top])}
            # OpenCV comes with the OCR package, as the desktop or the headless build.
            if not owners & (declared | {"opencv-python", "opencv-python-headless"}):
                missing[top] = str(module.relative_to(PACKAGE))
    assert not missing


def normalised(requirement: str) -> str:
    name = requirement
    for mark in "[<>=!~; ":
        name = name.split(mark)[0]
    return name.lower().replace("_", "-").replace(".", "-")


@pytest.mark.parametrize("module", [m for m in MODULES if part_of(m) == "cli"], ids=lambda m: m.stem)
def test_the_command_line_loads_nothing_heavy(module: Path) -> None:
    light = sys.stdlib_module_names | {"typer", "datadouble"}
    for name, at_load in imports_of(module):
        if at_load:
            assert name.split(".")[0] in light, f"import {name} inside the function"
            heavy_part = name.startswith("datadouble.") and name.split(".")[1] in MAY_IMPORT
            assert not heavy_part, f"import {name} inside the function"


def test_no_pickle() -> None:
    for module in MODULES:
        names = {name for name, _ in imports_of(module)}
        assert not names & {"pickle", "cPickle", "dill", "joblib", "cloudpickle"}, module
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"torch.load", "torch.save"}:
                # A weight file of others may come as .pth; the restricted unpickler runs no code.
                safe = any(ast.unparse(keyword) == "weights_only=True" for keyword in node.keywords)
                assert safe, f"{module.relative_to(PACKAGE)}:{node.lineno}"


def test_the_library_does_not_print() -> None:
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", f"{module.relative_to(PACKAGE)}:{node.lineno}"
