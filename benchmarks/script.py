"""What every benchmark's command line does alike."""

import argparse
import sys
from collections.abc import Callable

from datadouble.errors import DataDoubleError


def parser_of(words: str | None) -> argparse.ArgumentParser:
    """Return a parser that shows a script's docstring as it is written."""
    return argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)


def run_script(run: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Parse the command line and run; an error for the user ends the script in one line, without a traceback."""
    options = parser.parse_args()
    try:
        run(options)
    except DataDoubleError as error:
        sys.exit(f"error: {error}")
