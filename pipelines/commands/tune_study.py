"""How tune searches: Optuna is asked what to try, and told what came of it."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import filelock
import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from models.training import NonFiniteLoss
from pipelines import config
from pipelines.commands import tune_space, tune_trial
from pipelines.commands.tune_space import Choice
from pipelines.commands.tune_trial import Case, Outcome
from pipelines.errors import LakeBusy

NAME = "search"
LOG = "study.log"
RANDOM_TRIALS = 8
"""Trials before the sampler has something to go by."""
EPOCHS_SPARED = 2
"""Epochs in which no trial is given up."""
AGAIN = 20
"""So many repetitions one after the other say that all has been tried."""
DONE = (TrialState.COMPLETE, TrialState.PRUNED)

Say = Callable[[str], None]


class Budget(NamedTuple):
    """When a search ends.

    Attributes:
        seconds: After so long no further trial begins.
        trials: So many are made in all, over all calls; ``None`` for any number.
    """

    seconds: float
    trials: int | None = None


class AmongAlike(optuna.pruners.BasePruner):
    """Gives up a trial whose loss is above the median of those of the same encoder.

    Losses of other encoder options mean something else: a smaller bottleneck has more
    of it and may have the better features.
    """

    def __init__(self) -> None:
        self._median = optuna.pruners.MedianPruner(
            n_startup_trials=3, n_warmup_steps=EPOCHS_SPARED
        )

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether ``trial`` is given up."""
        alike = optuna.create_study(direction="minimize")
        for one in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if _encoder(one.params) == _encoder(trial.params):
                alike.add_trial(one)
        return bool(self._median.prune(alike, trial))


class Listener:
    """Hears of each epoch of a trial, and ends those that lead nowhere."""

    def __init__(self, trial: optuna.Trial, tick: Callable[[], None]) -> None:
        self._trial, self._tick = trial, tick

    def epoch_begins(self, epoch: int, steps: int) -> None:
        """Nothing is known yet."""

    def step_done(self, step: int, loss: float) -> None:
        """Show that time passes."""
        self._tick()

    def epoch_done(self, record: dict[str, float]) -> None:
        """Report the held-out loss, if there is one: passes in closed form have none.

        Raises:
            TrialPruned: It is among the worse ones.
        """
        loss = record.get("val_loss", record.get("loss"))
        if loss is None:
            return
        self._trial.report(loss, int(record["epoch"]))
        if self._trial.should_prune():
            raise optuna.TrialPruned


@contextlib.contextmanager
def opened(folder: str) -> Iterator[optuna.Study]:
    """Yield the study that ``folder`` keeps, for this process alone.

    Raises:
        LakeBusy: Another process has it.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    os.makedirs(folder, exist_ok=True)
    try:
        with filelock.FileLock(os.path.join(folder, "lock"), timeout=0):
            storage = JournalStorage(JournalFileBackend(os.path.join(folder, LOG)))
            yield optuna.create_study(
                storage=storage,
                study_name=NAME,
                direction="maximize",
                pruner=AmongAlike(),
                load_if_exists=True,
            )
    except filelock.Timeout as error:
        raise LakeBusy(
            f"{folder}: another search is at work on these settings. Wait for it, or "
            "give --work another folder."
        ) from error


def search(
    study: optuna.Study, case: Case, folder: str, budget: Budget, voice: tuple[Say, Any]
) -> None:
    """Try settings until the budget is spent; one that was cut off is gone on with."""
    say, tick = voice
    _take_up(study, case)
    end = time.monotonic() + budget.seconds
    repeated = 0
    while repeated < AGAIN and time.monotonic() < end:
        if budget.trials is not None and len(finished(study)) >= budget.trials:
            return
        number = len(study.get_trials(deepcopy=False))
        study.sampler = _sampler(case.settings.train.seed, number)
        trial = study.ask()
        choice = tune_space.suggest(trial, case.settings)
        if _tried(study, choice):
            study.tell(trial, state=TrialState.FAIL)
            repeated += 1
            continue
        repeated = 0
        trial.set_user_attr("choice", choice)
        words = tune_space.said(choice, tune_space.own(case.settings))
        say(f"trial {trial.number + 1}: {words}")
        say(_try(study, case, folder, (trial, choice), tick))


def _sampler(seed: int, number: int) -> optuna.samplers.BaseSampler:
    """Return the sampler of one trial: a search cut off goes on as if it had not been.

    One for all would begin with the same numbers again each time it is made.
    """
    state = np.random.SeedSequence([seed, number]).generate_state(1)
    return optuna.samplers.TPESampler(
        n_startup_trials=RANDOM_TRIALS, seed=int(state[0])
    )


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that came to an end, in their order."""
    return study.get_trials(deepcopy=False, states=DONE)


def complete(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that have a figure, the best first."""
    found = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(found, key=lambda trial: (-(trial.value or 0.0), trial.number))


def scores(folder: str, trial: FrozenTrial) -> np.ndarray:
    """Return the figure of each judged example in a trial that is complete."""
    path = _scores(folder, trial.user_attrs["choice"])
    return np.asarray(np.load(path, allow_pickle=False))


def _try(
    study: optuna.Study,
    case: Case,
    folder: str,
    what: tuple[optuna.Trial, Choice],
    tick: Callable[[], None],
) -> str:
    """Make one trial, and tell the study of it; return what it came to, in words."""
    trial, choice = what
    work = os.path.join(folder, f"trial-{config.digest_of(choice)}")
    settings = tune_space.chosen(case.settings, choice)
    try:
        found = tune_trial.attempt(case, settings, work, Listener(trial, tick))
    except optuna.TrialPruned:
        words = "given up: its loss is above the median of its like"
        study.tell(trial, state=TrialState.PRUNED)
    except NonFiniteLoss as error:
        words = f"went astray: {error}"
        study.tell(trial, state=TrialState.PRUNED)
    except ValueError as error:
        words = f"cannot be fitted: {error}"
        study.tell(trial, state=TrialState.PRUNED)
    else:
        words = _complete(study, folder, what, found)
    shutil.rmtree(work, ignore_errors=True)
    return f"trial {trial.number + 1}: {words}"


def _complete(
    study: optuna.Study,
    folder: str,
    what: tuple[optuna.Trial, Choice],
    found: Outcome,
) -> str:
    trial, choice = what
    np.save(_scores(folder, choice), found.scores.astype(np.float32))
    trial.set_user_attr("figures", found.figures)
    trial.set_user_attr("seconds", round(found.seconds, 2))
    study.tell(trial, found.value)
    told = ", ".join(f"{name} {value:.2f}" for name, value in found.figures.items())
    return f"{told} in {found.seconds:.1f} s"


def _take_up(study: optuna.Study, case: Case) -> None:
    """Begin with the dataset's own settings, or with what was cut off."""
    trials = study.get_trials(deepcopy=False)
    if not trials:
        study.enqueue_trial(tune_space.own(case.settings))
    for trial in trials:
        if trial.state == TrialState.RUNNING:  # its process is gone: we have the lock
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)


def _tried(study: optuna.Study, choice: Choice) -> bool:
    return any(one.user_attrs.get("choice") == choice for one in finished(study))


def _scores(folder: str, choice: Choice) -> str:
    return os.path.join(folder, f"scores-{config.digest_of(choice)}.npy")


def _encoder(params: dict[str, BaseDistribution]) -> dict[str, Any]:
    return {name: one for name, one in params.items() if name.startswith("encoder.")}
