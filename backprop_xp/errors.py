"""The errors a user can meet: each says what is wrong, where, and how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

Record = TypeVar("Record")


class BackpropError(Exception):
    """Base of every error that this package raises on purpose.

    Parameters
    ----------
    message : str
        What is wrong, and where.
    hint : str, optional
        How to mend it.

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
    """A setting is unknown, out of range, or contradicts another one."""

    kind = "configuration"
    exit_code = 2


class DataError(BackpropError, ValueError):
    """A data set is missing, damaged, or does not fit the network."""

    kind = "data"
    exit_code = 3


class ModelFileError(BackpropError, ValueError):
    """A model file is missing, damaged, or not one of ours."""

    kind = "model"
    exit_code = 4


class DivergenceError(BackpropError, ArithmeticError):
    """A loss or a weight is no longer a finite number.

    Attributes
    ----------
    state : object
        The training state of the last good epoch end
        (`backprop_xp.TrainState`).
    """

    kind = "diverged"
    exit_code = 5
    state: object = None


class DeviceError(BackpropError, RuntimeError):
    """A device or backend was asked for by name and cannot be used."""

    kind = "device"
    exit_code = 6


def look_up(kind: str, name: object, registry: Mapping[str, Record]) -> Record:
    """Return the record of that name.

    Parameters
    ----------
    kind : str
        What is looked up, for example ``"activation"``.
    name : object
        The name the user gave.
    registry : mapping of str
        The records there are.

    Raises
    ------
    ConfigurationError
        If there is none of that name; the message suggests the nearest.

    Examples
    --------
    >>> look_up("answer", "life", {"life": 42})
    42
    """
    if not isinstance(name, str) or name not in registry:
        raise unknown_name(kind, name, registry)
    return registry[name]


def unknown_name(kind: str, name: object, known: Iterable[str]) -> ConfigurationError:
    """Return the error for a name that is not in a registry, with a suggestion.

    Parameters
    ----------
    kind : str
        What was looked up, for example ``"activation"``.
    name : object
        The name the user gave.
    known : iterable of str
        The names there are.

    Examples
    --------
    >>> error = unknown_name("activation", "relo", ["relu", "tanh"])
    >>> print(error.message, error.hint, sep=" | ")
    unknown activation 'relo' | did you mean 'relu'? There are: relu, tanh
    """
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1)
    suggestion = f"did you mean {close[0]!r}? " if close else ""
    return ConfigurationError(
        f"unknown {kind} {name!r}", f"{suggestion}There are: {', '.join(known)}"
    )
