"""The errors that users can get: each says what is wrong, where, and how to fix it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

from backprop_xp.formatting import abridged, listed

Record = TypeVar("Record")

_FEW = 20
"""The number of valid names that an error lists; of more, it names the nearest ones."""

_COMPARED, _MANY = 100, 10_000
"""The number of characters of a name that are compared with the valid ones, and of valid ones that
it is compared with, which takes 0.2 seconds."""


class HintMixin(BaseException):
    """A base for exceptions with a hint, which Python shows below the message (PEP 678)."""

    _hint: str | None = None

    @property
    def hint(self) -> str | None:
        """How to fix the error; assigning it replaces the note in the traceback."""
        return self._hint

    @hint.setter
    def hint(self, hint: str | None) -> None:
        if self._hint:
            self.__notes__.remove(self._hint)
        if hint:
            self.add_note(hint)
        self._hint = hint


class BackpropError(HintMixin, Exception):
    """Base of every error that this package raises on purpose.

    Parameters
    ----------
    message : str
        What is wrong, and where.
    hint : str, optional
        How to fix it.

    Attributes
    ----------
    kind : str
        Short machine-readable name, used by ``--json``.
    exit_code : int
        Exit code of the command line for this error.
    """

    kind = "error"
    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigurationError(BackpropError, ValueError):
    """An unknown setting, a value out of range, or two settings that contradict each other."""

    kind = "configuration"
    exit_code = 2


class DataError(BackpropError, ValueError):
    """A data set that is missing, damaged, or does not fit the network."""

    kind = "data"
    exit_code = 3


class ModelFileError(BackpropError, ValueError):
    """A model file that is missing, damaged, or not in the format of this package."""

    kind = "model"
    exit_code = 4


class DivergenceError(BackpropError, ArithmeticError):
    """A loss or a weight that is no longer a finite number.

    Attributes
    ----------
    state : object
        The training state after the last complete epoch (`backprop_xp.TrainState`).
    """

    kind = "diverged"
    exit_code = 5
    state: object = None


class DeviceError(BackpropError, RuntimeError):
    """A device or backend that was requested by name and cannot be used."""

    kind = "device"
    exit_code = 6


def look_up(
    kind: str, name: object, registry: Mapping[str, Record], record_type: Any = (), also: str = ""
) -> Record:
    """Return the record with the given name; a record is returned unchanged.

    Parameters
    ----------
    kind : str
        The kind of record, for the error message, for example ``"activation"``.
    name : str or record
    registry : mapping of str
        The records by name.
    record_type : type, optional
        The type of a record; by default only names are accepted.
    also : str, optional
        A name that the caller handles itself, listed in the error message.

    Raises
    ------
    ConfigurationError
        If the name is unknown; the hint suggests the nearest one.

    Examples
    --------
    >>> look_up("answer", "life", {"life": 42}), look_up("answer", 43, {"life": 42}, int)
    (42, 43)
    """
    if isinstance(name, record_type):
        record: Record = name
        return record
    if not isinstance(name, str) or name not in registry:
        raise unknown_name(kind, name, [*registry, also] if also else registry)
    return registry[name]


def check_name(kind: str, name: object, known: Collection[str], see: str = "") -> None:
    """Raise the error of `unknown_name` for a name that is not one of the known ones."""
    if name not in known:
        raise unknown_name(kind, name, known, see)


def unknown_name(
    kind: str, name: object, known: Iterable[str], see: str = ""
) -> ConfigurationError:
    """Return the error for an unknown name, with the nearest names; a short list is complete.

    Parameters
    ----------
    kind : str
        The kind of thing that was looked up, for example ``"activation"``.
    name : object
        The name that the user gave.
    known : iterable of str
        The valid names.
    see : str, optional
        What lists the valid names if there are many of them.

    Examples
    --------
    >>> error = unknown_name("activation", "relo", ["relu", "tanh"])
    >>> print(error.message, error.hint, sep=" | ")
    unknown activation 'relo' | did you mean 'relu'? Choose from: relu, tanh
    """
    known = list(known)
    few = len(known) <= _FEW
    text = name[:_COMPARED] if isinstance(name, str) else ""
    near = difflib.get_close_matches(text, known[:_MANY], n=3)
    if few and near:  # of equally near names, the first of the known ones
        ratio = {one: difflib.SequenceMatcher(a=one, b=text).ratio() for one in near}
        near = [max(sorted(near, key=known.index), key=ratio.__getitem__)]
    suggestion = f"did you mean {listed(list(map(repr, near)), 3)}?" if near else ""
    choose = see if see and not few else f"choose from: {listed(known, _FEW)}"
    if near:
        choose = f"{suggestion} {choose[0].upper()}{choose[1:]}"
    return ConfigurationError(f"unknown {kind} {abridged(name)}", choose)


def is_number(value: object) -> bool:
    """Return whether a value is a Python number, which a boolean is not here."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_fraction(name: str, value: float) -> None:
    """Raise a `ConfigurationError` for a value that is not a number from 0 to below 1."""
    if not is_number(value) or not 0.0 <= value < 1.0:
        raise ConfigurationError(f"{name} is {value!r}", "give a number from 0 to below 1")
