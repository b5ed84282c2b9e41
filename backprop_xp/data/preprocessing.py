"""Preprocessing: the columns of a table as inputs of a network, fitted on the training rows.

Numbers stay numbers, text becomes one input for each category (one-hot), and missing values are
filled in and marked by one more input.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from shlex import quote
from typing import Any, NamedTuple

import numpy as np

from backprop_xp.backend.arrays import Array
from backprop_xp.data.table import Table, is_number_column, is_zero_padded, text_fault
from backprop_xp.errors import ConfigurationError, DataError
from backprop_xp.formatting import abridged, listed, pluralize, quoted

MAX_CATEGORIES = 1000
"""The most categories of a column that become inputs, unless the column is named as categorical."""

_MANY = 20  # from so many different texts on, a column can be a name or a key of its rows
_ROW_NUMBER = re.compile(r"(?:^|.*[^a-z])(?:id|idx|index|key|row|rownames?|serial)$|unnamed.*")
_DATES_CHECKED = 1000  # the most texts of a column that are parsed as dates
_MARKED_NUMBER = re.compile(  # with thousands separators, a currency or a percent sign
    r"[-+]?[$€£¥]? ?[-+]?(\d{1,3}([,.' \u00a0\u202f]\d{3})+|\d+)([.,]\d+)? ?[%$€£¥]?"
)
_DATES = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y/%m/%d")


class Column(NamedTuple):
    """A column that becomes one or more inputs.

    Attributes
    ----------
    name : str
    categories : tuple of str or None
        The categories, with one input for each; None for a column of numbers.
    fill : float or str
        Replaces missing values: the median of the training rows, or their most frequent category.
    indicator : bool
        Whether one more input marks the rows whose value is missing, because there were such
        training rows.
    """

    name: str
    categories: tuple[str, ...] | None
    fill: float | str
    indicator: bool

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs of a network."""
        values: tuple[str, ...] = (self.name,)
        if self.categories is not None:
            values = tuple(f"{self.name}={category}" for category in self.categories)
        return (*values, f"{self.name} missing") if self.indicator else values

    def describe(self) -> str:
        """Return the column in words."""
        if self.categories is None:
            text = "a number"
        else:
            names = listed(quoted(self.categories), 10)
            text = f"{pluralize(len(self.categories), 'category', 'categories')}: {names}"
        if self.indicator:
            fill = f"{self.fill:g}" if isinstance(self.fill, float) else repr(self.fill)
            text += f"; missing values become {fill}, and one input marks them"
        return text


class Preprocessing(NamedTuple):
    """The columns of a table that become the inputs of a network, in the order of the inputs.

    Attributes
    ----------
    columns : tuple of Column
    left_out : dict of str to str
        The columns that were left out although nobody asked for it, and why.
    notes : tuple of str
        What looks wrong with a column that was kept.

    Examples
    --------
    >>> table = Table(
    ...     "pets.csv",
    ...     {
    ...         "height": np.asarray([0.5, np.nan, 1.5, 1.0]),
    ...         "kind": np.asarray(["cat", "dog", None, "dog"], dtype=object),
    ...     },
    ... )
    >>> fitted = fit_preprocessing(table, ["height", "kind"])
    >>> fitted.inputs
    ('height', 'height missing', 'kind=cat', 'kind=dog', 'kind missing')
    >>> fitted.apply(table)
    array([[0.5, 0. , 1. , 0. , 0. ],
           [1. , 1. , 0. , 1. , 0. ],
           [1.5, 0. , 0. , 1. , 1. ],
           [1. , 0. , 0. , 1. , 0. ]])
    """

    columns: tuple[Column, ...]
    left_out: dict[str, str] = {}  # noqa: RUF012 (never changed)
    notes: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """The name of each input."""
        return tuple(name for column in self.columns for name in column.inputs)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def is_number(self) -> Array:
        """Whether each input is a number, and not a 0 or 1 that stands for a category."""
        flags = [
            name == column.name and column.categories is None
            for column in self.columns
            for name in column.inputs
        ]
        return np.asarray(flags, dtype=bool)

    def apply(
        self, table: Table, rows: Array | None = None, *, warn: bool = False, free: bool = False
    ) -> Array:
        """Return the inputs of a network for the rows of a table.

        Parameters
        ----------
        table : Table
            With the columns of the training table, in any order; other columns are ignored.
        rows : array of int, optional
            The rows to use; by default all of them.
        warn : bool
            Whether to warn of missing values in columns that had none in training, and of
            categories that did not occur there. Their inputs are all 0.
        free : bool
            Whether each column of the table is removed once it is read, to save memory.

        Returns
        -------
        array, shape (n, n_inputs), float64
            In Fortran order, since it is made column by column.

        Raises
        ------
        DataError
            If a column is missing, or a column of numbers contains text.
        """
        table.check_columns(
            self.names, "the model was trained on these columns: add what is missing"
        )
        n = table.size if rows is None else len(rows)
        inputs = np.empty((n, len(self.inputs)), order="F")
        first, unseen, filled = 0, Counter[str](), Counter[str]()
        for column in self.columns:
            if column.categories is None:
                hint = "correct the cell or leave it empty; the model was trained on numbers here"
                numbers = as_numbers(table, column.name, hint if warn else None)
                numbers = numbers if rows is None else numbers[rows]
                missing = np.isnan(numbers)
                inputs[:, first] = np.where(missing, column.fill, numbers)
                width = 1
            else:
                values = table.columns[column.name]
                texts = as_text(values if rows is None else values[rows])
                codes = _codes(texts, column.categories)
                missing = codes == _NONE
                codes[missing] = column.categories.index(str(column.fill))
                width = len(column.categories)
                inputs[:, first : first + width] = codes[:, None] == np.arange(width)
                unseen[column.name] = int(np.sum(codes == _UNSEEN))
            if free:
                del table.columns[column.name]
            if column.indicator:
                inputs[:, first + width] = missing
            else:
                filled[column.name] = int(np.sum(missing))
            first += len(column.inputs)
        if warn:
            self._warn(table, unseen, filled)
        return inputs

    def _warn(self, table: Table, unseen: Counter[str], filled: Counter[str]) -> None:
        parts = [
            f"{pluralize(count, 'row')} of the column {name!r} "
            f"{'has a category' if count == 1 else 'have categories'} "
            "that did not occur in training (all its inputs are 0)"
            for name, count in (+unseen).items()
        ]
        parts += [
            f"{pluralize(count, 'row')} of the column {name!r} "
            f"{'has' if count == 1 else 'have'} no value, which did not occur in training "
            f"({self._fill(name)} is filled in)"
            for name, count in (+filled).items()
        ]
        if parts:
            warnings.warn(f"{table.name}: {'; '.join(parts)}", UserWarning, stacklevel=6)

    def _fill(self, name: str) -> str:
        fill = next(column.fill for column in self.columns if column.name == name)
        return f"the median {fill:g}" if isinstance(fill, float) else f"the most frequent, {fill!r}"

    def as_dict(self) -> dict[str, Any]:
        """Return the preprocessing as data that JSON can hold."""
        return {
            "columns": [column._asdict() for column in self.columns],
            "left_out": self.left_out,
            "notes": list(self.notes),
        }


def fit_preprocessing(
    table: Table,
    names: Sequence[str],
    rows: Array | None = None,
    *,
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
) -> Preprocessing:
    """Find out how the columns of a table become the inputs of a network.

    Columns that cannot help are left out, and `Preprocessing.left_out` says so: columns with the
    same value in every row, texts that are different in almost every row (names, keys), row
    numbers with a name such as ``id``, and dates.

    Parameters
    ----------
    table : Table
    names : sequence of str
        The columns to use.
    rows : array of int, optional
        The training rows; by default all rows. Other rows have no influence.
    categorical : sequence of str
        Columns whose values are categories even if they are numbers, or many.
    numeric : sequence of str
        Columns of numbers, which are kept in any case.

    Returns
    -------
    Preprocessing

    Raises
    ------
    ConfigurationError
        If a column is named both as categorical and numeric.
    DataError
        If a column has no values, or is a mixture of numbers and text, or has more categories than
        `MAX_CATEGORIES`; or if no column is left.
    """
    for named in (categorical, numeric):
        table.check_columns(named, "check the names given as categorical and numeric")
    if both := [name for name in categorical if name in numeric]:
        raise ConfigurationError(
            f"the column {both[0]!r} is named both as categorical and numeric", "name it once"
        )
    columns: list[Column] = []
    left_out: dict[str, str] = {}
    notes: list[str] = []
    for name in names:
        known = name in categorical or name in numeric
        values = table.columns[name]
        as_categories = name in categorical or (name in table.categorical and name not in numeric)
        if not as_categories and (name in numeric or _has_numbers(table, name)):
            numbers = as_numbers(table, name)
            numbers = numbers if rows is None else numbers[rows]
            column, reason = _number_column(table, name, numbers)
            named_as_id = bool(_ROW_NUMBER.fullmatch(_words(name)))
            if not known and not reason and _is_sequence(numbers):
                if named_as_id:
                    reason = "its numbers only name the rows"
                else:
                    notes.append(
                        f"the column {name!r} counts the rows: if it is a row number, leave it "
                        f"out with --drop {quote(name)}"
                    )
            elif not known and not reason and named_as_id and _are_different(numbers):
                notes.append(
                    f"the column {name!r} has a different whole number in every row: if it only "
                    f"names the rows, leave it out with --drop {quote(name)}"
                )
            if not known and not reason and _has_leading_zeros(table, name):
                notes.append(
                    f"{name!r} has numbers with leading zeros; --categorical {quote(name)} takes "
                    "them as categories"
                )
        else:
            texts = as_text(values if rows is None else values[rows])
            column, reason = _category_column(table, name, texts, known)
        if reason and not known:
            keep = "numeric" if column.categories is None else "categorical"
            constant = reason.startswith("every")
            left_out[name] = reason if constant else f"{reason} (--{keep} {quote(name)} keeps it)"
        else:
            columns.append(column)
    if not columns:
        reasons = "; ".join(f"{name!r}: {reason}" for name, reason in left_out.items())
        raise DataError(
            f"{table.name}: no column is left for the inputs"
            + (f" ({reasons})" if reasons else ""),
            "add columns, or name those to use in any case with --numeric or --categorical",
        )
    return Preprocessing(tuple(columns), left_out, tuple(notes))


def preprocessing_from_dict(value: Any) -> Preprocessing:
    """Return the preprocessing of `Preprocessing.as_dict`, and check it.

    Raises
    ------
    ValueError
        If the value does not describe a preprocessing; the message names the key.
    """
    _check_keys("preprocessing", value, Preprocessing._fields)
    items, left_out, notes = (value[key] for key in Preprocessing._fields)
    if not isinstance(items, list) or not items:
        raise ValueError(f"preprocessing.columns is {abridged(items)}, not a list of columns")
    columns = []
    for index, item in enumerate(items):
        where = f"preprocessing.columns[{index}]"
        _check_keys(where, item, Column._fields)
        name, categories, fill, indicator = (item[key] for key in Column._fields)
        known = categories is None or (_are_texts(categories) and categories)
        for key, right, wanted in (
            ("name", type(name) is str, "a text"),
            ("categories", known, "null or a list of texts"),
            ("indicator", type(indicator) is bool, "true or false"),
        ):
            if not right:
                raise ValueError(f"{where}.{key} is {abridged(item[key])}, not {wanted}")
        if categories is not None:
            if fill not in categories:
                raise ValueError(f"{where}.fill is {abridged(fill)}, which is not a category")
            if len(set(categories)) < len(categories):
                raise ValueError(f"{where}.categories has a category twice")
        elif type(fill) is not float or not math.isfinite(fill):
            raise ValueError(f"{where}.fill is {abridged(fill)}, not a number such as 0.5")
        columns.append(Column(name, categories and tuple(categories), fill, indicator))
    if not isinstance(left_out, dict) or not _are_texts(list(left_out.values())):
        raise ValueError(f"preprocessing.left_out is {abridged(left_out)}, not texts by column")
    if not _are_texts(notes):
        raise ValueError(f"preprocessing.notes is {abridged(notes)}, not a list of texts")
    result = Preprocessing(tuple(columns), left_out, tuple(notes))
    if len(set(result.names)) < len(columns):
        raise ValueError("preprocessing.columns has two columns of the same name")
    return result


def _check_keys(where: str, value: Any, keys: Sequence[str]) -> None:
    if not isinstance(value, dict) or value.keys() != set(keys):
        raise ValueError(f"{where} is {abridged(value)}, not an object with {', '.join(keys)}")


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(type(text) is str for text in value)


def is_missing(column: Array) -> Array:
    """Return whether each value of a column is missing, as booleans of shape (n,).

    Examples
    --------
    >>> is_missing(np.asarray([1.0, np.nan])), is_missing(np.asarray(["a", None]))
    (array([False,  True]), array([False,  True]))
    """
    if is_number_column(column):
        return np.isnan(column)
    return np.fromiter((value is None for value in column), dtype=bool, count=len(column))


def as_numbers(table: Table, name: str, hint: str | None = None) -> Array:
    """Return a column as numbers, float64 of shape (n,) with NaN for a missing value.

    ``hint`` replaces the hint of the error.

    Raises
    ------
    DataError
        If a value is text; the error names the first one.
    """
    column = table.columns[name]
    if is_number_column(column):
        return column
    numbers, texts = parse_numbers(column)
    if texts:
        raise DataError(
            f"{table.location(texts[0], name)}: {abridged(column[texts[0]])} is not a number",
            hint
            or "correct the cell or leave it empty; to train with this column as text, use "
            f"--categorical {quote(name)}",
        )
    return numbers


def check_mixture(table: Table, name: str, hint: str | None = None) -> Array | None:
    """Return the numbers of a text column whose cells are all numbers; None if it is text.

    ``hint`` replaces the hint of the error.

    Raises
    ------
    DataError
        If it is a column of numbers in which some cells are text; the error names the first one.

    Examples
    --------
    >>> table = Table("the data", {"a": np.asarray(["1.5", None], dtype=object)})
    >>> check_mixture(table, "a")
    array([1.5, nan])
    """
    column = table.columns[name]
    numbers, texts = parse_numbers(column)
    n_numbers = int(np.sum(~np.isnan(numbers)))
    if not texts or not n_numbers:
        return None if texts else numbers
    # Codes such as 1, 2, A and B are categories; measurements are different in most rows.
    varied = np.unique(numbers[~np.isnan(numbers)]).size > max(_MANY, n_numbers // 2)
    if len(texts) <= 0.05 * n_numbers or (varied and len(texts) < n_numbers):
        raise DataError(
            f"{table.location(texts[0], name)}: {abridged(column[texts[0]])} is not a number, and "
            f"{n_numbers:,} of the {n_numbers + len(texts):,} values of this column are numbers",
            hint
            or "correct the cell or leave it empty; or use the column as text with "
            f"--categorical {quote(name)}, or leave it out with --drop {quote(name)}",
        )
    return None


def parse_numbers(column: Array) -> tuple[Array, list[int]]:
    """Return a text column as numbers, with NaN elsewhere, and the rows that contain text.

    Examples
    --------
    >>> parse_numbers(np.asarray(["1.5", None, "x"], dtype=object))
    (array([1.5, nan, nan]), [2])
    """
    numbers, texts = np.full(len(column), np.nan), []
    known: dict[Any, float | None] = {None: np.nan}
    for row, value in enumerate(column):
        if value not in known:
            known[value] = _number(value)
        number = known[value]
        if number is None:
            texts.append(row)
        else:
            numbers[row] = number
    return numbers, texts


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    # float() reads "1_000", but that is not a number in a file.
    return None if "_" in text or np.isinf(number) else number


def _has_numbers(table: Table, name: str) -> bool:
    """Return whether the cells of a column are numbers, and check those that are almost."""
    column = table.columns[name]
    if is_number_column(column) or check_mixture(table, name) is not None:
        return True
    check_marked_numbers(
        table,
        name,
        f"{PLAIN_NUMBERS}; or use the column as text with --categorical {quote(name)}, or leave it "
        f"out with --drop {quote(name)}",
    )
    return False


PLAIN_NUMBERS = "write numbers without thousands separators, currency and percent signs"
"""A hint of `check_marked_numbers`."""


def check_marked_numbers(table: Table, name: str, hint: str) -> None:
    """Raise a `DataError` if a text column has numbers with thousands separators or such signs.

    Examples
    --------
    >>> table = Table("the data", {"a": np.asarray(["$1,200", "$950"], dtype=object)})
    >>> try:
    ...     check_marked_numbers(table, "a", PLAIN_NUMBERS)
    ... except DataError as error:
    ...     print(error.message)
    the data, row 0 (counting from 0), column 'a': '$1,200' is not a plain number
    """
    column = table.columns[name]
    distinct = {value: row for row, value in reversed(list(enumerate(column))) if value is not None}
    marked = [row for text, row in distinct.items() if _MARKED_NUMBER.fullmatch(text)]
    not_plain = [row for row in marked if _number(column[row]) is None]
    if not_plain and len(marked) > 0.9 * len(distinct):
        row = min(not_plain)
        raise DataError(
            f"{table.location(row, name)}: {abridged(column[row])} is not a plain number", hint
        )


def as_text(column: Array) -> Array:
    """Return a column as text, with None for a missing value; 3.0 becomes ``"3"``.

    ``true`` and ``FALSE`` become ``True`` and ``False`` if a column contains nothing else, so that
    files of different programs agree.

    Examples
    --------
    >>> as_text(np.asarray([3.0, np.nan, 0.5])).tolist()
    ['3', None, '0.5']
    >>> as_text(np.asarray(["TRUE", "false"], dtype=object)).tolist()
    ['True', 'False']
    """
    if is_number_column(column):
        texts = [None if np.isnan(value) else number_name(value) for value in column.tolist()]
        return np.asarray(texts, dtype=object)
    distinct = set(column.tolist()) - {None}
    if distinct and {value.lower() for value in distinct} <= {"true", "false"}:
        texts = [None if value is None else value.capitalize() for value in column]
        return np.asarray(texts, dtype=object)
    return column


def number_name(value: float) -> str:
    """Return a number as a name: 3.0 as ``"3"``.

    Examples
    --------
    >>> number_name(3.0), number_name(0.1), number_name(1e20)
    ('3', '0.1', '1e+20')
    """
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


_NONE, _UNSEEN = -2, -1


def spellings(names: Sequence[str]) -> dict[str, int]:
    """Return the position of each name, also for the other spellings of `plain_name`.

    Examples
    --------
    >>> positions = spellings(["1.0", "TRUE", "x"])
    >>> positions["1.0"], positions[plain_name("1")], positions[plain_name("True")]
    (0, 0, 1)
    """
    positions = {plain_name(name): position for position, name in enumerate(names)}
    return positions | {name: position for position, name in enumerate(names)}


def plain_name(text: str) -> str:
    """Return one spelling for the many of a number or a boolean.

    The same value is written differently where a column has other values: ``1`` in a column of
    numbers and ``1.0`` among text.

    Examples
    --------
    >>> plain_name("1.0"), plain_name("TRUE"), plain_name("x")
    ('1', 'true', 'x')
    """
    if text.lower() in ("true", "false"):
        return text.lower()
    number = _number(text)
    return text if number is None or np.isnan(number) else number_name(number)


def _codes(texts: Array, categories: Sequence[str]) -> Array:
    """Return the index of the category of each text, or `_NONE` or `_UNSEEN`."""
    positions = spellings(categories)
    if set(categories) <= {"False", "True"}:  # an array of numbers has 0 and 1 for them
        numbers = {"0": "False", "1": "True"}
        positions |= {n: positions[name] for n, name in numbers.items() if name in positions}
    known: dict[str | None, int] = {None: _NONE}
    for text in set(texts.tolist()) - {None}:
        known[text] = positions.get(text, positions.get(plain_name(text), _UNSEEN))
    return np.fromiter(map(known.__getitem__, texts), dtype=np.int64, count=len(texts))


def _has_leading_zeros(table: Table, name: str) -> bool:
    """Return whether the numbers of a column look like codes, such as the ZIP code 01234."""
    column = table.columns[name]
    if is_number_column(column):
        return name in table.zero_padded
    return any(value is not None and is_zero_padded(value) for value in column)


def _number_column(table: Table, name: str, numbers: Array) -> tuple[Column, str]:
    present = numbers[~np.isnan(numbers)]
    if not present.size:
        raise _no_values(table, name)
    indicator = present.size < numbers.size
    reason = ""
    if not indicator and np.all(present == present[0]):
        reason = f"every training row has the value {present[0]:g}"
    return Column(name, None, float(np.median(present)), indicator), reason


def _category_column(table: Table, name: str, texts: Array, known: bool) -> tuple[Column, str]:
    counts = Counter(texts.tolist())
    n_missing = counts.pop(None, 0)
    if not counts:
        raise _no_values(table, name)
    n, distinct, reason = sum(counts.values()), len(counts), ""
    if distinct == 1 and not n_missing:
        reason = f"every training row has the value {abridged(next(iter(counts)))}"
    elif all(map(_is_date, islice(counts, _DATES_CHECKED))):
        reason = (
            "it contains dates, which are not used as they are; add columns such as the year, the "
            "month or the number of days"
        )
    elif distinct > n // 2 and distinct > min(_MANY, n - 1):
        reason = f"almost every row has a different text: {distinct} in {n} rows"
    elif distinct > MAX_CATEGORIES and not known:
        raise DataError(
            f"{table.name}: the column {name!r} has {distinct:,} different texts, and each would "
            f"become an input; at most {MAX_CATEGORIES:,} are made without asking",
            f"leave it out with --drop {quote(name)}, merge rare categories, or use all of them "
            f"with --categorical {quote(name)}",
        )
    categories = tuple(sorted(counts))
    if not reason or known:
        for text in categories:
            if fault := text_fault(text):
                # NumPy compares text without NUL characters at its end.
                row = as_text(table.columns[name]).tolist().index(text)
                raise DataError(
                    f"{table.location(row, name)}: the text {abridged(text)} {fault}",
                    f"correct the cell, or leave the column out with --drop {quote(name)}",
                )
    fill = max(categories, key=counts.__getitem__)
    return Column(name, categories, fill, n_missing > 0), reason


def _no_values(table: Table, name: str) -> DataError:
    return DataError(
        f"{table.name}: the column {name!r} has no value in any training row",
        f"fill it in, or leave it out with --drop {quote(name)}",
    )


def _are_different(numbers: Array) -> bool:
    """Return whether there are at least 10 numbers, all of them whole and no two equal."""
    whole = numbers.size >= 10 and bool(np.all(numbers == np.floor(numbers)))  # NaN is not
    return whole and np.unique(numbers).size == numbers.size


def _is_sequence(numbers: Array) -> bool:
    """Return whether numbers are different whole numbers without a gap, in any order."""
    # The training rows are a part of the table, so some numbers in between may be missing.
    return _are_different(numbers) and numbers.max() - numbers.min() < 2 * numbers.size


def _words(name: str) -> str:
    """Return a name in lower case with its words separated: ``PassengerId`` as ``passenger_id``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
        return True
    except ValueError:
        pass
    day = text.split(" ")[0]
    for pattern in _DATES:
        try:
            datetime.strptime(day, pattern)
            return True
        except ValueError:
            continue
    return False
