"""A fit in closed form: passes over the examples, each made once, also over a kill."""

import dataclasses
import json
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from models import checkpoint, sums
from models.data import Examples
from models.sums import Statistic, Terms
from models.task import Progress, Task, Trained
from models.training import CHECKPOINT, HISTORY

Arrays = Sequence[np.ndarray]
_LOG = logging.getLogger(__name__)


class Passes:
    """The passes of one fit; what each came to is kept in the task's folder."""

    def __init__(self, task: Task) -> None:
        self._task, self._done, self._resumed = task, 0, 0
        self._path = os.path.join(task.folder, CHECKPOINT)
        self._kept: dict[str, np.ndarray] = {}
        self._seconds: dict[str, float] = {}
        self._resume()

    def once(self, name: str, make: Callable[[Task], Arrays]) -> list[np.ndarray]:
        """Return what ``make`` gives, or gave when this very fit was cut off.

        It is called with the task, whose sums tell of their steps.
        """
        self._done += 1
        if name in self._seconds:
            self._resumed += 1
            return self._arrays(name)
        began = time.perf_counter()
        listener = _Steps(self._task.progress, self._done)
        task = dataclasses.replace(self._task, summed=listener.telling(self._task))
        for place, array in enumerate(make(task)):
            self._kept[f"{name}-{place}"] = np.asarray(array)
        self._seconds[name] = time.perf_counter() - began
        self._keep()
        record = {"epoch": float(self._done), "seconds": self._seconds[name]}
        self._task.progress.epoch_done(record)
        return self._arrays(name)

    def ended(self, losses: Arrays) -> Trained:
        """Return how the fit went: its loss on training and on any held-out images."""
        found = zip(("loss", "val_loss"), map(float, losses), strict=False)
        record = {"epoch": 1, **dict(found), "seconds": sum(self._seconds.values())}
        checkpoint.write_json(os.path.join(self._task.folder, HISTORY), [record])
        return Trained([record], best_epoch=1, resumed_at=self._resumed)

    def _arrays(self, name: str) -> list[np.ndarray]:
        count = sum(one.rpartition("-")[0] == name for one in self._kept)
        return [self._kept[f"{name}-{place}"] for place in range(count)]

    def _keep(self) -> None:
        mine = checkpoint.identity(self._task)
        notes = {"of": mine, "seconds": self._seconds, "callbacks": []}
        text = np.array(json.dumps(notes))
        aside = f"{self._path}.aside"
        with open(aside, "wb") as file:
            np.savez(file, allow_pickle=False, notes=text, **self._kept)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, self._path)
        # Kept beside it, as after an epoch; it has its one record at the end.
        checkpoint.write_json(os.path.join(self._task.folder, HISTORY), [])

    def _resume(self) -> None:
        kept = checkpoint.standing(self._path, self._task)
        if kept is None:
            return
        self._kept, self._seconds = kept.arrays, kept.notes["seconds"]
        _LOG.info("The fit is taken up after its pass %d.", len(self._seconds))


class _Steps:
    """Tells of the steps of a pass: the batches that are added up in this process."""

    def __init__(self, progress: Progress, number: int) -> None:
        self._progress, self._number, self._step = progress, number, 0

    def telling(self, task: Task) -> sums.Summed:
        """Return the task's way to add up, which tells of its steps as it goes."""

        def summed(statistic: Statistic, examples: Examples, most: int | None) -> Terms:
            count = min(len(examples), most or len(examples))
            self._step = 0
            self._progress.epoch_begins(self._number, -(-count // sums.BATCH))
            return task.summed(_Told(statistic, self.step_done), examples, most)

        return summed

    def step_done(self) -> None:
        """Tell of one more; there is no loss to tell of."""
        self._step += 1
        self._progress.step_done(self._step, math.nan)


class _Told:
    """A statistic that tells of each batch; a copy sent elsewhere tells nothing."""

    def __init__(self, statistic: Statistic, then: Callable[[], None]) -> None:
        self._statistic, self._then = statistic, then

    def terms(self, images: np.ndarray) -> Terms:
        """Return the statistic's terms."""
        found = self._statistic.terms(images)
        self._then()
        return found

    def __reduce__(self) -> Any:
        return _itself, (self._statistic,)


def _itself(statistic: Statistic) -> Statistic:
    return statistic
