"""The reader of tables in text files: one line per row, with a separator between the cells."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from backprop_xp.backend.arrays import Array
from backprop_xp.data.readers.binary import open_expanded
from backprop_xp.data.readers.cells import MISSING, CleanText, check_values, is_row_numbers
from backprop_xp.data.readers.frames import read_columnar
from backprop_xp.data.readers.pandas_csv import NotPlainError, read_plain_columns
from backprop_xp.data.table import Table, is_number_column, is_zero_padded, text_fault
from backprop_xp.errors import ConfigurationError, DataError
from backprop_xp.files import unreadable_file
from backprop_xp.formatting import abridged, shorten

_SEPARATORS = (",", ";", "\t", "|")
_SEPARATOR_NAMES = {",": "commas", ";": "';'", "\t": "tabs", "|": "'|'", " ": "spaces"}
_SAMPLE_RECORDS = 1000  # the first records, from which the format is detected
_SAMPLE_CELLS = 100_000
_SAMPLE_CHARACTERS = 1_000_000
_SEPARATOR_LINES = 100
_CHUNK_ROWS = 200  # few enough for the caches of the processor
_CHUNK_CELLS = 2**20  # bounds the memory for cells that are still text
_MOST_COLUMNS = 2000  # the time that pandas takes for a column of a piece adds up
_LARGE_FILE = 1_000_000  # bytes; importing pandas takes as long as reading 10 MB without it
_SEPARATOR_LINE = re.compile(r'"?sep=([^"])"?[\r\n]*', re.IGNORECASE)  # for Excel
_NOT_TEXT = {  # the first bytes of files that are often named .csv all the same
    b"PK\x03\x04": (
        "an Excel file or a ZIP archive",
        "save the sheet as .csv, or unpack the archive",
    ),
    b"PAR1\x15": ("a Parquet file", "rename it to .parquet"),
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")


def read_table(
    path: os.PathLike[str] | str,
    *,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    check: bool = True,
) -> Table:
    """Read a table from a file, and detect its format.

    Parameters
    ----------
    path : path
        A text file (.csv, .tsv or .txt, also compressed by gzip), or a .parquet or .feather file,
        which needs pyarrow and ignores the other parameters.
    separator : str, optional
        The character between cells, or ``"tab"``. By default the one of comma, semicolon, tab and
        ``|`` that splits the first lines into the same number of cells.
    decimal : {".", ","}, optional
        The decimal sign. By default a comma if the separator is another character and the first
        cells contain numbers with decimal commas; otherwise a point.
    encoding : str, optional
        The name of an encoding that Python knows, such as ``"latin-1"``. By default UTF-8, or
        UTF-16 if the file begins with its byte order mark.
    header : bool, optional
        Whether the first line has the names of the columns. By default it does, and an error is
        raised if it looks like a row of data. Without names, the columns are c1, c2, ...
    check : bool
        Whether infinite numbers are an error. Without this, `check_values` finds them later, in
        the columns that are needed.

    Returns
    -------
    Table
        A column is numeric if every cell that is not missing is a number; otherwise it is text.

    Raises
    ------
    DataError
        If the file cannot be read or decoded, has no rows, a column has no name or the name of
        another one, a row has the wrong number of cells, a number is infinite, or the first line
        looks like data.
    ConfigurationError
        If a parameter is invalid.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("height;kind\\n1,5;cat\\n;dog\\n")
    ...     file.flush()
    ...     table = read_table(file.name)
    >>> table.columns["height"], table.columns["kind"]
    (array([1.5, nan]), array(['cat', 'dog'], dtype=object))
    >>> table.notes[0].partition(".csv: ")[2]
    "separated by ';', with decimal commas"
    """
    path = Path(path)
    if path.suffix.lower() in (".parquet", ".feather"):
        return read_columnar(path, check=check)
    _check_options(separator, decimal, encoding)
    separator = "\t" if separator in ("tab", "\\t") else separator
    layout = _detect_layout(path, separator, decimal, encoding)
    names = _column_names(layout, header)
    with_names = header is not False
    parsed = _read_large(layout, len(names), with_names)
    columns, lines = parsed or _read_columns(layout, len(names), with_names)
    if not len(lines):
        raise DataError(f"{path}: has a header, but no rows", "add one line per row")
    table = _named_table(layout, names, columns, lines, header)
    table = table._replace(zero_padded=_zero_padded(layout, names, columns, with_names))
    return check_values(table) if check else table


def read_cells(
    path: os.PathLike[str] | str,
    *,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
) -> dict[str, list[str]]:
    """Read the named columns of a text file as they are written, such as ``007`` or ``1.50``.

    Only decimal commas become points. The parameters and errors are those of `read_table`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("zip;price\\n007;1,50\\n")
    ...     file.flush()
    ...     read_cells(file.name)
    {'zip': ['007'], 'price': ['1.50']}
    """
    _check_options(separator, decimal, encoding)
    separator = "\t" if separator in ("tab", "\\t") else separator
    layout = _detect_layout(Path(path), separator, decimal, encoding)
    names = _column_names(layout, header)
    columns: list[list[str]] = [[] for _ in names]
    for _, rows in _chunks(layout, len(names), header is not False):
        for column, cells in zip(columns, zip(*rows, strict=True), strict=True):
            column.extend(cells)
    if layout.decimal == ",":
        for column in columns:
            with suppress(ValueError):  # text keeps its commas
                _parse_numbers(column, ",")
                column[:] = [cell.replace(",", ".") for cell in column]
    return {name: column for name, column in zip(names, columns, strict=True) if name}


class _Layout(NamedTuple):
    """How the text of a file forms a table."""

    path: Path
    encoding: str
    given_encoding: bool
    separator: str
    decimal: str
    notes: tuple[str, ...]
    n_skipped: int = 0  # lines above the header


def _check_options(separator: str | None, decimal: str | None, encoding: str | None) -> None:
    if separator not in (None, "tab", "\\t") and (
        len(separator) != 1 or separator.isalnum() or separator in "\"'\r\n.\0"
    ):
        raise ConfigurationError(
            f"the separator is {separator!r}",
            "give one character, such as ',' or ';', or the word tab",
        )
    if decimal not in (None, ".", ","):
        raise ConfigurationError(f"the decimal sign is {decimal!r}", "choose from: . ,")
    if encoding is not None:
        try:
            "".encode(encoding)  # also rejects codecs that are not for text, such as zlib
        except (LookupError, TypeError, ValueError):
            raise ConfigurationError(
                f"unknown encoding {encoding!r}", "for example utf-8, utf-16, latin-1 or cp1252"
            ) from None


# --- from bytes to records ---


def _text_lines(path: Path, encoding: str, given: bool) -> Iterator[str]:
    """Yield the lines of a file, with their ends, and without a byte order mark."""
    # The codecs for Unicode reject half a surrogate pair, but some others let it through.
    unchecked = not codecs.lookup(encoding).name.startswith(("utf-8", "utf-16", "utf-32"))
    try:
        with io.TextIOWrapper(open_expanded(path), encoding, newline="") as file:
            if file.read(1) != "\ufeff":
                file.seek(0)
            for number, line in enumerate(file, start=1):
                if "\0" in line:
                    raise DataError(
                        f"{path}, line {number}: contains a NUL character",
                        "the file is damaged or is not text; for UTF-16 without a byte order "
                        "mark, use --encoding utf-16-le (in Python, encoding='utf-16-le')",
                    )
                if unchecked and _SURROGATE.search(line):
                    raise DataError(
                        f"{path}, line {number}: contains half of a surrogate pair",
                        "save the file as UTF-8",
                    )
                yield line
    except UnicodeError as error:
        number = _undecodable_line(path, encoding)
        if given:
            raise DataError(
                f"{path}, line {number}: is not text in the encoding {encoding}",
                "use the encoding that the file was saved in, or save it as UTF-8",
            ) from error
        raise DataError(
            f"{path}, line {number}: is not {encoding.upper()} text",
            "use --encoding cp1252 or --encoding latin-1 if the file comes from Windows or an old "
            "program (in Python, encoding='cp1252'), or save it as UTF-8",
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged_file(path, error) from error
    except OSError as error:
        raise unreadable_file(path, error) from error


def _damaged_file(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path}: the compressed file is damaged: {error}", "fetch or compress the file again"
    )


def _undecodable_line(path: Path, encoding: str) -> int:
    # The file is decoded far ahead of the reader, so the error does not say which line it is.
    try:
        with open_expanded(path) as file:
            content = file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged_file(path, error) from error
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(encoding, "replace")
        return len(re.findall("\r\n|\r|\n", before)) + 1
    except UnicodeError:  # UTF-16 that lacks its byte order mark, for example
        pass
    return 1


def _records(layout: _Layout, width: int | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of each row, without blank lines.

    The width is the number of columns, as far as it is known.
    """
    start = layout.n_skipped + 1
    lines = _text_lines(layout.path, layout.encoding, layout.given_encoding)
    for _ in range(layout.n_skipped):
        next(lines)
    reader = csv.reader(
        lines,
        delimiter=layout.separator,
        # A space before a quote. In a single column, it only tells a blank line from a "" cell.
        skipinitialspace=width != 1,
        strict=True,
    )
    try:
        for cells in reader:
            if len(cells) == width != 1 or not _is_blank(cells, width):
                yield start, cells
            start = layout.n_skipped + reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{layout.path}, line {start}: {error}",
            'check the quotes: "..." around an entire cell, and "" for a quote inside it; the '
            f"separator is {layout.separator!r} here, and --separator gives another one",
        ) from error


def _is_blank(cells: list[str], width: int | None = None) -> bool:
    if len(cells) == 1:
        return not cells[0].strip(" \t") and not (width == 1 and cells[0] == "")
    return not cells


# --- the format ---


def _detect_layout(
    path: Path, separator: str | None, decimal: str | None, encoding: str | None
) -> _Layout:
    given = encoding is not None
    if encoding is None:
        try:
            with open_expanded(path) as file:
                start = file.read(5)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            start = b""  # reading the text raises the error for a damaged file
        except OSError as error:
            raise unreadable_file(path, error) from error
        for signature, (kind, remedy) in _NOT_TEXT.items():
            if start.startswith(signature):
                raise DataError(f"{path}: is {kind}, and not text", remedy)
        encoding = "utf-16" if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"
    elif codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
        encoding = "utf-8"  # a byte order mark is removed anyway

    sample, size = [], 0
    text_lines = _text_lines(path, encoding, given)
    for line in text_lines:
        sample.append(line)
        size += len(line)
        if len(sample) == _SAMPLE_RECORDS or size > _SAMPLE_CHARACTERS:
            break
    cut = next(text_lines, None) is not None
    given_in_file = _SEPARATOR_LINE.fullmatch(sample[0]) if sample else None
    if given_in_file:
        separator = separator or given_in_file[1]
        sample = sample[1:]

    notes = []
    if separator is None:
        lines = sample[:_SEPARATOR_LINES]
        cut_lines = cut or len(lines) < len(sample)
        fits = {s: _separator_fit(_split(lines, s, cut_lines)) for s in _SEPARATORS if s != decimal}
        separator = max(fits, key=lambda s: fits[s])  # the first one of equals
        if fits[separator][:2] == (0, 0) and _has_numbers_between_spaces(lines):
            raise DataError(
                f"{path}: the cells seem to be separated by spaces",
                "use --separator ' ' (in Python, separator=' ')",
            )
    if separator != ",":
        notes.append(f"separated by {_SEPARATOR_NAMES.get(separator, repr(separator))}")
    ambiguous = None
    if decimal is None:
        decimal = "."
        if separator != ",":
            cells = [cell.strip() for row in _split(sample, separator, cut) for cell in row]
            decimal, ambiguous = _decimal_sign(cells)
    if decimal == ",":
        notes.append("with decimal commas")
    if encoding != "utf-8":
        notes.append(f"in the encoding {encoding}")
    sentences = [f"{path}: {', '.join(notes)}"] if notes else []
    if ambiguous is not None:
        sentences.append(
            f"{path}: cells such as {abridged(ambiguous)} are read as text; if they are numbers "
            "with decimal commas, use --decimal , (in Python, decimal=',')"
        )
    return _Layout(
        *(path, encoding, given, separator, decimal, tuple(sentences)),
        n_skipped=1 if given_in_file else 0,
    )


def _split(lines: Sequence[str], separator: str, cut: bool) -> list[list[str]]:
    """Split lines into cells; the last record is left out if the lines may end within it."""
    rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    try:
        records = [cells for cells in rows if not _is_blank(cells)]
    except csv.Error:
        return []
    return records[:-1] if cut and len(records) > 1 else records


def _separator_fit(rows: list[list[str]]) -> tuple[float, float, float]:
    """Return how well a separator fits: how many rows are as long as the first, and so on."""
    if not rows:
        return (0.0, 0.0, 0.0)
    width = len(rows[0])
    alike = sum(len(row) == width for row in rows) / len(rows) if width > 1 else 0.0
    # A first line that is a title has one cell by any separator; the lines below it decide then.
    below = {len(row) for row in rows[1:]}
    alike_below = float(len(below) == 1 and min(below) > 1)
    # "1,5;2,5" has equal rows by comma and by semicolon, but only the latter makes numbers of it.
    cells = [cell.strip() for row in rows[:20] for cell in row]
    numbers = sum(bool(_NUMBER.fullmatch(cell)) for cell in cells) / len(cells)
    return (alike, alike_below, numbers)


def _has_numbers_between_spaces(lines: Sequence[str]) -> bool:
    rows = [line.split() for line in lines if line.strip()]
    return (
        len(rows) > 1
        and min(map(len, rows)) > 1
        and all(_NUMBER.fullmatch(cell) for row in rows[1:] for cell in row)
    )


def _decimal_sign(cells: Iterable[str]) -> tuple[str, str | None]:
    """Return the decimal sign, and a cell with a comma if it is unclear what the comma means."""
    with_comma = [cell for cell in cells if _DECIMAL_COMMA.fullmatch(cell)]
    if not with_comma:
        return ".", None
    points = any(_DECIMAL_POINT.fullmatch(cell) for cell in cells)
    # "1,234" may be 1234, but "-0,132" and "12,5" cannot have a separator of thousands.
    if not points and any(not _THOUSANDS.fullmatch(cell) for cell in with_comma):
        return ",", None
    return ".", with_comma[0]


# --- the header ---


def _column_names(layout: _Layout, header: bool | None) -> list[str]:
    _, cells = next(_records(layout), (0, None))
    if cells is None:
        raise DataError(f"{layout.path}: the file is empty", "the first line must name the columns")
    if header is False:
        return [f"c{position}" for position in range(1, len(cells) + 1)]
    names = [cell.strip() for cell in cells]
    if header is None and (reason := _data_in_header(names)):
        raise _header_error(layout.path, reason)
    first_position: dict[str, int] = {}
    for position, name in enumerate(names, start=1):
        if fault := text_fault(name):
            raise DataError(
                f"{layout.path}: the name of column {position} {fault}",
                "correct the first line, which names the columns",
            )
        first = first_position.setdefault(name, position)
        if name and first < position:
            raise DataError(
                f"{layout.path}: columns {first} and {position} are both named {name!r}",
                "rename one of them, or use --no-header if the first line is data "
                "(in Python, header=False)",
            )
    return names


def _header_error(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path}: the first line must name the columns, but it looks like data: {reason}",
        "use --no-header if the file has no names (the columns are then c1, c2, ...), or "
        "--header if these are the names (in Python, header=False or header=True)",
    )


def _data_in_header(names: list[str]) -> str | None:
    """Return why the cells of the first line look like data, or None if they do not."""
    numbers = [name for name in names if _NUMBER.fullmatch(name)]
    for name, count in Counter(numbers).items():
        if not name.isdigit():
            return f"it contains the number {shorten(name, 60)}"
        if count > 1:
            return f"the number {shorten(name, 60)} repeats"
    # pandas writes the header ",0,1,2" for columns that have no names.
    if names == ["", *map(str, range(len(names) - 1))]:
        return None
    filled = [name for name in names if name]
    if numbers and len(numbers) == len(filled):
        return "it contains nothing but numbers"
    return None


# --- the columns ---


def _read_large(layout: _Layout, width: int, with_names: bool) -> tuple[list[Array], Array] | None:
    """Return the result of `_read_columns` by pandas; None if the file is not for it."""
    size = layout.path.stat().st_size
    if (
        size < _LARGE_FILE
        or layout.encoding != "utf-8"
        or layout.separator not in _SEPARATORS
        or width > _MOST_COLUMNS
    ):
        return None
    text_columns = [False] * width
    first_row = 0
    for lines, rows in _first_chunks(layout, width, with_names):
        first_row = first_row or lines[0]
        for column, cells in enumerate(zip(*rows, strict=True)):
            try:
                _parse_numbers(cells, layout.decimal)
            except ValueError:
                text_columns[column] = True
    if not first_row:
        return None
    try:
        with open_expanded(layout.path) as file:
            return read_plain_columns(
                *(file, size, first_row - 1, text_columns),
                *(layout.separator, layout.decimal, CleanText()),
            )
    except (ImportError, NotPlainError, OSError, EOFError, zlib.error):
        return None  # the csv module reads the file, or finds what is wrong with it


def _read_columns(layout: _Layout, width: int, with_names: bool) -> tuple[list[Array], Array]:
    """Return the columns, and the line of each row."""
    numbers: dict[int, array[float]] = {column: array("d") for column in range(width)}
    texts: dict[int, list[str | None]] = {}
    late: list[int] = []  # text columns that began with numbers
    lines = array("q")
    clean = CleanText()
    for chunk_lines, rows in _chunks(layout, width, with_names):
        for column, cells in enumerate(zip(*rows, strict=True)):
            if column in texts:
                texts[column].extend(map(clean.__getitem__, cells))
            elif column in numbers:
                try:
                    numbers[column].extend(_parse_numbers(cells, layout.decimal))
                except ValueError:
                    del numbers[column]
                    if lines:
                        late.append(column)
                    else:
                        texts[column] = list(map(clean.__getitem__, cells))
        lines.extend(chunk_lines)
    if late:  # their first cells were kept as numbers only, which saves much memory
        texts.update((column, []) for column in late)
        for _, rows in _chunks(layout, width, with_names):
            for column in late:
                texts[column].extend(clean[row[column]] for row in rows)
    columns = [
        np.frombuffer(numbers[column], dtype=np.float64)
        if column in numbers
        else np.asarray(texts[column], dtype=object)
        for column in range(width)
    ]
    return columns, np.frombuffer(lines, dtype=np.int64)


def _zero_padded(
    layout: _Layout, names: list[str], columns: list[Array], with_names: bool
) -> frozenset[str]:
    """Return the columns of numbers that have some with leading zeros in the first rows."""
    return frozenset(
        names[position]
        for _, rows in _first_chunks(layout, len(names), with_names)
        for position, cells in enumerate(zip(*rows, strict=True))
        if is_number_column(columns[position])
        and any(is_zero_padded(cell.strip()) for cell in cells)
    )


def _first_chunks(
    layout: _Layout, width: int, with_names: bool
) -> Iterator[tuple[list[int], list[list[str]]]]:
    """Yield the first of the `_chunks`."""
    n_chunks = max(1, min(_SAMPLE_RECORDS, _SAMPLE_CELLS // width) // _CHUNK_ROWS)
    return islice(_chunks(layout, width, with_names), n_chunks)


def _chunks(
    layout: _Layout, width: int, with_names: bool
) -> Iterator[tuple[list[int], list[list[str]]]]:
    """Yield the line numbers and the cells of some rows at a time."""
    size = max(1, min(_CHUNK_ROWS, _CHUNK_CELLS // width))
    lines: list[int] = []
    rows: list[list[str]] = []
    first_line = None
    for line, cells in _records(layout, width):
        if first_line is None:
            first_line = line
            if with_names:
                continue
        if len(cells) != width:
            expected = f"the header names {width} column{'s' * (width > 1)}"
            if not with_names:
                expected = f"line {first_line} has {width}"
            hint = (
                'give every row one cell per column; put quotes ("...") around cells that '
                f"contain the separator, which is {layout.separator!r} here"
            )
            if with_names and width == 1:
                hint = f"if line {line} names the columns, remove the lines above it; or {hint}"
            elif with_names and not lines and len(cells) == width + 1:
                hint = (
                    "if the first cell is the name of its row, as R writes tables, add a name for "
                    f"it at the start of line {first_line}; or {hint}"
                )
            raise DataError(
                f"{layout.path}, line {line}: {len(cells)} cell{'s' * (len(cells) > 1)}, "
                f"but {expected}",
                hint,
            )
        lines.append(line)
        rows.append(cells)
        if len(rows) == size:
            yield lines, rows
            lines, rows = [], []
    if rows:
        yield lines, rows


def _parse_numbers(cells: Sequence[str], decimal: str) -> array[float]:
    """Convert cells to numbers, NaN where they are missing; a ValueError means that it is text."""
    joined = "".join(cells)
    if "_" in joined or (decimal == "," and "." in joined):
        # float() reads "1_000", and would read "1.000" as 1 among numbers with decimal commas.
        raise_for = "_" if decimal == "." else "_."
        if any(sign in cell for cell in cells if cell.strip() not in MISSING for sign in raise_for):
            raise ValueError
    nan = float("nan")
    try:
        if decimal == ",":
            return array("d", [float(cell.replace(",", ".")) for cell in cells])
        return array("d", list(map(float, cells)))
    except ValueError:
        return array(
            "d",
            [
                nan if cell.strip() in MISSING else float(cell.replace(decimal, "."))
                for cell in cells
            ],
        )


def _named_table(
    layout: _Layout, names: list[str], columns: list[Array], lines: Array, header: bool | None
) -> Table:
    path, notes = layout.path, list(layout.notes)
    named: dict[str, Array] = {}
    # Text above numbers can only be a name.
    certain = header is not None or any(
        is_number_column(column) and name and not _NUMBER.fullmatch(name)
        for name, column in zip(names, columns, strict=True)
    )
    for position, (name, column) in enumerate(zip(names, columns, strict=True), start=1):
        is_number = is_number_column(column)
        # Spreadsheets write separators after the last column that is in use.
        unnamed = not name or (header is False and position == len(names))
        if unnamed and is_number and np.isnan(column).all():
            notes.append(f"{path}: left out column {position}, which is empty and has no name")
            continue
        if not name:
            if not is_row_numbers(column):
                raise DataError(
                    f"{path}: column {position} has no name",
                    "name it in the first line, or remove the column",
                )
            notes.append(
                f"{path}: left out column {position}, which has row numbers and has no name"
            )
            continue
        # A class in the first line is usually the class of other rows, too.
        if not certain and not is_number and (column == name).any():
            line = int(lines[np.argmax(column == name)])
            raise _header_error(path, f"{name!r} is also in line {line} of the same column")
        named[name] = column
    return Table(str(path), named, lines, tuple(notes))
