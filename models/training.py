"""Training by gradient: epochs, a checkpoint after each, resumed after a kill."""

import collections
import importlib.util
import logging
import math
import os
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from models import checkpoint, device
from models.data import Examples
from models.task import Progress, Task, Trained

JUDGED = 5_000
"""Held-out images that each epoch is judged on, at most."""
BEHIND = 8
"""Steps that may be under way before a loss is asked for: asking waits for it."""
CHECKPOINT = "checkpoint.npz"
HISTORY = "history.json"

_LOG = logging.getLogger(__name__)


class NonFiniteLoss(ArithmeticError):
    """The loss became infinite or not a number."""


def train(
    model: keras.Model,
    task: Task,
    optimizer: keras.optimizers.Optimizer | None = None,
) -> Trained:
    """Train ``model``, which says itself what its loss is; return how it went.

    Its weights are then those of the epoch with the least loss on held-out images (on
    training images where none are held out), or of the last epoch of a plan. A call
    that was cut off is taken up after its last whole epoch when it is made again.

    Args:
        model: Its ``compute_loss`` needs images alone.
        task: What it is trained on, and how.
        optimizer: By default Adam: its learning rate is halved, and training ends, when
            the loss stays where it is. Another one has a plan of its learning rate, as
            :func:`cosine`, which is followed to its end.

    Raises:
        NonFiniteLoss: Training diverged; the message names the epoch and the step.
    """
    training = Training(model, task, optimizer)
    training.run()
    best = training.stopper.best_epoch + 1 if training.kept else len(training.history)
    return Trained(training.history, best, training.resumed_at)


def batch_size(task: Task) -> int:
    """Return how many images a step takes: as many on each device."""
    return max(1, task.train.batch_size // task.devices) * task.devices


def steps_of(task: Task) -> int:
    """Return how many steps a training is that leaves no example out."""
    count = len(task.data.train)
    return task.train.epochs * -(-(count - count % task.devices) // batch_size(task))


def cosine(
    learning_rate: float, steps: int, warm_up: float = 0.05
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return the plan of a learning rate that rises to the highest, and falls to 0.

    Loshchilov and Hutter (2017): along half a cosine.

    Args:
        learning_rate: The highest.
        steps: How many there are in all.
        warm_up: The part of all steps in which it rises.
    """
    rising = max(1, round(warm_up * steps))
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, steps - rising),
        warmup_target=learning_rate,
        warmup_steps=rising,
    )


class Training:
    """One training: what it is made of, and how far it is."""

    def __init__(
        self,
        model: keras.Model,
        task: Task,
        optimizer: keras.optimizers.Optimizer | None,
    ) -> None:
        self.model, self.task, self.settings = model, task, task.train
        self.batch_size = batch_size(task)
        self.model.compile(
            optimizer or keras.optimizers.Adam(self.settings.learning_rate),
            jit_compile=device.jit_compile(),
        )
        self.model.build((None, *task.data.train.shape))
        self.model.optimizer.build(self.model.trainable_variables)
        monitor = "val_loss" if len(task.data.held_out) >= task.devices else "loss"
        self.stopper = keras.callbacks.EarlyStopping(
            monitor, patience=self.settings.stop_patience, restore_best_weights=True
        )
        plateau = keras.callbacks.ReduceLROnPlateau(
            monitor, factor=0.5, patience=self.settings.reduce_patience
        )
        # A plan needs all of its epochs, and its learning rate has no second master.
        planned = optimizer is not None
        self.kept = [] if planned else [plateau, self.stopper]
        self.history: list[dict[str, float]] = []
        self.resumed_at = 0

    def run(self) -> None:
        """Train to the end, from the last checkpoint if there is one."""
        callbacks = keras.callbacks.CallbackList(
            [*self.kept, *_board(self.task.folder)], model=self.model
        )
        self.model.stop_training = False
        callbacks.on_train_begin()
        self._resume()
        for epoch in range(self.resumed_at, self.settings.epochs):
            if self.model.stop_training:
                break
            callbacks.on_epoch_begin(epoch)
            record = self._epoch(epoch)
            callbacks.on_epoch_end(epoch, dict(record))
            self.history.append(record)
            self._keep()
            self.task.progress.epoch_done(record)
        callbacks.on_train_end()

    def _epoch(self, epoch: int) -> dict[str, float]:
        start = time.perf_counter()
        loss = self.steps(epoch)
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        return {
            "epoch": epoch + 1,
            "loss": loss,
            **self.judge(),
            "learning_rate": rate,
            "seconds": time.perf_counter() - start,
        }

    def steps(self, epoch: int) -> float:
        """Take the steps of an epoch; return their mean loss."""
        train = self.task.data.train
        rows = self._whole(train.order(self.settings.seed, epoch))
        count = -(-len(rows) // self.batch_size)
        self.task.progress.epoch_begins(epoch + 1, count)
        steps = _Steps(self.model, self.task.progress, epoch + 1)
        self.model.fit(
            self.images(train, rows),
            steps_per_epoch=count,
            shuffle=False,  # they come in their order
            callbacks=steps,
            verbose=0,
        )
        return steps.finish()

    def judge(self) -> dict[str, float]:
        """Return the loss on held-out images, where there are any."""
        held_out = self.task.data.held_out
        rows = self._whole(np.arange(min(len(held_out), JUDGED)))
        if not len(rows):
            return {}
        images = self.images(held_out, rows)
        count = -(-len(rows) // self.batch_size)
        found = self.model.evaluate(images, steps=count, verbose=0, return_dict=True)
        return {"val_loss": float(found["loss"])}

    def _whole(self, rows: np.ndarray) -> np.ndarray:
        """Return as many of ``rows`` as can be shared among the devices evenly."""
        return rows[: len(rows) - len(rows) % self.task.devices]

    def images(
        self, examples: Examples, rows: np.ndarray
    ) -> Iterator[tuple[np.ndarray]]:
        """Yield the images of ``rows`` in batches."""
        for batch in examples.batches(self.batch_size, rows):
            yield (batch.images,)

    @property
    def _checkpoint(self) -> str:
        return os.path.join(self.task.folder, CHECKPOINT)

    def _keep(self) -> None:
        notes = {
            "of": checkpoint.identity(self.task),
            "history": self.history,
            "stopped": bool(self.model.stop_training),
        }
        checkpoint.save(self._checkpoint, self.model, self.kept, notes)
        checkpoint.write_json(os.path.join(self.task.folder, HISTORY), self.history)

    def _resume(self) -> None:
        kept = checkpoint.standing(self._checkpoint, self.task)
        if kept is None or not checkpoint.restore(kept, self.model, self.kept):
            return
        self.history = kept.notes["history"]
        self.resumed_at = len(self.history)
        self.model.stop_training = kept.notes["stopped"]
        _LOG.info("Training is taken up after epoch %d.", self.resumed_at)


class _Steps(keras.callbacks.CallbackList):
    """Hears of the steps of an epoch, and tells of each a few steps later.

    A loss is a promise of the device until it is read, and reading waits: a device that
    is waited for after each step has nothing to do until the next one is sent.
    """

    def __init__(self, model: keras.Model, progress: Progress, epoch: int) -> None:
        super().__init__(add_history=True, model=model)
        self._progress, self._epoch = progress, epoch
        self._open: collections.deque[Any] = collections.deque()
        self._told, self._loss = 0, math.nan

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note the loss, the mean of the epoch so far; it is not read yet."""
        self._open.append(logs["loss"])
        if len(self._open) > BEHIND:
            self._tell()

    def finish(self) -> float:
        """Return the mean loss of the epoch; every step is told of."""
        while self._open:
            self._tell()
        return self._loss

    def _tell(self) -> None:
        self._told, self._loss = self._told + 1, float(self._open.popleft())
        if not math.isfinite(self._loss):
            raise NonFiniteLoss(
                f"the loss became {self._loss} in epoch {self._epoch} "
                f"at step {self._told}"
            )
        self._progress.step_done(self._told, self._loss)


def _board(folder: str) -> list[keras.callbacks.Callback]:
    """Return the callback that writes TensorBoard's logs; it needs TensorFlow."""
    if importlib.util.find_spec("tensorflow") is None:
        return []
    logs = os.path.join(folder, "tensorboard")
    return [keras.callbacks.TensorBoard(logs, write_graph=False)]
