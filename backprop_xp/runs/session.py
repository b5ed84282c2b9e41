"""A training session: train a run into its folder, and keep the last good epoch however it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from backprop_xp.diagnosis.doctor import Finding
from backprop_xp.errors import DivergenceError
from backprop_xp.models.model import save_model
from backprop_xp.runs.folder import RunFolder
from backprop_xp.runs.outcome import Measured, measure, outcome_of
from backprop_xp.runs.run import Run
from backprop_xp.training.state import TrainingInterrupted, TrainState


class Trained(NamedTuple):
    """The result of a session.

    Attributes
    ----------
    state : TrainState
        After the last epoch.
    measured : dict
        The figures of the model on each part of the data, from `backprop_xp.runs.outcome.measure`.
    findings : list of Finding or None
        The doctor's, where it was asked for.
    """

    state: TrainState
    measured: Measured
    findings: list[Finding] | None


def train_run(
    run: Run,
    folder: RunFolder | None = None,
    *,
    doctor: bool = False,
    on_epoch: Callable[[TrainState], object] | None = None,
) -> Trained:
    """Train a run, and record in a folder its history after each epoch, its model and its outcome.

    If the training run is interrupted or diverges, the folder receives the model of the last good
    epoch and the outcome, and the hint of the error says where the model is. A run that is
    interrupted before the end of its first epoch leaves the folder as it was; so does one that
    diverges there, if the folder holds an earlier run.

    Parameters
    ----------
    run : Run
        From `backprop_xp.prepare_run`.
    folder : RunFolder, optional
        Entered by a ``with`` statement. By default nothing is written.
    doctor : bool
        Whether to look for common faults; see `backprop_xp.diagnose`. Their remedies also go into
        the hint of a `DivergenceError`.
    on_epoch : callable, optional
        As for `backprop_xp.fit`; called once the epoch is recorded.

    Raises
    ------
    DataError, ConfigurationError, DivergenceError, TrainingInterrupted
        As `backprop_xp.fit` does.
    ConfigurationError
        If the folder can no longer be written to.

    Examples
    --------
    >>> import tempfile
    >>> from backprop_xp.runs.run import prepare_run
    >>> from backprop_xp.runs.settings import RunSettings
    >>> with tempfile.TemporaryDirectory() as path, RunFolder(path) as folder:
    ...     run = prepare_run(RunSettings(hidden=(20,), epochs=2, seed=0, device="cpu"))
    ...     state, measured, _ = train_run(run, folder)
    ...     sorted(file.name for file in folder.path.iterdir())
    ['config.toml', 'history.jsonl', 'model.safetensors', 'outcome.json']
    >>> state.epoch, measured["test"]["count"]
    (2, 357)
    """

    def record(state: TrainState) -> object:
        if folder is not None:
            folder.append_history(run.settings, state.history)
        return None if on_epoch is None else on_epoch(state)

    try:
        state = run.train(record)
    except (TrainingInterrupted, DivergenceError) as error:
        _keep(error, run, folder, doctor)
        raise
    if folder is not None:
        folder.append_history(run.settings, state.history)
        save_model(run.model(state), folder.model)
    measured = measure(run, state)
    findings = run.diagnose(state) if doctor else None
    if folder is not None:
        folder.write_outcome(outcome_of(run, state, measured, advice=findings))
    return Trained(state, measured, findings)


def advice(finding: Finding) -> str:
    """Return a finding of the doctor as one line."""
    return f"doctor: {finding.fault}: {finding.evidence}; fix: {finding.remedy}"


def _keep(
    error: TrainingInterrupted | DivergenceError, run: Run, folder: RunFolder | None, doctor: bool
) -> None:
    """Write the last good epoch of a training run that did not reach its end."""
    state: Any = error.state
    diverged = isinstance(error, DivergenceError)
    findings = run.diagnose(state, diverged=True) if doctor and diverged and state else None
    # An earlier run in the folder is replaced only by one that has an epoch to show.
    if folder and state and (state.epoch > 0 or (diverged and not folder.held)):
        status, hint = "diverged" if diverged else "interrupted", error.hint
        folder.append_history(run.settings, state.history)
        if state.epoch > 0:
            save_model(run.model(state), folder.model)
            kept = f"the model of epoch {state.epoch} is in {folder.model}"
            error.hint = f"{hint}; {kept}" if hint else kept
        ending = {"status": status, "message": str(error), "hint": hint}
        folder.write_outcome(outcome_of(run, state, ending=ending, advice=findings))
    if findings is not None:
        error.hint = "\n".join([error.hint or "", *map(advice, findings)])
