"""The fast reader of large text tables without quotes: pandas parses the file in pieces."""

from __future__ import annotations

import codecs
import io
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from backprop_xp.backend.arrays import Array
from backprop_xp.data.readers.cells import MISSING

# For 1,000,000 rows of 20 numbers (218 MB), `pandas.read_csv` takes 0.6 s and 525 MB; pieces of
# 4 MB in two threads take 0.8 s and 200 MB.
_PIECE = 4_000_000
_WORKERS = 2
_LONGEST_CELL = 131_072  # of the csv module


class NotPlainError(Exception):
    """Something in a file that pandas and the csv module could read differently."""


def read_plain_columns(
    file: BinaryIO,
    size: int,
    skip: int,
    text_columns: Sequence[bool],
    separator: str,
    decimal: str,
    clean: Mapping[str, str | None],
) -> tuple[list[Array], Array]:
    """Read the columns of a table in UTF-8 that has no quotes.

    Parameters
    ----------
    file : binary file
    size : int
        The size of the file in bytes, from which the number of rows is estimated.
    skip : int
        The number of lines before the first row.
    text_columns : sequence of bool
        For each column, whether it is text.
    separator, decimal : str
    clean : mapping of str
        The text to store for a cell of a text column, or None if it is missing.

    Returns
    -------
    columns : list of array, each of shape (n,)
    lines : array of int, shape (n,)
        The line of each row.

    Raises
    ------
    ImportError
        If pandas is not installed.
    NotPlainError
        If the csv module could read the file differently: the file has quotes, rows of different
        lengths, text in a column of numbers, or carriage returns within lines.

    Examples
    --------
    >>> import io, pytest
    >>> _ = pytest.importorskip("pandas")
    >>> file = io.BytesIO(b"height,kind\\n1.5,cat\\n\\n2,dog\\n")
    >>> read_plain_columns(file, 30, 1, [False, True], ",", ".", {"cat": "cat", "dog": None})
    ([array([1.5, 2. ]), array(['cat', None], dtype=object)], array([2, 4]))
    """
    options = _pandas_options(text_columns, separator, decimal)
    texts: dict[int, list[str | None]] = {i: [] for i, text in enumerate(text_columns) if text}
    # One array for each column, so that the memory of a column can be freed by itself.
    numbers = {i: np.empty(0) for i in range(len(text_columns)) if i not in texts}
    lines = np.empty(0, dtype=np.int64)
    n_rows = 0
    n_lines = skip

    def collect(piece: _Piece) -> None:
        nonlocal lines, n_rows, n_lines
        end = n_rows + len(piece.lines)
        if end > len(lines):
            # For all rows if the file goes on like this, and more if it does not (or was
            # compressed). Arrays that grow with each piece take ten times as long.
            capacity = int(max(1.05 * len(piece.lines) * size / piece.size, 1.5 * end))
            for column, values in numbers.items():
                numbers[column] = _with_capacity(values, n_rows, capacity)
            lines = _with_capacity(lines, n_rows, capacity)
        lines[n_rows:end] = piece.lines + n_lines
        for column, cells in enumerate(piece.columns):
            if column in texts:
                texts[column].extend(map(clean.__getitem__, cells))
            else:
                numbers[column][n_rows:end] = cells
        n_rows, n_lines = end, n_lines + piece.n_lines

    pending: deque[Future[_Piece]] = deque()
    with ThreadPoolExecutor(_WORKERS) as workers:
        for content in _pieces(file, skip):
            pending.append(workers.submit(_parse, content, separator, len(text_columns), options))
            if len(pending) > _WORKERS:
                collect(pending.popleft().result())
        while pending:
            collect(pending.popleft().result())
    columns = [
        np.asarray(texts[column], dtype=object) if is_text else numbers[column][:n_rows]
        for column, is_text in enumerate(text_columns)
    ]
    return columns, lines[:n_rows]


class _Piece(NamedTuple):
    """The rows of a part of a file; their lines count from 1 at its start."""

    columns: Sequence[Array]
    lines: Array
    n_lines: int
    size: int


def _with_capacity(values: Array, used: int, capacity: int) -> Array:
    larger = np.empty(capacity, dtype=values.dtype)
    larger[:used] = values[:used]
    return larger


def _pandas_options(text_columns: Sequence[bool], separator: str, decimal: str) -> dict[str, Any]:
    import pandas

    texts = [i for i, is_text in enumerate(text_columns) if is_text]
    missing: Any = list(MISSING)
    if texts:
        # Every cell of a text column has to arrive as it is in the file.
        missing = {i: [] if is_text else missing for i, is_text in enumerate(text_columns)}
    # Numbers of a given type take 1.3 times as long as those whose type pandas finds.
    dtype = dict.fromkeys(texts, object)
    options = {
        **{"sep": separator, "decimal": decimal, "dtype": dtype, "na_values": missing},
        **{"keep_default_na": False, "header": None, "index_col": None, "low_memory": False},
    }
    if tuple(map(int, pandas.__version__.split(".")[:2])) < (3, 1):
        # By default, the last bit of some numbers differed before pandas 3.1.
        options["float_precision"] = "round_trip"
    return options


def _pieces(file: BinaryIO, skip: int) -> Iterator[bytes]:
    """Yield the file in pieces that end where a line does, without the first lines."""
    rest = file.read(_PIECE).removeprefix(codecs.BOM_UTF8)
    start = 0
    for _ in range(skip):
        start = rest.find(b"\n", start) + 1
        if not start:
            raise NotPlainError
    _check_line_ends(rest[:start])
    rest = rest[start:]
    while rest:
        # The rest of its last line comes with `readline`, so that no piece is copied twice.
        line = file.readline(_PIECE)
        if len(line) == _PIECE:
            raise NotPlainError
        yield rest + line
        rest = file.read(_PIECE)


def _check_line_ends(text: bytes) -> None:
    if b"\r" in text and text.count(b"\r") != text.count(b"\r\n"):
        raise NotPlainError


def _read(content: bytes, options: dict[str, Any]) -> Any:
    import pandas

    try:
        return pandas.read_csv(io.BytesIO(content), **options)
    except Exception as error:
        raise NotPlainError from error


def _columns(frame: Any, options: dict[str, Any]) -> Sequence[Array]:
    """Return the columns of a data frame as arrays; those that are not text must be numbers."""
    kinds = {frame[i].dtype.kind for i in frame.columns if i not in options["dtype"]}
    if not kinds <= set("iuf"):
        raise NotPlainError
    # One array of all columns is faster than a column at a time.
    one_array = kinds == {"f"} and not options["dtype"]
    return frame.to_numpy().T if one_array else [frame[i].to_numpy() for i in frame.columns]


def _parse(content: bytes, separator: str, width: int, options: dict[str, Any]) -> _Piece:
    if b'"' in content or b"\0" in content or content.startswith(codecs.BOM_UTF8):
        raise NotPlainError
    _check_line_ends(content)
    # A line of _LONGEST_CELL bytes covers one of these spans.
    span = _LONGEST_CELL // 2
    if any(content.find(b"\n", i, i + span) < 0 for i in range(0, len(content) - span, span)):
        raise NotPlainError
    frame = _read(content, options)
    # pandas fills short rows with missing values. Without names, it raises an error for rows
    # longer than the first one, so that the number of separators tells whether any is short.
    characters = np.frombuffer(content, dtype=np.uint8)
    n_separators = int(np.count_nonzero(characters == ord(separator)))
    if frame.shape[1] != width or n_separators != (width - 1) * len(frame):
        raise NotPlainError
    n_lines = content.count(b"\n") + (not content.endswith(b"\n"))
    lines = np.arange(1, n_lines + 1)
    if len(frame) != n_lines:
        blanks = b" \r" if separator == "\t" else b" \t\r"
        texts = content.split(b"\n")[:n_lines]
        lines = np.asarray([i for i, text in enumerate(texts, 1) if text.strip(blanks)], dtype=int)
        if len(frame) != len(lines):
            raise NotPlainError
    columns = _columns(frame, options)
    if any(np.count_nonzero(column) < column.size for column in columns if column.dtype != object):
        # Among whole numbers, -0 has lost its sign.
        fraction = re.escape("0123456789" + options["decimal"]).encode()
        if re.search(rb"-0+(?![%b])" % fraction, content):
            numbers = dict.fromkeys(range(width), np.float64) | options["dtype"]
            columns = _columns(_read(content, options | {"dtype": numbers}), options)
    return _Piece(columns, lines, n_lines, len(content))
