"""What comes out of a store: the long table of answers, the administrator's overview, CSV."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datadouble import files
from datadouble.study import progress as standing

if TYPE_CHECKING:
    import pandas as pd

    from datadouble.study.store import Store

ANSWER_COLUMNS = (
    "reader",
    "reader_name",
    "group",
    "years",
    "part",
    "view",
    "position",
    "image",
    "pair",
    "patient",
    "origin",
    "label",
    "question",
    "value",
    "right_value",
    "confidence",
    "seconds",
    "seconds_from",
    "repeat_of",
    "practice",
    "mark_x",
    "mark_y",
    "text",
    "shown_at",
    "answered_at",
    "undone_at",
    "sitting",
)
"""Columns of `answers_table`. ``reader`` is the id; ``pair`` is the case: one picture of a cohort, in whichever part;
``right_value`` is the right answer's, empty where there is none; ``undone_at`` is empty for answers that count."""

NUMBERS = ("years", "confidence", "seconds", "mark_x", "mark_y")


def answer_rows(store: "Store", *, practice: bool = False, undone: bool = False) -> list[dict[str, Any]]:
    """Return the answers as dictionaries with `ANSWER_COLUMNS`, in the order in which they were given."""
    protocol, truth = store.study.protocol, store.study.truth()
    questions = {question.key: question for question in protocol.questions}
    views = {part.name: part.view for part in protocol.parts}
    rows = []
    with store.database.reading() as db:
        for row in db.execute(
            'SELECT a.*, r.name AS reader_name, r.reader_group AS "group", r.years, s.sitting FROM answer a '
            "JOIN reader r ON r.id = a.reader JOIN showing s ON s.id = a.showing ORDER BY a.id"
        ):
            fact = truth[row["image"]]
            if (fact.practice and not practice) or (row["undone_at"] is not None and not undone):
                continue
            values = dict(row)
            values.update(
                view=views[row["part"]],
                pair=fact.pair,
                patient=fact.patient,
                origin=fact.origin,
                label=fact.label,
                right_value=questions[row["question"]].right_value(fact.origin, fact.label),
                repeat_of=fact.repeat_of,
                practice=fact.practice,
                undone_at=row["undone_at"] or "",
            )
            rows.append({column: values[column] for column in ANSWER_COLUMNS})
    return rows


def answers_table(store: "Store", *, practice: bool = False, undone: bool = False) -> "pd.DataFrame":
    """Return the answers, one row a reader, image and question.

    Parameters
    ----------
    practice, undone
        Whether to include practice cases, and answers that were taken back.

    Returns
    -------
    pandas.DataFrame
        `ANSWER_COLUMNS`; numbers are float64 with NaN where unknown, ``reader``, ``position`` and ``sitting`` are
        int64, ``practice`` is boolean, the rest are strings. Repeats are included: they have a ``repeat_of``.
    """
    import pandas as pd

    table = pd.DataFrame(answer_rows(store, practice=practice, undone=undone), columns=list(ANSWER_COLUMNS))
    kinds = dict.fromkeys(NUMBERS, "float64") | dict.fromkeys(("reader", "position", "sitting"), "int64")
    return table.astype(kinds | {"practice": "bool"})


def overview(store: "Store") -> list[dict[str, Any]]:
    """Return for each reader what an administrator wants to see.

    Keys: ``reader, name, group, years, revoked, state, part, done, total, parts, opens_at, seconds_left, last_at,
    sittings, median_seconds, per_minute, undone, monitor``. ``per_minute``: answers in active minutes of all sittings;
    None before there are some. Nothing of it says how well a reader does.
    """
    result = []
    now = store.clock.now()
    for reader in store.readers():
        with store.database.reading() as db:
            progress = standing.progress(db, store.study.protocol, reader.id, now)
            sittings = db.execute(
                "SELECT count(*) AS n, sum(active_seconds) AS seconds, sum(answers) AS answers, "
                "max(last_at) AS last_at FROM sitting WHERE reader = ?",
                (reader.id,),
            ).fetchone()
            times = sorted(
                row[0]
                for row in db.execute(
                    "SELECT seconds FROM answer WHERE reader = ? AND undone_at IS NULL AND seconds IS NOT NULL "
                    "GROUP BY showing",
                    (reader.id,),
                )
            )
            undone = db.execute(
                "SELECT count(DISTINCT showing) FROM answer WHERE reader = ? AND undone_at IS NOT NULL",
                (reader.id,),
            ).fetchone()[0]
            monitor = db.execute(
                "SELECT seen_at, facts FROM monitor WHERE reader = ? ORDER BY id DESC LIMIT 1", (reader.id,)
            ).fetchone()
        minutes = (sittings["seconds"] or 0) / 60
        result.append(
            {
                "reader": reader.id,
                "name": reader.name,
                "group": reader.group,
                "years": reader.years,
                "revoked": reader.revoked_at is not None,
                "state": progress.state,
                "part": progress.part,
                "done": progress.done,
                "total": progress.total,
                "parts": [part._asdict() for part in progress.parts],
                "opens_at": progress.opens_at,
                "seconds_left": progress.seconds_left,
                "last_at": sittings["last_at"],
                "sittings": sittings["n"],
                "median_seconds": _median(times),
                "per_minute": sittings["answers"] / minutes if minutes > 0 else None,
                "undone": undone,
                "monitor": None
                if monitor is None
                else {"seen_at": monitor["seen_at"], **json.loads(monitor["facts"])},
            }
        )
    return result


def safe_cell(value: Any) -> Any:
    """Return a cell that a spreadsheet shows and does not run.

    A text that begins like a formula (``= + - @``, a tab or a line end; white space before it does not help) gets a
    quotation mark before it. Numbers stay numbers.
    """
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, str):
        return value
    risky = value[:1] in ("\t", "\r", "\n") or value.lstrip()[:1] in (
        "=",
        "+",
        "-",
        "@",
        "＝",
        "＋",
        "－",
        "＠",
    )
    return f"'{value}" if risky else value


def to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV whose cells are `safe_cell`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([safe_cell(row[column]) for column in columns] for row in rows)
    return out.getvalue()


def answers_csv(store: "Store", *, practice: bool = True, undone: bool = True) -> str:
    """Return the answers as CSV, by default with practice and what was taken back, each marked as such."""
    return to_csv(ANSWER_COLUMNS, answer_rows(store, practice=practice, undone=undone))


def export_answers(store: "Store", path: Path, *, practice: bool = True, undone: bool = True) -> int:
    """Write `answers_csv` to `path` in one atomic step and return the number of rows."""
    rows = answer_rows(store, practice=practice, undone=undone)
    files.write_text(path, to_csv(ANSWER_COLUMNS, rows))
    return len(rows)


def _median(times: Sequence[float]) -> float | None:
    from statistics import median

    return median(times) if times else None
