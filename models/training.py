"""Training by gradient: epochs, a checkpoint after each, resumed after a kill."""

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
from models.task import Task, Trained

JUDGED = 5_000
"""Held-out images that each epoch is judged on, at most."""
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
    training images where none are held out). A call that was cut off is taken up after
    its last whole epoch when it is made again.

    Raises:
        NonFiniteLoss: Training diverged; the message names the epoch and the step.
    """
    training = _Training(model, task, optimizer)
    training.run()
    return Trained(
        training.history, training.stopper.best_epoch + 1, training.resumed_at
    )


class _Training:
    """One training: what it is made of, and how far it is."""

    def __init__(
        self,
        model: keras.Model,
        task: Task,
        optimizer: keras.optimizers.Optimizer | None,
    ) -> None:
        self.model, self.task, self.settings = model, task, task.train
        self.batch_size = (
            max(1, self.settings.batch_size // task.devices) * task.devices
        )
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
        self.kept = [
            keras.callbacks.ReduceLROnPlateau(
                monitor, factor=0.5, patience=self.settings.reduce_patience
            ),
            self.stopper,
        ]
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
        train = self.task.data.train
        rows = self._whole(train.order(self.settings.seed, epoch))
        self.task.progress.epoch_begins(epoch + 1, -(-len(rows) // self.batch_size))
        total = 0.0
        for step, images in enumerate(self._images(train, rows), start=1):
            loss = float(self.model.train_on_batch(images))
            if not math.isfinite(loss):
                raise NonFiniteLoss(
                    f"the loss became {loss} in epoch {epoch + 1} at step {step}"
                )
            total += loss * len(images)
            self.task.progress.step_done(step, loss)
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        return {
            "epoch": epoch + 1,
            "loss": total / len(rows),
            **self._judge(),
            "learning_rate": rate,
            "seconds": time.perf_counter() - start,
        }

    def _judge(self) -> dict[str, float]:
        held_out = self.task.data.held_out
        rows = self._whole(np.arange(min(len(held_out), JUDGED)))
        if not len(rows):
            return {}
        total = 0.0
        for images in self._images(held_out, rows):
            total += float(self.model.test_on_batch(images)) * len(images)
        return {"val_loss": total / len(rows)}

    def _whole(self, rows: np.ndarray) -> np.ndarray:
        """Return as many of ``rows`` as can be shared among the devices evenly."""
        return rows[: len(rows) - len(rows) % self.task.devices]

    def _images(self, examples: Examples, rows: np.ndarray) -> Iterator[np.ndarray]:
        for batch in examples.batches(self.batch_size, rows):
            yield batch.images

    @property
    def _checkpoint(self) -> str:
        return os.path.join(self.task.folder, CHECKPOINT)

    def _keep(self) -> None:
        notes = {
            "of": self._identity(),
            "history": self.history,
            "stopped": bool(self.model.stop_training),
        }
        checkpoint.save(self._checkpoint, self.model, self.kept, notes)
        checkpoint.write_json(os.path.join(self.task.folder, HISTORY), self.history)

    def _resume(self) -> None:
        kept = checkpoint.read(self._checkpoint)
        if kept is None:
            return
        mine, theirs = self._identity(), kept.notes["of"]
        other = [name for name in mine if mine[name] != theirs.get(name)]
        if other:
            _LOG.info(
                "The checkpoint is of other %s: training starts anew.", ", ".join(other)
            )
            return
        checkpoint.restore(kept, self.model, self.kept)
        self.history = kept.notes["history"]
        self.resumed_at = len(self.history)
        self.model.stop_training = kept.notes["stopped"]
        _LOG.info("Training is taken up after epoch %d.", self.resumed_at)

    def _identity(self) -> dict[str, Any]:
        """Return what a checkpoint must be of, to be gone on with."""
        data = self.task.data
        return {
            "encoder": self.task.encoder.model_dump(mode="json"),
            "train": self.task.train.model_dump(mode="json"),
            "transform": data.transform_id,
            "shape": list(data.train.shape),
            "backend": keras.backend.backend(),
            "examples": [len(data.train), len(data.held_out)],
            "files": [os.path.basename(path) for path in data.train.paths],
        }


def _board(folder: str) -> list[keras.callbacks.Callback]:
    """Return the callback that writes TensorBoard's logs; it needs TensorFlow."""
    if importlib.util.find_spec("tensorflow") is None:
        return []
    logs = os.path.join(folder, "tensorboard")
    return [keras.callbacks.TensorBoard(logs, write_graph=False)]
