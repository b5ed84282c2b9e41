"""The folder of a run: its settings, its history, its checkpoint, its model and its outcome."""

from __future__ import annotations

import errno
import json
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, Self

from backprop_xp.errors import ConfigurationError
from backprop_xp.files import atomic_write
from backprop_xp.formatting import json_safe
from backprop_xp.runs.config_file import as_toml
from backprop_xp.runs.settings import RunSettings
from backprop_xp.training.checkpoint import previous_path

CONFIG, HISTORY, MODEL = "config.toml", "history.jsonl", "model.safetensors"
OUTCOME, CHECKPOINT = "outcome.json", "checkpoint.safetensors"
FILES = (CONFIG, HISTORY, MODEL, OUTCOME, CHECKPOINT, str(previous_path(CHECKPOINT)))


class RunFolder:
    """A folder that one run at a time writes to; used in a ``with`` statement.

    After the first epoch the checkpoint and the model of the run are written, and only then the
    other files of an earlier run are replaced: a run that ends before that leaves the folder as it
    was. ``history.jsonl`` grows by one line after each epoch. All other files are written
    completely or not at all.

    Parameters
    ----------
    path : path
        Created if it does not exist.
    overwrite : bool
        Whether an earlier run in this folder may be replaced.
    resume : bool
        Whether an earlier run in this folder, if there is one, is to be continued.

    Attributes
    ----------
    path : Path
        Where the run is written; see `move_elsewhere`.
    held : list of str
        The files of an earlier run that the folder held at the beginning.
    resumes : bool
        Whether it holds a run to be continued.
    fault : str
        Why the run is not in the folder that was given, or not all of it; empty if it is there.

    Raises
    ------
    ConfigurationError
        If the folder holds a run that is neither to be replaced nor continued, another training
        run is writing to it, or it cannot be written to.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, resume: bool = False
    ) -> None:
        if not os.fspath(path):  # a variable of the shell that is not set
            raise ConfigurationError(
                "the name of the folder for the run is empty",
                "name a folder with --out; '.' is the current one",
            )
        self.path = Path(path)
        self.fault = ""
        self._created = [p for p in (self.path, *self.path.parents) if not os.path.exists(p)]
        self._written: tuple[int, int] | None = None  # epochs and bytes of the history
        self._history: FileIO | None = None
        self._lock: int | None = None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(None, "permission denied")
            self._lock = _lock(self.path)
        except OSError as error:
            self._remove_created_folders()
            raise ConfigurationError(
                f"the folder {self.path} cannot be written to: {error.strerror or error}",
                "name a folder that you may write to with --out",
            ) from error
        self.held = [name for name in FILES if os.path.lexists(self.path / name)]
        self.resumes = resume and bool({CHECKPOINT, str(previous_path(CHECKPOINT))} & {*self.held})
        if resume and self.held and not self.resumes:
            self._unlock()
            raise ConfigurationError(
                f"the folder {self.path} holds a run without a checkpoint, which cannot be resumed",
                "replace it with --overwrite",
            )
        if self.held and not (overwrite or resume):
            self._unlock()
            raise ConfigurationError(
                f"the folder {self.path} already holds a run ({', '.join(self.held)})",
                "name another folder, continue the run with --resume, or replace it with "
                "--overwrite",
            )
        for stale in self.path.glob(".*.tmp"):  # of a run that was killed: it has no lock any more
            if stale.name[1:].startswith(FILES):
                with suppress(OSError):
                    stale.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._close_history()
        if self._written is None:
            self._remove_created_folders()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _remove_created_folders(self) -> None:
        for folder in self._created:
            with suppress(OSError):  # it does not exist, or another program put a file into it
                folder.rmdir()

    @property
    def model(self) -> Path:
        """The path of the model file."""
        return self.path / MODEL

    @property
    def checkpoint(self) -> Path:
        """The path of the checkpoint."""
        return self.path / CHECKPOINT

    @property
    def started(self) -> bool:
        """Whether the folder has the files of this run."""
        return self._written is not None

    def check(self) -> None:
        """Check the folder before a checkpoint is written to it, and remove links out of it.

        Raises
        ------
        ConfigurationError
            If the folder was removed, or another one has taken its place.
        """
        for name in FILES:
            if os.path.islink(self.path / name):
                with _writing(self.path):
                    (self.path / name).unlink()
        if self._lock is None or self.fault:  # without locks, or in another folder
            return
        found, wanted = None, os.fstat(self._lock)
        with suppress(OSError):
            found = os.stat(self.path)
        if found is None or not os.path.samestat(found, wanted):
            raise ConfigurationError(
                f"the folder {self.path} was removed or replaced during the training",
                "leave the folder where it is until the training has ended",
            )

    def start(self, settings: RunSettings, history: Sequence[dict[str, Any]]) -> None:
        """Write the settings and the history, and remove the outcome of an earlier run.

        The checkpoint and the model must be written first: until the settings are replaced, too,
        `backprop_xp.runs.reader` takes the settings and the history from the checkpoint.
        """
        content = "".join(map(_json, history)).encode()
        self._close_history()
        with _writing(self.path):
            (self.path / OUTCOME).unlink(missing_ok=True)
        config = as_toml(settings).encode()
        atomic_write(self.path / HISTORY, lambda file: file.write(content))
        atomic_write(self.path / CONFIG, lambda file: file.write(config))
        self._written = len(history), len(content)

    def append_history(self, history: Sequence[dict[str, Any]], *, sync: bool = False) -> None:
        """Append the epochs of a history that the folder does not hold yet, one line for each.

        With ``sync`` they survive a loss of power.
        """
        assert self._written is not None
        epochs, size = self._written
        content = "".join(map(_json, history[epochs:])).encode()
        with _writing(self.path / HISTORY):
            if self._history is not None and not os.fstat(self._history.fileno()).st_nlink:
                self._close_history()  # the file was removed or replaced
            if self._history is None:  # opening it takes as long as all the rest
                self._history = open(self.path / HISTORY, "r+b", buffering=0)  # noqa: SIM115
            # What a signal or a full disk cut off before is written again in its place.
            self._history.seek(size)
            if self._history.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if sync:
                os.fsync(self._history.fileno())
        self._written = len(history), size + len(content)

    def _close_history(self) -> None:
        if self._history is not None:
            with suppress(OSError):
                self._history.close()
            self._history = None

    def write_outcome(self, outcome: dict[str, Any]) -> None:
        """Write the outcome, from `backprop_xp.runs.outcome.outcome_of`."""
        content = _json(outcome).encode()
        atomic_write(self.path / OUTCOME, lambda file: file.write(content))

    def move_elsewhere(self, error: ConfigurationError) -> Iterator[Path]:
        """Yield new folders to write the run to, after an error in this one.

        Parameters
        ----------
        error : ConfigurationError
        """
        given, written = self.path, self._written
        if self.fault:  # it was moved before
            return
        self._close_history()
        for place in dict.fromkeys((tempfile.gettempdir(), str(Path.home()), os.getcwd())):
            try:
                self.path = Path(tempfile.mkdtemp(prefix="backprop-xp-", dir=place))
            except OSError:
                continue
            self._written = None
            self.fault = f"{error}; the run is in {self.path} instead"
            yield self.path
            if self._written is not None:
                self._unlock()
                warnings.warn(self.fault, UserWarning, stacklevel=2)
                return
            self._close_history()
            with suppress(OSError):
                for file in self.path.iterdir():
                    file.unlink()
                self.path.rmdir()
            self.path, self.fault, self._written = given, "", written


def _lock(path: Path) -> int | None:
    """Return an open folder that is locked until it is closed, by this process or by its death.

    On Windows, which has no locks of folders, and on file systems without locks, return None.
    """
    try:
        import fcntl
    except ImportError:
        return None
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ConfigurationError(
            f"another training run is writing to the folder {path}",
            "wait until it has ended, or name another folder with --out",
        ) from None
    except OSError:
        os.close(handle)
        return None
    return handle


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Raise a `ConfigurationError` for an error of the system while a file is written."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror or error}",
            "make space, or name another folder with --out",
        ) from error


def _json(record: dict[str, Any]) -> str:
    return json.dumps(json_safe(record), allow_nan=False) + "\n"
