"""A training session: train a run into its folder, and keep its state however it ends."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from backprop_xp.diagnosis.doctor import Finding
from backprop_xp.errors import BackpropError, ConfigurationError, DivergenceError, HintMixin
from backprop_xp.models.model import save_model
from backprop_xp.runs.config_file import as_toml
from backprop_xp.runs.folder import RunFolder
from backprop_xp.runs.interruption import interrupted_once
from backprop_xp.runs.outcome import Measured, measure, model_epoch, outcome_of
from backprop_xp.runs.run import Run
from backprop_xp.runs.settings import RunSettings
from backprop_xp.training.checkpoint import Checkpoint
from backprop_xp.training.state import TrainingInterrupted, TrainState, with_best_parameters


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


class RunCheckpoint(Checkpoint):
    """The checkpoint of a run; with it, its folder always has a model of the same state.

    If the folder can no longer be written to, the run continues in another one.
    """

    def __init__(self, run: Run, folder: RunFolder) -> None:
        super().__init__(
            folder.checkpoint,
            run.settings.checkpoint_every,
            overwrite=True,  # the folder allowed it
            config=as_toml(run.settings),
        )
        self._run = run
        self._folder = folder

    def begin(self, about: dict[str, Any], *, resume: bool) -> TrainState | None:
        """Return the state to continue from, and make the folder agree with it."""
        with warnings.catch_warnings():
            # The settings were read from the same file before, with the same warning.
            warnings.filterwarnings("ignore", ".*; the one before it is used", UserWarning)
            state = super().begin(about, resume=resume)
        if self.latest is not None:
            self.write(self.latest)
        return state

    def record(self, state: TrainState) -> None:
        """Append the last epoch to the history, or write everything if that is due."""
        if self._folder.started and not self.is_due(state):
            try:
                self._folder.append_history(state.history)
            except ConfigurationError as error:
                self.failed(error, state)
        self.update(state)

    def save(self, state: TrainState) -> None:
        """Write the state, its model and, the first time, the other files of the folder."""
        folder, settings = self._folder, self._run.settings
        folder.check()
        if folder.started:
            folder.append_history(state.history, sync=True)
        self.path = folder.checkpoint
        super().save(state)
        save_model(self._run.model(_of_model(state, settings)), folder.model)
        if not folder.started:
            folder.start(settings, state.history)

    def failed(self, error: ConfigurationError, state: TrainState) -> None:
        """Continue the run in another folder; warn if none can be written to either."""
        moved_before = bool(self._folder.fault)
        for _ in self._folder.move_elsewhere(error):
            with suppress(ConfigurationError):
                self.save(state)
        if moved_before or not self._folder.fault:
            super().failed(error, state)

    def end(self, state: TrainState, outcome: dict[str, Any]) -> None:
        """Write the outcome, and before it the last state if this failed; if need be, elsewhere."""
        folder, last = self._folder, self.latest or state  # with the weights of the last epoch, too
        failed = self.latest is not None and not self.is_written(self.latest)
        try:
            folder.check()
            if failed or not folder.started:
                self.save(last)
                self.written(last)
            folder.append_history(state.history)
            folder.write_outcome(outcome)
        except ConfigurationError as error:
            self.failed(error, last)
            if folder.started:
                with suppress(ConfigurationError):
                    folder.append_history(state.history)
                    folder.write_outcome(outcome)
            if not folder.fault:
                kept = f"what was saved before is in {folder.path}"
                kept = kept if folder.started else "nothing was saved"
                folder.fault = f"{error}; {kept}"


def train_run(
    run: Run,
    folder: RunFolder | None = None,
    *,
    doctor: bool = False,
    on_epoch: Callable[[TrainState], object] | None = None,
    on_steps: Callable[[int, int], object] | None = None,
) -> Trained:
    """Train a run, and record it in a folder: its history, checkpoints, its model and its outcome.

    However the training ends, the folder has the state and the model of the last epoch, and the
    outcome if it was interrupted or diverged; the hint of the error says where the model is. A run
    that ends within its first epoch leaves the folder as it was, except for one that diverges
    there if the folder holds no earlier run.

    A first signal, such as Ctrl-C, interrupts the training; see
    `backprop_xp.runs.interruption.interrupted_once`.

    Parameters
    ----------
    run : Run
        From `backprop_xp.prepare_run`.
    folder : RunFolder, optional
        Entered by a ``with`` statement. By default nothing is written. If it was opened to resume
        a run, the training continues from its checkpoint.
    doctor : bool
        Whether to look for common faults; see `backprop_xp.diagnose`. Their remedies also go into
        the hint of a `DivergenceError`.
    on_epoch : callable, optional
        As for `backprop_xp.fit`; called once the epoch is recorded.
    on_steps : callable, optional
        As for `backprop_xp.fit`.

    Warns
    -----
    UserWarning
        If the folder can no longer be written to; its ``fault`` says where the run is instead.

    Raises
    ------
    DataError, ConfigurationError, ModelFileError, DivergenceError, TrainingInterrupted
        As `backprop_xp.fit` does.

    Examples
    --------
    >>> import tempfile
    >>> from backprop_xp.runs.run import prepare_run
    >>> from backprop_xp.runs.settings import RunSettings
    >>> with tempfile.TemporaryDirectory() as path, RunFolder(path) as folder:
    ...     run = prepare_run(RunSettings(hidden=(20,), epochs=1, seed=0, device="cpu"))
    ...     state, measured, _ = train_run(run, folder)
    ...     sorted(file.name for file in folder.path.iterdir())
    ['checkpoint.safetensors', 'config.toml', 'history.jsonl', 'model.safetensors', 'outcome.json']
    >>> state.epoch, measured["test"]["count"]
    (1, 357)
    """
    checkpoint = None if folder is None else RunCheckpoint(run, folder)

    def record(state: TrainState) -> object:
        if checkpoint is not None:
            checkpoint.record(state)
        check()
        return None if on_epoch is None else on_epoch(state)

    def warned() -> None:
        if checkpoint is not None:
            checkpoint.requested = True
            checkpoint.write_latest()

    with interrupted_once(warned) as check:
        try:
            resumes = folder is not None and folder.resumes
            state = run.train(record, checkpoint, resume=resumes, on_steps=on_steps)
        except BaseException as error:
            _keep(error, run, folder, checkpoint, doctor)
            raise
        try:
            if checkpoint is not None and folder is not None and not folder.started:
                checkpoint.write(checkpoint.latest or state)  # of no epochs, or after a failure
            measurement = measure(run, state, review=checkpoint is not None)
            findings = run.diagnose(state) if doctor else None
            if checkpoint is not None:
                checkpoint.end(state, outcome_of(run, state, measurement, advice=findings))
        except KeyboardInterrupt as interrupt:
            interrupted = TrainingInterrupted(state)
            interrupted.hint = None if folder is None else _kept(state, folder)
            raise interrupted from interrupt
    return Trained(state, measurement.measured, findings)


def advice(finding: Finding) -> str:
    """Return a finding of the doctor as one line."""
    return f"doctor: {finding.fault}: {finding.evidence}; fix: {finding.remedy}"


def _of_model(state: TrainState, settings: RunSettings) -> TrainState:
    """Return the state of the model: once the training has ended, that of the best epoch."""
    ended = state.stopped or state.epoch >= (settings.epochs or 0)
    return with_best_parameters(state) if ended else state


def _kept(state: TrainState, folder: RunFolder) -> str:
    return f"the model of epoch {model_epoch(state)} is in {folder.model}"


def _keep(
    error: BaseException,
    run: Run,
    folder: RunFolder | None,
    checkpoint: RunCheckpoint | None,
    doctor: bool,
) -> None:
    """Write the outcome of a run that did not reach its end; `fit` wrote its last state."""
    diverged = isinstance(error, DivergenceError)
    state: Any = getattr(error, "state", None) or (checkpoint and checkpoint.latest)
    findings = run.diagnose(state, diverged=True) if doctor and diverged and state else None
    if folder is not None and state is not None:
        hint = getattr(error, "hint", None)
        if not folder.started and diverged and not folder.held:
            with suppress(ConfigurationError):
                folder.start(run.settings, state.history)
        if checkpoint is not None and folder.started:
            status = "diverged" if diverged else "interrupted"
            ending = {"status": status, "message": str(error), "hint": hint}
            with suppress(BackpropError):  # without the data there is no outcome
                shown = _of_model(state, run.settings)
                checkpoint.end(state, outcome_of(run, shown, ending=ending, advice=findings))
            if state.epoch > 0:
                kept = _kept(_of_model(state, run.settings), folder)
                if not diverged:
                    command = shlex.join(["backprop-xp", "train", "--resume", str(folder.path)])
                    kept += f"; continue with: {command}"
                if isinstance(error, HintMixin):
                    error.hint = f"{hint}; {kept}" if hint else kept
                else:
                    error.add_note(kept)
    if findings is not None and isinstance(error, DivergenceError):
        error.hint = "\n".join([error.hint or "", *map(advice, findings)])
