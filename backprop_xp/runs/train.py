"""Training in one call: from a file, a data frame or arrays to a model."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable
from typing import Any

from backprop_xp.errors import ConfigurationError, DataError
from backprop_xp.models.model import Model
from backprop_xp.runs.folder import RunFolder
from backprop_xp.runs.resume import read_resumable_run
from backprop_xp.runs.run import prepare_run
from backprop_xp.runs.session import train_run
from backprop_xp.runs.settings import IN_MEMORY, RunSettings
from backprop_xp.training.state import TrainingInterrupted, TrainState


def train(
    data: Any,
    label: Any = None,
    *,
    validation: Any = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    on_epoch: Callable[[TrainState], object] | None = None,
    **settings: Any,
) -> Model:
    """Train a network on a file, a data frame or arrays, and return the model.

    It does what ``backprop-xp train`` does: columns of text become one input for each category,
    missing values are filled in, inputs and the targets of a regression are standardized, some
    rows are held out for validation, and the training stops early when these get worse. The model
    takes raw rows, as they were given here.

    Parameters
    ----------
    data : str, path, data frame, or arrays
        ``"digits"``, ``"mnist"``, the path of a file or folder, a data frame of pandas or polars, a
        pyarrow table, a dict of columns, an array or list of rows, or a pair ``(x, y)``; see
        `backprop_xp.load_dataset`.
    label : str, sequence of str, or array, optional
        The column of the label or target, several target columns of a regression, or the labels
        themselves.
    validation : as ``data``, optional
        The validation rows. By default 15 % of the rows are held out.
    out : path, optional
        A folder for the model, the history, the settings and a checkpoint, as for
        ``backprop-xp train --out``.
    overwrite : bool
        Whether an earlier run in this folder is replaced.
    resume : bool
        Whether an earlier run in this folder is continued, with its settings. The result is the
        same, bit for bit, as that of a run that was never interrupted. Of the settings, those in
        `backprop_xp.runs.resume.MAY_CHANGE` can be others, such as more ``epochs``. If the folder
        holds no run, a new one starts.
    on_epoch : callable, optional
        As for `backprop_xp.fit`.
    **settings
        The fields of `backprop_xp.RunSettings`: ``hidden``, ``epochs``, ``learning_rate``,
        ``seed``, ``device``, ``drop``, ``categorical``, and many more.

    Returns
    -------
    Model
        With its ``history``: the metrics after each epoch.

    Warns
    -----
    UserWarning
        If columns were left out, or look wrong.

    Raises
    ------
    DataError
        If the data is missing, damaged or not suitable for training.
    ConfigurationError
        For settings that are unknown, out of range or contradict each other or the data.
    DeviceError
        If the device cannot be used.
    DivergenceError
        As `backprop_xp.fit` does.
    TrainingInterrupted
        On Ctrl-C; its ``state`` and its ``model`` are those of the last complete epoch.

    Examples
    --------
    >>> houses = {"area": [50.0, 80.0, 110.0, 140.0] * 5, "town": ["A", "B"] * 10}
    >>> prices = [100_000.0, 150_000.0, 220_000.0, 270_000.0] * 5
    >>> model = train(houses, prices, task="regression", seed=0)
    >>> model
    <Model 3-128-1: regression of label, 641 parameters>
    >>> model.predict({"town": ["A"], "area": [110.0]}).round(-4)
    array([220000.])
    """
    if data is None:
        raise DataError(
            "there is no data: it is None",
            "give a path, a data frame, a dict of columns, or a pair of arrays (x, y)",
        )
    is_path = isinstance(data, (str, os.PathLike))
    given = {"data": os.fspath(data) if is_path else IN_MEMORY, **settings}
    for name, value in (("label", label), ("validation", validation)):
        if isinstance(value, (str, os.PathLike)):
            given[name] = os.fspath(value)
    run_settings = RunSettings.of(given)
    if out is not None:
        _check_plain(run_settings)
    elif resume:
        raise ConfigurationError("there is no run to resume", "give its folder as out=")
    with contextlib.ExitStack() as stack:
        folder = None
        if out is not None:
            folder = stack.enter_context(RunFolder(out, overwrite=overwrite, resume=resume))
            if folder.resumes:
                run_settings = read_resumable_run(folder.path).resumed(given)
        run = prepare_run(run_settings, None if is_path else data, label, validation)
        preprocessing = run.dataset.preprocessing
        if preprocessing is not None and (preprocessing.left_out or preprocessing.notes):
            left_out = (f"left out {name!r}: {why}" for name, why in preprocessing.left_out.items())
            text = "; ".join([*left_out, *preprocessing.notes])
            warnings.warn(f"{run.dataset.name}: {text}", UserWarning, stacklevel=2)
        try:
            return run.model(train_run(run, folder, on_epoch=on_epoch).state)
        except TrainingInterrupted as interrupt:
            interrupt.model = run.model(interrupt.state)
            raise


def _check_plain(settings: RunSettings) -> None:
    """Raise an error for settings that the files of a run cannot hold, before the training."""
    for name, value in vars(settings).items():
        if type(value) not in (str, int, float, bool, tuple, type(None)):
            raise ConfigurationError(
                f"{name} is a record or a function, and the folder of a run cannot hold it",
                "give a name, or leave out the folder",
            )
