"""Writing of predictions to a file."""

from __future__ import annotations

import csv
import io
import os
from typing import Any

from backprop_xp.backend.arrays import Array
from backprop_xp.data.labels import label_name
from backprop_xp.data.readers.csv_table import read_cells
from backprop_xp.data.readers.source import read_source
from backprop_xp.data.table import Table
from backprop_xp.data.table_format import TableFormat
from backprop_xp.errors import ConfigurationError
from backprop_xp.files import atomic_write
from backprop_xp.formatting import to_json
from backprop_xp.models.metrics import by_class
from backprop_xp.models.model import Model


def write_predictions(
    path: str | os.PathLike[str],
    model: Model,
    outputs: Array,
    *,
    probabilities: bool = False,
    keep: Any = None,
    table_format: TableFormat | None = None,
) -> None:
    """Write the predictions of a model as a table in UTF-8, with a header and a line for each row.

    The column of the predictions is named like the label column, or ``prediction``. Where this
    would be the name of another column, it is ``predicted NAME``.

    Parameters
    ----------
    path : path
        Ends in ``.csv``, or in ``.tsv`` for tabs between the cells.
    model : Model
    outputs : host array, shape (n, n_outputs)
        From `Model.outputs`.
    probabilities : bool
        Whether to add a column ``probability NAME`` for each class.
    keep : as the data for `Model.predict`, optional
        A table whose columns come before the predictions.
    table_format : TableFormat, optional
        How its file is written.

    Raises
    ------
    ConfigurationError
        If probabilities are asked of a regression, the columns to keep are not a table, or the
        file has another ending or cannot be written.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in (".csv", ".tsv"):
        raise ConfigurationError(
            f"{os.fspath(path)}: predictions are written as .csv or .tsv", "name such a file"
        )
    columns: dict[str, list[Any]] = {}
    if keep is not None:
        table = read_source(keep, None, table_format)
        if not isinstance(table, Table):
            raise ConfigurationError(f"{keep} has no columns to keep", "leave --keep-columns out")
        if table.lines is not None:  # a text file: a number does not show how it was written
            columns |= read_cells(keep, **(table_format or TableFormat())._asdict())
        else:
            for name, values in table.columns.items():
                columns[name] = [label_name(value) for value in values.tolist()]
    if model.classes is None:
        for name, values in zip(model.target_names, outputs.T, strict=True):
            columns[_free(name, columns)] = to_json(values)
    else:
        name = model.label[0] if model.label else "prediction"
        columns[_free(name, columns)] = model.names(outputs)
    if probabilities:
        if model.classes is None:
            raise ConfigurationError(
                "a regression has no probabilities", "leave --probabilities out"
            )
        for name, values in zip(model.classes, by_class(outputs).T, strict=True):
            columns[_free(f"probability {name}", columns)] = to_json(values)

    text = io.StringIO(newline="")
    separator = "\t" if suffix == ".tsv" else ","
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    content = text.getvalue().encode()
    atomic_write(path, lambda file: file.write(content))


def _free(name: str, columns: dict[str, list[Any]]) -> str:
    """Return a name for a new column, which no other column has."""
    while name in columns:
        name = f"predicted {name}"
    return name
