"""The one place where an exception becomes a message and an exit code."""

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from datadouble.errors import DataDoubleError

PROBLEMS = 1
WRONG_USE = 2
INTERRUPTED = 130  # what a shell expects after Ctrl-C

# Import name -> the extra that brings it. What the core brings is not here: without it nothing works.
_EXTRA_OF = {
    "rapidocr_onnxruntime": "ocr",
    "cv2": "ocr",
    "huggingface_hub": "hub",
    "transformers": "models",
    "opacus": "dp",
    "dp_accounting": "dp",
    "monai": "segmentation",
    "einops": "segmentation",
    "fastapi": "study",
    "starlette": "study",
    "pydantic": "study",
    "anyio": "study",
    "uvicorn": "study",
    "pydicom": "ct",
    "nibabel": "ct",
}


class CleanGroup(TyperGroup):
    """Commands whose expected failures are a sentence; only the others show a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what goes wrong is said on the error stream."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            failure, code = "interrupted: the same command goes on where it stopped", INTERRUPTED
        except (DataDoubleError, OSError, ImportError, RuntimeError) as error:
            message = explain(error)
            if message is None or ctx.params.get("debug"):
                raise
            failure, code = message, exit_code(error)
        sys.stderr.write(f"datadouble: {failure}\n")
        raise typer.Exit(code)


def exit_code(error: BaseException) -> int:
    """Return the exit code: wrong use where the error names an option or the configuration."""
    named = error.where if isinstance(error, DataDoubleError) else ""
    return WRONG_USE if named.startswith("--") or named in ("config", "fit", "generate") else PROBLEMS


def explain(error: BaseException) -> str | None:
    """Return what to tell the user, or None where only a traceback tells enough."""
    cause: BaseException | None = error
    while cause is not None:
        if "torchvision::nms" in str(cause):
            return (
                "the installed torchvision does not match torch, and its import fails: "
                "`pip uninstall torchvision` (DataDouble does not need it)"
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, DataDoubleError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        extra = _EXTRA_OF.get((error.name or "").split(".")[0])
        return f"{error.name} is not installed: `pip install 'datadouble[{extra}]'`" if extra else None
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return None
