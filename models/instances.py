"""Instance discrimination: every image is a class of its own, known by a memory.

Wu, Xiong, Yu and Lin (2018). A step shows one random view of each image of a batch; its
code has to be nearer to what the memory holds of that image than to what it holds of
others (InfoNCE: van den Oord, Li and Vinyals, 2018). The memory then moves towards the
code. One view a step is half the work of losses that compare two.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from models.settings import InstanceSettings
from models.task import Task, Trained
from models.training import NonFiniteLoss, Training

SMALLEST = 1e-12
"""Codes shorter than this have no direction to remember."""


class Discriminator(keras.Model):
    """Tell which of many images a view is of.

    Attributes:
        memory: What is remembered of each training image, (images, numbers), each of
            length 1.
        codes: Those of the last batch, (batch, numbers): the memory learns from them.
    """

    def __init__(
        self,
        views: keras.Model,
        stem: keras.Model,
        head: keras.Model,
        temperature: float,
    ) -> None:
        super().__init__()
        self.views, self.stem, self.head = views, stem, head
        self.temperature = temperature
        self.memory: Any = None
        self.codes: Any = None

    def build(self, input_shape: Any) -> None:
        """Nothing is left to build: the parts are."""

    def remember(self, first: np.ndarray, batch_size: int) -> None:
        """Begin with ``first``, (images, numbers), as the memory."""
        self.memory, self.codes = (
            self.add_weight(shape=shape, trainable=False, name=name, dtype="float32")
            for name, shape in (
                ("memory", first.shape),
                ("codes", (batch_size, first.shape[1])),
            )
        )
        self.memory.assign(first)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return how alike views are to memories, over the temperature.

        Args:
            inputs: Images (n, h, w, c); the memories of these images, (n, numbers);
                those of others, (n, others, numbers).
            training: Whether statistics are those of the batch.
        """
        images, own, others = inputs
        maps = self.stem(self.views(images), training=training)
        codes = ops.normalize(self.head(maps, training=training), axis=-1)
        self.codes.assign(codes)
        others = ops.reshape(others, (-1, others.shape[-1]))
        known = ops.concatenate([own, others], axis=0)
        return ops.matmul(codes, ops.transpose(known)) / self.temperature

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the cross-entropy of naming the right image, InfoNCE."""
        right = ops.arange(ops.shape(y_pred)[0])
        losses = keras.losses.sparse_categorical_crossentropy(
            right, y_pred, from_logits=True
        )
        return ops.mean(losses)


def train(
    model: Discriminator, task: Task, optimizer: keras.optimizers.Optimizer
) -> Trained:
    """Train ``model``, whose memory has begun; return how it went.

    The weights kept are the optimizer's running mean of them, where it has one.

    Raises:
        NonFiniteLoss: Training diverged; the message names the epoch and the step.
    """
    training = _Training(model, task, optimizer)
    training.run()
    optimizer.finalize_variable_values(model.trainable_variables)
    return Trained(training.history, len(training.history), training.resumed_at)


class _Training(Training):
    """One training: its batches bring what is remembered of their images."""

    def __init__(
        self, model: Discriminator, task: Task, optimizer: keras.optimizers.Optimizer
    ) -> None:
        super().__init__(model, task, optimizer)
        self.batch_size = model.codes.shape[0]
        assert isinstance(task.encoder, InstanceSettings)
        self.momentum, self.others = task.encoder.momentum, task.encoder.negatives

    def judge(self) -> dict[str, float]:
        """Return nothing: held-out images have no memory to be compared with."""
        return {}

    def steps(self, epoch: int) -> float:
        """Take the steps of an epoch; the memory moves after each."""
        seed, train = self.settings.seed, self.task.data.train
        rows = train.order(seed, epoch)
        parts = len(rows) // self.batch_size
        self.task.progress.epoch_begins(epoch + 1, parts)
        memory = np.array(ops.convert_to_numpy(self.model.memory))
        draws = np.random.default_rng([seed, epoch, 1])
        each, total = -(-self.others // self.batch_size), 0.0
        for step, batch in enumerate(
            self.images(train, rows[: parts * self.batch_size]), start=1
        ):
            here = rows[(step - 1) * self.batch_size : step * self.batch_size]
            own = memory[here]
            others = memory[draws.integers(len(memory), size=(len(here), each))]
            loss = float(self.model.train_on_batch((*batch, own, others)))
            if not math.isfinite(loss):
                raise NonFiniteLoss(
                    f"the loss became {loss} in epoch {epoch + 1} at step {step}"
                )
            codes = ops.convert_to_numpy(self.model.codes)
            moved = self.momentum * own + (1.0 - self.momentum) * codes
            length = np.linalg.norm(moved, axis=1, keepdims=True)
            memory[here] = moved / np.maximum(length, SMALLEST)
            total += loss
            self.task.progress.step_done(step, loss)
        self.model.memory.assign(memory)
        return total / parts
