"""The command line as a whole: quick help, clean errors, exit codes."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from datadouble.cli.app import app
from datadouble.cli.failures import explain
from datadouble.errors import DataDoubleError

VERBS = (
    "demo",
    "import",
    "phantom",
    "check",
    "duplicates",
    "split",
    "fit",
    "generate",
    "audit",
    "export",
    "adapters",
)
GROUPS = ("study",)


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "pandas", "matplotlib", "scipy", "PIL", "rich")
    code = (
        "import sys\nfrom datadouble.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        f"sys.exit(','.join(name for name in {heavy} if name in sys.modules) or 0)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, f"loaded: {done.stderr}"
    assert all(verb in done.stdout for verb in (*VERBS, *GROUPS))
    # Processor time, which a busy machine does not stretch as it does the clock.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.4


@pytest.mark.parametrize("verb", (*VERBS, *GROUPS))
def test_each_verb_has_help(verb: str) -> None:
    result = CliRunner().invoke(app, [verb, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_there_are_no_other_verbs() -> None:
    assert {command.name for command in app.registered_commands} == set(VERBS)
    assert {group.name for group in app.registered_groups} == set(GROUPS)


def test_version() -> None:
    from datadouble import __version__

    assert CliRunner().invoke(app, ["--version"]).stdout.strip() == f"datadouble {__version__}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nosuchverb"],
        ["split"],
        ["generate", "run", "double"],
        ["generate", "run", "double", "--images", "3", "--per-class", "3"],
        ["generate", "run", "double", "--images", "0"],
        ["audit", "double", "--out", "here"],
    ],
)
def test_wrong_use_is_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr


def test_a_folder_that_is_no_cohort(tmp_path: Path) -> None:
    for verb in ("split", "duplicates"):
        result = CliRunner().invoke(app, [verb, str(tmp_path)])
        assert result.exit_code == 1, verb
        assert result.stderr.startswith("datadouble: ")
        assert "Traceback" not in result.stderr
        assert "cohort" in result.stderr


def test_check_tells_what_it_found_and_exits_with_1(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(tmp_path)])
    assert result.exit_code == 1
    assert "error: " in result.stdout
    assert "1 error" in result.stdout


def test_debug_shows_the_error_itself(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--debug", "duplicates", str(tmp_path)])
    assert isinstance(result.exception, DataDoubleError)


def test_an_error_that_names_an_option_is_wrong_use() -> None:
    from datadouble.cli.failures import exit_code

    assert exit_code(DataDoubleError("no such preset", where="--preset")) == 2
    assert exit_code(DataDoubleError("mask is 5x5", where="a.png")) == 1


def test_what_is_told_of_errors_that_are_not_ours() -> None:
    broken = RuntimeError("Failed to import diffusers.models")
    broken.__cause__ = RuntimeError("operator torchvision::nms does not exist")
    assert "pip uninstall torchvision" in (explain(broken) or "")
    assert "datadouble[ocr]" in (explain(ModuleNotFoundError("no", name="rapidocr_onnxruntime")) or "")
    assert (
        explain(FileNotFoundError(2, "No such file or directory", "scans"))
        == "scans: No such file or directory"
    )
    assert explain(RuntimeError("a bug")) is None
    assert explain(ModuleNotFoundError("no", name="datadouble.nowhere")) is None
