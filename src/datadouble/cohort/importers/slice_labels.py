"""Labels of slices and frames, where they come from a table."""

from pathlib import Path

from datadouble.cohort.importers.findings import some
from datadouble.cohort.importers.source import FolderColumns, require_columns
from datadouble.errors import DataDoubleError

UNMARKED = "unmarked"
"""The label of a slice on which nobody has drawn anything. That is not the same as healthy."""


def table_labels(path: Path, columns: FolderColumns | None) -> dict[str, str]:
    """Return the label of each patient in a CSV with the columns `patient` and `label`.

    Raises
    ------
    DataDoubleError
        When the table or a column is missing, or one patient has two labels.
    """
    import pandas as pd

    names = columns or FolderColumns()
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise DataDoubleError(
            "the file is missing", where=str(path), remedy="give the .csv of labels"
        ) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataDoubleError("this is no CSV table", where=path.name, found=str(error)[:120]) from error
    require_columns(table.columns, [names.patient, names.label], path.name)
    labels: dict[str, str] = {}
    clashes = []
    for number, row in enumerate(table.to_dict("records"), start=2):
        patient, label = str(row[names.patient]).strip(), str(row[names.label]).strip()
        if labels.setdefault(patient, label) != label:
            clashes.append(number)
    if clashes:
        raise DataDoubleError(
            "patients have two labels",
            where=path.name,
            found=f"rows {some(clashes)}",
            remedy="keep one row each",
        )
    return labels
