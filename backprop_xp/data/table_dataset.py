"""The data set of a table: its labels, its splits, and the inputs that its columns become."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from backprop_xp.backend.arrays import Array
from backprop_xp.data.dataset import Dataset, Split
from backprop_xp.data.labels import MANY_CLASSES, encode_labels, infer_task, label_type
from backprop_xp.data.preprocessing import (
    PLAIN_NUMBERS,
    as_numbers,
    as_text,
    check_marked_numbers,
    check_mixture,
    fit_preprocessing,
    is_missing,
    parse_numbers,
)
from backprop_xp.data.readers.cells import INFINITE, INFINITE_TARGET, check_values
from backprop_xp.data.splits import random_split, stratified_split
from backprop_xp.data.table import Table, is_number_column
from backprop_xp.errors import ConfigurationError, DataError
from backprop_xp.formatting import listed, pluralize


def input_columns(
    table: Table,
    names: list[str],
    drop: Sequence[str],
    categorical: Sequence[str],
    numeric: Sequence[str],
) -> list[str]:
    """Return the columns of the inputs, and check the names in the settings."""
    table.check_columns(drop, "check the names of the columns to leave out")
    for option, given in (("drop", drop), ("categorical", categorical), ("numeric", numeric)):
        for name in given:
            if name in names:
                task = "; --task says whether a label is a class or a number"
                raise ConfigurationError(
                    f"the column {name!r} is the label, and not an input",
                    f"remove {name!r} from --{option}{'' if option == 'drop' else task}",
                )
    for name in (*categorical, *numeric):
        if name in drop:
            raise ConfigurationError(
                f"the column {name!r} is left out, and cannot be categorical or numeric",
                "name it once",
            )
    return [name for name in table.columns if name not in (*names, *drop)]


def dataset_of_table(
    table: Table,
    held_out: Any,
    names: list[str],
    chosen: list[str],
    task: str | None,
    fractions: tuple[float, float, float],
    seed: int,
    categorical: Sequence[str],
    numeric: Sequence[str],
    missing: str,
) -> Dataset:
    """Return the data set of a table with these label columns and input columns."""
    notes = list(table.notes)
    check_values(table, names, INFINITE_TARGET)
    check_values(table, chosen)
    y = label_values(table, names, task)
    if task is None:
        task, reason = infer_task(y)
        kind = "classification" if task == "regression" else "regression"
        possible = y.ndim == 1 and y.dtype != object
        change = f" (--task {kind} if that is wrong)" if possible else ""
        notes.append(f"task: {task}, because {reason}{change}")
    kept = np.arange(table.size)
    if missing != "impute":
        # A value that is missing in a column that is left out anyway costs no row.
        used = fit_preprocessing(table, chosen, categorical=categorical, numeric=numeric).names
        kept = np.flatnonzero(_complete_rows(table, used, missing))
        if n_left_out := table.size - kept.size:
            notes.append(
                f"{pluralize(n_left_out, 'row')} with missing values left out, {kept.size:,} kept"
            )
    y = y[kept]
    targets, classes = encode_targets(table, names, y, task, None, kept)
    if held_out is not None:
        fractions = (1.0 - fractions[2], 0.0, fractions[2])
    where = f"{table.name}, column {names[0]!r}: "
    parts = split_rows(targets, classes, fractions, seed, where)
    if classes is None:
        notes += [
            f"the target {name!r} is {values[0]:g} in every row"
            for name, values in zip(names, targets.T, strict=True)
            if np.all(values == values[0])
        ]
    preprocessing = fit_preprocessing(
        table, chosen, kept[parts[0]], categorical=categorical, numeric=numeric
    )
    notes += [f"left out {name!r}: {why}" for name, why in preprocessing.left_out.items()]
    notes += preprocessing.notes
    counts = {
        name: int(is_missing(table.columns[name][kept]).sum()) for name in preprocessing.names
    }
    if filled := [f"{name!r} ({pluralize(n, 'row')})" for name, n in counts.items() if n]:
        notes.append(f"filled in missing values of {listed(filled, 10)}")
    validation = None
    if held_out is not None:
        held_out.check_columns(names, "name the label as in the training data, or give (x, y)")
        held_out.check_columns(preprocessing.names, "give the columns of the training data")
        check_values(held_out, names, INFINITE_TARGET)
        check_values(held_out, preprocessing.names, INFINITE)
        if missing == "error":
            _complete_rows(held_out, preprocessing.names, missing)
        inputs = preprocessing.apply(held_out, warn=True)
        held_out_y = label_values(held_out, names, task)
        held_out_targets, _ = encode_targets(held_out, names, held_out_y, task, classes)
        validation = Split(inputs, held_out_targets, held_out.lines)

    # One array for all rows, in the order of the splits: only one copy is made, and the columns of
    # the table are freed meanwhile.
    order = np.concatenate(parts)
    lines = None if table.lines is None else table.lines[kept[order]]
    rows = Split(preprocessing.apply(table, kept[order], free=True), targets[order], lines)
    ends = np.cumsum([len(part) for part in parts])
    splits = [
        rows.take(slice(end - len(part), end)) if len(part) else None
        for part, end in zip(parts, ends, strict=True)
    ]
    train = splits[0]
    assert train is not None
    return Dataset(
        name=Path(table.name).name,
        train=train,
        validation=validation or splits[1],
        test=splits[2],
        classes=classes,
        features=preprocessing.inputs,
        image_shape=None,
        default_scaling="standard",
        label=tuple(names),
        label_type="number" if classes is None else label_type(y),
        preprocessing=preprocessing,
        notes=tuple(notes),
    )


def label_values(table: Table, names: list[str], task: str | None) -> Array:
    """Return the label columns as they are: numbers or text, without missing values."""
    for name in names:
        missing = is_missing(table.columns[name])
        if missing.any():
            row, others = int(np.argmax(missing)), int(missing.sum()) - 1
            more = f", and in {pluralize(others, 'more row')}" if others else ""
            raise DataError(
                f"{table.location(row, name)}: the label is missing{more}",
                "fill it in or remove the row; if this text is the name of a class, rename the "
                "class",
            )
    if task == "regression" or len(names) > 1:
        hint = (
            "several labels are the targets of a regression, and must be plain numbers; for "
            "classes, name one column"
            if len(names) > 1
            else "the targets of a regression must be plain numbers, without thousands separators, "
            "currency and percent signs; for classes, use --task classification"
        )
        columns = [as_numbers(table, name, hint) for name in names]
        return columns[0] if len(names) == 1 else np.stack(columns, axis=1)
    column = table.columns[names[0]]
    if is_number_column(column):
        return column
    if task is None and infer_task(parse_numbers(column)[0])[0] == "regression":
        hint = "correct the cell; if the labels are classes, use --task classification"
        numbers = check_mixture(table, names[0], hint)
        if numbers is not None:
            return numbers
    if task is None and len(set(column.tolist())) > MANY_CLASSES:
        hint = f"{PLAIN_NUMBERS}; if the labels are classes, use --task classification"
        check_marked_numbers(table, names[0], hint)
    return as_text(column)


def _complete_rows(table: Table, chosen: Sequence[str], missing: str) -> Array:
    """Return whether each row has all values; a missing one is an error if ``missing`` says so."""
    incomplete, counts = np.zeros(table.size, dtype=bool), {}
    for name in chosen:
        is_none = is_missing(table.columns[name])
        counts[name] = int(is_none.sum())
        if missing == "error" and is_none.any():
            raise DataError(
                f"{table.location(int(np.argmax(is_none)), name)}: the value is missing",
                "fill it in, or use --missing impute or --missing drop",
            )
        incomplete |= is_none
    if incomplete.all():
        name = max(counts, key=counts.__getitem__)
        raise DataError(
            f"{table.name}: every row has a missing value, {counts[name]:,} of them in the column "
            f"{name!r}",
            f"leave it out with --drop {quote(name)}, or use --missing impute",
        )
    return ~incomplete


def encode_targets(
    table: Table,
    names: list[str],
    y: Array,
    task: str,
    classes: Sequence[str] | None,
    rows: Array | None = None,
) -> tuple[Array, tuple[str, ...] | None]:
    """Return labels of some rows as targets, with the classes; None for a regression."""
    if task == "regression":
        return y.reshape(len(y), -1), None
    if len(names) > 1:
        raise ConfigurationError(
            f"{len(names)} label columns were given, and a classification has one",
            "name one column, or use --task regression",
        )

    def where(row: int) -> str:
        return table.location(row if rows is None else int(rows[row]), names[0])

    return encode_labels(y, classes, where=where)


def number_columns(table: Table, names: Sequence[str]) -> Array:
    """Return columns of numbers as an array; a missing value is an error."""
    table.check_columns(names, "the model was trained on these columns: add what is missing")
    check_values(table, names, INFINITE)
    columns = []
    for name in names:
        numbers = as_numbers(table, name)
        if np.isnan(numbers).any():
            row = int(np.argmax(np.isnan(numbers)))
            raise DataError(
                f"{table.location(row, name)}: the value is missing",
                "fill it in or remove the row: this model has no values to fill in",
            )
        columns.append(numbers)
    if not columns:
        raise DataError(f"{table.name}: no column is left for the inputs", "add columns")
    return np.stack(columns, axis=1)


def split_rows(
    targets: Array,
    classes: tuple[str, ...] | None,
    fractions: tuple[float, float, float],
    seed: int,
    where: str,
) -> tuple[Array, ...]:
    """Return the rows of the three splits, stratified by class.

    ``where`` says where the labels are, in an error message.
    """
    if classes is None:
        return random_split(targets.shape[0], fractions, seed)
    if len(classes) < 2:
        raise DataError(
            f"{where}every row has the class {classes[0]!r}", "give rows of at least two classes"
        )
    return stratified_split(targets, fractions, seed, classes=classes, where=where)
