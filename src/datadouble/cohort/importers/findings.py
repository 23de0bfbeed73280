"""What an importer finds wrong while it lists a source: all of it, told at once."""

from collections import Counter
from dataclasses import dataclass, field

from datadouble.errors import DataDoubleError, Problem

_SHOWN = 50


@dataclass
class Findings:
    """Problems, remarks, and what was skipped (counted by its kind)."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def problem(self, what: str, where: str, found: str = "", remedy: str = "") -> None:
        """Note something that cannot be imported."""
        self.problems.append(Problem(what, where, found, remedy))

    def remarks(self, source: str, *, skip_broken: bool) -> tuple[str, ...]:
        """Return what the user should know.

        Raises
        ------
        DataDoubleError
            When there are problems and `skip_broken` is false, naming every one.
        """
        lines = [str(problem) for problem in self.problems]
        if lines and not skip_broken:
            more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
            count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
            raise DataDoubleError(
                f"the import stops at {count}:\n  " + "\n  ".join(lines[:_SHOWN] + more) + "\n",
                where=source,
                remedy="mend them and run the same command again, or pass --skip-broken to leave these out",
            )
        skipped = [f"skipped {count}: {what}" for what, count in sorted(self.skipped.items())]
        return (*(f"left out: {line}" for line in lines), *skipped, *self.notes)


def some(values: "list | tuple", most: int = 5) -> str:
    """Return the first few of `values`, and how many more there are."""
    shown = ", ".join(str(value) for value in values[:most])
    return shown + (f" and {len(values) - most} more" if len(values) > most else "")
