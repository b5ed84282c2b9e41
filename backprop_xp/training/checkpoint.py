"""A checkpoint: the complete state of a training run in one file, and when it is written."""

from __future__ import annotations

import dataclasses
import json
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from backprop_xp.backend import arrays
from backprop_xp.backend.devices import Placement
from backprop_xp.backend.libraries import version_of
from backprop_xp.errors import BackpropError, ConfigurationError, ModelFileError
from backprop_xp.formatting import listed
from backprop_xp.nn.network import Layer, Network, Parameters
from backprop_xp.tensor_file import DAMAGED, read_tensors, text_tensor, write_tensors
from backprop_xp.training.history import History
from backprop_xp.training.settings import TrainingSettings, parse_interval
from backprop_xp.training.state import Best, TrainState, WithinEpoch
from backprop_xp.training.training_data import TrainingData
from backprop_xp.version import __version__

FORMAT = "backprop_xp.checkpoint"
FORMAT_VERSION = 1

MAY_CHANGE = (
    "epochs",
    "patience",
    "min_improvement",
    "target_loss",
    "evaluate_training",
    "diagnostics",
    "cuda_graph",
)
"""The settings that may be others when a run is continued: when it ends, and what is measured."""

MOST_COST = 0.01
"""The largest part of the time that is spent on checkpoints, but for the first and the last."""

_NUMBERS = ("epoch", "step", "learning_rate", "loss", "seconds")


class Stored(NamedTuple):
    """The content of a checkpoint.

    Attributes
    ----------
    path : Path
    state : TrainState
        Its arrays are NumPy's.
    about : dict
        The network, the settings, the data and the environment of the run.
    config : str
        The text that was stored with it.
    extra, tensors : dict
        What `Checkpoint.extra` returned.
    """

    path: Path
    state: TrainState
    about: dict[str, Any]
    config: str
    extra: dict[str, Any]
    tensors: dict[str, Any]

    def resumed(self, about: dict[str, Any]) -> TrainState:
        """Return the state to continue from, after comparing the run with another one.

        A state that stopped before its last epoch, and would stop there again, remains stopped.

        Warns
        -----
        UserWarning
            If the environment is another one, so that numbers can differ in their last digits.

        Raises
        ------
        ConfigurationError
            If the network, a setting other than those of `MAY_CHANGE`, or the data is another one.
        """
        self._check(about)
        before, now = self.about["settings"], about["settings"]
        names = {"early_stopping": ("patience", "min_improvement"), "target_loss": ("target_loss",)}
        ends = names.get(self.state.stopped, ())
        same = ends and all(before.get(name) == now.get(name) for name in ends)
        return self.state._replace(stopped=self.state.stopped if same else "")

    def _check(self, about: dict[str, Any]) -> None:
        changed = {kind: _changes(self.about[kind], about[kind]) for kind in about}
        for kind, words, hint in (
            ("network", "is of another network", "continue with the same network and data type"),
            (
                "data",
                "is of other data, which differs in",
                "continue with the same rows in the same order, or start a new run",
            ),
            (
                "settings",
                "was written with other settings",
                f"give the same ones; {', '.join(MAY_CHANGE)} may change",
            ),
        ):
            if changed[kind]:
                what = changed[kind]
                if kind == "data":  # hashes say nothing
                    what = [change.split(" is ")[0] for change in what]
                raise ConfigurationError(
                    f"the checkpoint {self.path} {words}: {listed(what, 5)}",
                    f"{hint}. To train its weights on other terms, pass the state in it to fit: "
                    "fit(..., state=read_checkpoint(path).state)",
                )
        if changed["environment"]:
            warnings.warn(
                f"the checkpoint {self.path} was written in another environment "
                f"({'; '.join(changed['environment'])}): the numbers can differ from those of an "
                "uninterrupted run in their last digits",
                UserWarning,
                stacklevel=4,
            )


class Checkpoint:
    """A file that a training run writes its complete state to from time to time.

    It is written after the first epoch, then whenever it is due, and at the end, also if the
    training run is interrupted, diverges or fails. The file before it is kept beside it as
    ``NAME.previous.SUFFIX``, in case that the newer one is damaged.

    Parameters
    ----------
    path : path
    every : str
        ``"30s"``, ``"5m"``, ``"1h"``, ``"10 epochs"``, or ``"never"`` for only the first epoch
        and the end. A time also applies within an epoch of data that stays in its file. A large
        state is written less often, so that this takes at most one hundredth of the time.
    overwrite : bool
        Whether a checkpoint of another run may be replaced.
    config : str
        A text to store with the state.

    Attributes
    ----------
    stored : Stored or None
        What the run continues from.
    latest : TrainState or None
        The state after the last epoch.
    requested : bool
        Whether the next epoch is to be written in any case.

    Raises
    ------
    ConfigurationError
        If ``every`` is something else.

    Examples
    --------
    >>> import tempfile
    >>> from backprop_xp.training.fit import fit
    >>> network, rows = Network((2, 1), "identity"), ([[0.0, 1.0], [1.0, 0.0]], [[0.0], [1.0]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "run.safetensors"
    ...     _ = fit(network, rows, checkpoint=path, epochs=2, seed=0)
    ...     state = fit(network, rows, checkpoint=path, resume=True, epochs=3, seed=0)
    >>> state.epoch, len(state.history)
    (3, 3)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: str = "30s",
        *,
        overwrite: bool = False,
        config: str = "",
    ) -> None:
        self.path = Path(path)
        self.stored: Stored | None = None
        self.latest: TrainState | None = None
        self.requested = False
        self._seconds, self._epochs = parse_interval(every)
        self._overwrite = overwrite
        self._config = config
        self._about: dict[str, Any] = {}
        self._lines: list[str] = []  # the history as JSON, one list for each checkpoint
        self._encoded = 0  # epochs in it
        self._written: tuple[int, int, str] | None = None  # step, epoch and why it stopped
        self._tried = False
        self._keep = False  # the file may be damaged, or belong to another run
        self._writing = False
        self._began = self._time = time.monotonic()
        self._cost = self._spent = 0.0  # of the last one, and of all

    @classmethod
    def of(cls, checkpoint: str | os.PathLike[str] | Checkpoint) -> Checkpoint:
        """Return the checkpoint with a path; a checkpoint itself is returned unchanged."""
        return checkpoint if isinstance(checkpoint, Checkpoint) else cls(checkpoint)

    def begin(self, about: dict[str, Any], *, resume: bool) -> TrainState | None:
        """Return the state to continue from; None if a run starts.

        Parameters
        ----------
        about : dict
            From `about_run`.
        resume : bool
            Whether to continue from the file, if it exists.

        Raises
        ------
        ConfigurationError
            If the file is of another run, exists although it is neither to be continued nor
            replaced, or its folder cannot be written to.
        ModelFileError
            If the file and the one before it are damaged.
        """
        self._about, self._lines, self._encoded = about, [], 0
        if not os.access(self.path.parent, os.W_OK | os.X_OK):
            raise ConfigurationError(
                f"the checkpoint {self.path} cannot be written: there is no such folder, or no "
                "permission to write to it",
                "make the folder first, or name another one",
            )
        exists = os.path.lexists(self.path) or os.path.lexists(previous_path(self.path))
        if not exists:
            return None
        if resume:
            stored = self.stored = read_checkpoint(self.path)
            state = stored.resumed(about)
            self.latest, self._written = stored.state, _moment(stored.state)
            self._tried = True
            self._keep = stored.path == self.path
            return state
        if not self._overwrite:
            raise ConfigurationError(
                f"the checkpoint {self.path} exists already",
                "continue its training run with resume=True, or remove it",
            )
        return None

    def is_due(self, state: TrainState) -> bool:
        """Return whether to write a state that follows from ``state``, which has whole epochs."""
        if self.requested:
            return True
        if state.epoch and not self._tried:
            return True
        if self._epochs is not None:
            return state.epoch - (self._written or (0, 0))[1] >= self._epochs
        now = time.monotonic()
        affordable = self._spent + self._cost <= MOST_COST * (now - self._began)
        return now - self._time >= self._seconds and affordable

    def update(self, state: TrainState) -> None:
        """Take note of the state after an epoch, and write it if it is due."""
        self.latest = state
        if self.is_due(state):
            self.write(state)

    def write_latest(self) -> None:
        """Write the state after the last epoch, unless it or a later one was written."""
        if self.latest is not None and not self._writing and not self.is_written(self.latest):
            self.write(self.latest)

    def is_written(self, state: TrainState) -> bool:
        """Return whether a state, or a later one, was written."""
        return self._written is not None and _moment(state) <= self._written

    def write(self, state: TrainState) -> None:
        """Write a state; where that fails, warn and continue."""
        started, self._writing, self._tried = time.monotonic(), True, True
        try:
            self.save(state)
            self.written(state)
        except ConfigurationError as error:
            self.failed(error, state)
        finally:
            self._writing = False
            self._time = time.monotonic()
            self._cost = self._time - started
            self._spent += self._cost

    def save(self, state: TrainState) -> None:
        """Write the file.

        Raises
        ------
        ConfigurationError
            If it cannot be written.
        """
        if records := state.history[self._encoded :]:  # together they take half the time
            self._lines.append(json.dumps(records))
            self._encoded = len(state.history)
        tensors = {"history": text_tensor("\n".join(self._lines))}
        extra, more = self.extra()
        tensors |= {f"extra.{name}": tensor for name, tensor in more.items()}
        tensors |= named_tensors("parameters", state.parameters)
        if state.best is not None and state.best.parameters is not state.parameters:
            tensors |= named_tensors("best", state.best.parameters)
        for index, kept in enumerate(state.slots):
            for number, slot in enumerate(kept):
                tensors[f"slots.{index}.{number}"] = arrays.to_numpy(slot)
        description = {
            "format_version": FORMAT_VERSION,
            "version": __version__,
            "epoch": state.epoch,
            "step": state.step,
            "seed": state.seed,
            "stopped": state.stopped,
            "best": state.best and {"epoch": state.best.epoch, "value": state.best.value},
            "within_epoch": state.within_epoch and state.within_epoch._asdict(),
            "about": self._about,
            "extra": extra,
        }
        metadata = {"checkpoint": json.dumps(description), "config": self._config}
        previous = previous_path(self.path)
        write_tensors(self.path, FORMAT, tensors, metadata, keep=previous if self._keep else None)
        if not self._keep:
            previous.unlink(missing_ok=True)
        self._keep = True

    def written(self, state: TrainState) -> None:
        """Take note that a state was written completely."""
        self._written, self.requested = _moment(state), False

    def extra(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what else to store with the state being written: plain data, and tensors."""
        return {}, {}

    def failed(self, error: ConfigurationError, state: TrainState) -> None:
        """Warn of a file that could not be written; the next one may be."""
        warnings.warn(
            f"{error}; the training continues without a checkpoint ({error.hint})",
            UserWarning,
            stacklevel=2,
        )


def _moment(state: TrainState) -> tuple[int, int, str]:
    return state.step, state.epoch, state.stopped


def read_checkpoint(path: str | os.PathLike[str]) -> Stored:
    """Read a checkpoint, or the one before it if it is missing or damaged.

    Warns
    -----
    UserWarning
        If the one before it was read.

    Raises
    ------
    ModelFileError
        If neither can be read.

    Examples
    --------
    >>> import tempfile
    >>> from backprop_xp.training.fit import fit
    >>> network, rows = Network((2, 1), "identity"), ([[0.0, 1.0], [1.0, 0.0]], [[0.0], [1.0]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "run.safetensors"
    ...     state = fit(network, rows, checkpoint=path, epochs=2, seed=0)
    ...     stored = read_checkpoint(path)
    >>> stored.state.epoch, stored.state.history == state.history
    (2, True)
    """
    try:
        return _read(Path(path))
    except ModelFileError as error:
        try:
            stored = _read(previous_path(path))
        except ModelFileError:
            raise error from None
        warnings.warn(
            f"{error}; the one before it is used, of epoch {stored.state.epoch}",
            UserWarning,
            stacklevel=2,
        )
        return stored


def previous_path(path: str | os.PathLike[str]) -> Path:
    """Return where the checkpoint before the last one is kept.

    Examples
    --------
    >>> print(previous_path("checkpoint.safetensors"))
    checkpoint.previous.safetensors
    """
    path = Path(path)
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def about_run(
    network: Network, settings: TrainingSettings, data: TrainingData, placement: Placement
) -> dict[str, Any]:
    """Return what a run must have in common with another one that continues it, as plain data."""
    fields = TrainingSettings.fields_of(settings)
    about = {
        "network": {
            "sizes": list(network.sizes),
            "activations": [f.name for f in network.activations],
            "bias": network.bias,
            "dtype": placement.precision,
        },
        "settings": {name: plain(value) for name, value in fields.items()},
        "data": data.fingerprint(),
        "environment": {
            "backprop_xp": __version__,
            **{name: version_of(name) for name in ("numpy", placement.backend)},
            "device": placement.name,
        },
    }
    # As it comes back from a file: tuples become lists, and keys become texts.
    stored: dict[str, Any] = json.loads(json.dumps(about))
    return stored


def plain(value: Any) -> Any:
    """Return a setting as plain data, with functions and records by their names."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: plain(item) for name, item in vars(value).items()}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    name = getattr(value, "name", None) or getattr(value, "__qualname__", None)
    if name is None and isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(name or type(value).__name__)


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [
        f"{name} is {_brief(now.get(name))}, was {_brief(before.get(name))}"
        for name in sorted(now.keys() | before.keys())
        if now.get(name) != before.get(name) and name not in MAY_CHANGE
    ]


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def named_tensors(name: str, parameters: Parameters) -> dict[str, Any]:
    """Return the arrays of layers by names that `layers_of` reads: ``name.0.weights`` and so on."""
    return {
        f"{name}.{index}.{kind}": arrays.to_numpy(p)
        for index, layer in enumerate(parameters)
        for kind, p in zip(Layer._fields, layer, strict=True)
        if p is not None
    }


def _read(path: Path) -> Stored:
    tensors, metadata = read_tensors(path, FORMAT, "checkpoint")
    try:
        return _stored(path, json.loads(metadata["checkpoint"]), metadata["config"], tensors)
    except Exception as error:
        # The hash is right, so this file is forged or of another version: that can fail anywhere.
        hint = error.hint if isinstance(error, BackpropError) else None
        raise ModelFileError(
            f"the checkpoint {path} cannot be used: {error}", hint or DAMAGED
        ) from error


def _stored(path: Path, description: Any, config: str, tensors: dict[str, Any]) -> Stored:
    version = description["format_version"]
    if version != FORMAT_VERSION:
        raise ModelFileError(
            f"its format version is {version!r}, and this package reads {FORMAT_VERSION}: it was "
            f"written by version {description['version']!r}",
            "continue with that version of backprop_xp",
        )
    epoch, step, seed = (_count(description, name) for name in ("epoch", "step", "seed"))
    stopped = description["stopped"]
    if not isinstance(stopped, str):
        raise ValueError("stopped is not a text")
    about = description["about"]
    for kind in ("network", "settings", "data", "environment"):
        if not isinstance(about[kind], dict):
            raise ValueError(f"{kind} is not a table")
    parameters = layers_of(tensors, "parameters")
    best = description["best"]
    if best is not None:
        value = best["value"]
        if type(value) is not float:
            raise ValueError("the value of the best epoch is not a number")
        best = Best(_count(best, "epoch"), value, layers_of(tensors, "best") or parameters)
    within = description["within_epoch"]
    if within is not None:
        within = WithinEpoch(**within)
        for name in ("chunks", "steps", "rows"):
            if _count(within._asdict(), name) < 1:
                raise ValueError(f"{name} within the epoch is 0")
        _count(within._asdict(), "correct")
        if type(within.loss) is not float or type(within.seconds) is not float:
            raise ValueError("the loss or the time within the epoch is not a number")
    lines = tensors["history"].tobytes().splitlines()
    records = [record for line in lines for record in json.loads(line)]
    for number, record in enumerate(records, start=1):
        if not all(type(record[name]) in (int, float) for name in _NUMBERS):
            raise ValueError(f"record {number} of the history is not one of numbers")
    state = TrainState(
        parameters=parameters,
        slots=_slots(tensors),
        epoch=epoch,
        step=step,
        seed=seed,
        history=History(records),
        best=best,
        stopped=stopped,
        within_epoch=within,
    )
    extra = description["extra"]
    if not isinstance(extra, dict):
        raise ValueError("extra is not a table")
    more = {
        name.removeprefix("extra."): tensor
        for name, tensor in tensors.items()
        if name.startswith("extra.")
    }
    return Stored(path, state, about, config, extra, more)


def _count(table: Any, name: str) -> int:
    value = table[name]
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} is {value!r}")
    return value


def layers_of(tensors: dict[str, Any], name: str) -> Parameters:
    """Return the layers among named tensors; see `named_tensors`."""
    layers: Parameters = []
    while f"{name}.{len(layers)}.weights" in tensors:
        prefix = f"{name}.{len(layers)}"
        layers.append(Layer(tensors[f"{prefix}.weights"], tensors.get(f"{prefix}.bias")))
    return layers


def _slots(tensors: dict[str, Any]) -> list[tuple[Any, ...]]:
    counts: dict[int, int] = {}
    for name in tensors:
        if name.startswith("slots."):
            _, index, number = name.split(".")
            counts[int(index)] = max(counts.get(int(index), 0), int(number) + 1)
    return [
        tuple(tensors[f"slots.{index}.{number}"] for number in range(counts[index]))
        for index in range(len(counts))
    ]
