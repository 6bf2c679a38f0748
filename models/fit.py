"""Fit an autoencoder to examples: train, checkpoint, resume, then whiten its latent."""

import dataclasses
import importlib.util
import json
import logging
import math
import os
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np

from models import checkpoint, device
from models.data import Examples
from models.presets import registry
from models.presets.parts import Halves, Parts
from models.whitening import Moments, whiten

JUDGED = 5_000
"""Held-out images that each epoch is judged on, at most."""
WHITENED = 20_000
"""Training images that the whitening is fitted on, at most."""
CHECKPOINT = "checkpoint.npz"
HISTORY = "history.json"

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitSettings:
    """What is trained, and how.

    Attributes:
        preset: The architecture, by name.
        latent_dim: Numbers in a latent.
        pooled_share: Part of the latent that comes from pooled activations.
        widths: Channels of each strided convolution.
        epochs: Passes over the examples, at most.
        batch_size: Examples in one step.
        learning_rate: Adam's first learning rate.
        reduce_patience: Epochs without progress before the rate is halved.
        stop_patience: Epochs without progress before training stops.
        seed: Seed of weights and order.
    """

    preset: str = "conv"
    latent_dim: int = 128
    pooled_share: float = 0.5
    widths: tuple[int, ...] = (32, 64, 128)
    epochs: int = 15
    batch_size: int = 128
    learning_rate: float = 1e-3
    reduce_patience: int = 3
    stop_patience: int = 8
    seed: int = 0


class Candidate(NamedTuple):
    """What was trained.

    Attributes:
        encoder: Normalised image to latent.
        decoder: Latent to normalised image.
        history: One record an epoch: epoch, loss, val_loss, learning_rate, seconds.
        best_epoch: The epoch whose weights these are.
        resumed_at: Epochs that an earlier, cut-off run had done.
    """

    encoder: keras.Model
    decoder: keras.Model
    history: list[dict[str, float]]
    best_epoch: int
    resumed_at: int


class Progress(Protocol):
    """Who is told how training goes."""

    def epoch_begins(self, epoch: int, steps: int) -> None:
        """Hear that epoch number ``epoch`` of so many steps begins."""

    def step_done(self, step: int, loss: float) -> None:
        """Hear that a step is done."""

    def epoch_done(self, record: dict[str, float]) -> None:
        """Hear that an epoch is done."""


class NonFiniteLoss(ArithmeticError):
    """The loss became infinite or not a number."""


def fit(
    settings: FitSettings,
    train: Examples,
    held_out: Examples,
    folder: str,
    progress: Progress | None = None,
    *,
    transform_id: str = "",
) -> Candidate:
    """Return the autoencoder that ``settings`` make of ``train``.

    ``folder`` keeps ``history.json``, TensorBoard's logs where TensorFlow is
    installed, and a checkpoint of every epoch: a call that was cut off is taken up
    after its last whole epoch when it is made again. ``held_out`` decides which epoch
    was the best; where it is empty, the training loss does. ``transform_id`` names what
    normalised the examples: a checkpoint of others is not gone on with.

    Raises:
        NonFiniteLoss: Training diverged; the message names the epoch and the step.
    """
    os.makedirs(folder, exist_ok=True)
    keras.utils.set_random_seed(settings.seed)
    with device.spread() as devices:
        training = _Training(settings, train, held_out, folder, devices)
        training.transform_id = transform_id
        training.run(progress)
        encoder, decoder = _finish(training)
    return Candidate(
        encoder,
        decoder,
        training.history,
        training.stopper.best_epoch + 1,
        training.resumed_at,
    )


class _Training:
    """One training: what it is made of, and how far it is."""

    def __init__(
        self,
        settings: FitSettings,
        train: Examples,
        held_out: Examples,
        folder: str,
        devices: int,
    ) -> None:
        self.settings, self.train, self.held_out = settings, train, held_out
        self.folder, self.devices = folder, devices
        self.batch_size = max(1, settings.batch_size // devices) * devices
        self.preset = registry.find(settings.preset)
        available = self.preset.pooled_features(settings.widths)
        halves = Halves.of(settings.latent_dim, settings.pooled_share, available)
        self.parts: Parts = self.preset.build(train.shape, halves, settings.widths)
        self.model = self.parts.autoencoder
        self.model.compile(
            optimizer=keras.optimizers.Adam(settings.learning_rate),
            loss="mse",
            jit_compile=device.jit_compile(),
        )
        self.model.optimizer.build(self.model.trainable_variables)
        monitor = "val_loss" if len(held_out) >= devices else "loss"
        self.stopper = keras.callbacks.EarlyStopping(
            monitor, patience=settings.stop_patience, restore_best_weights=True
        )
        self.kept = [
            keras.callbacks.ReduceLROnPlateau(
                monitor, factor=0.5, patience=settings.reduce_patience
            ),
            self.stopper,
        ]
        self.history: list[dict[str, float]] = []
        self.resumed_at = 0
        self.transform_id = ""

    def run(self, progress: Progress | None) -> None:
        """Train to the end, from the last checkpoint if there is one."""
        callbacks = keras.callbacks.CallbackList(
            [*self.kept, *_board(self.folder)], model=self.model
        )
        self.model.stop_training = False
        callbacks.on_train_begin()
        self._resume()
        for epoch in range(self.resumed_at, self.settings.epochs):
            if self.model.stop_training:
                break
            callbacks.on_epoch_begin(epoch)
            record = self._epoch(epoch, progress)
            callbacks.on_epoch_end(epoch, dict(record))
            self.history.append(record)
            self._keep()
            if progress:
                progress.epoch_done(record)
        callbacks.on_train_end()

    def _epoch(self, epoch: int, progress: Progress | None) -> dict[str, float]:
        start = time.perf_counter()
        rows = self.whole(self.train.order(self.settings.seed, epoch))
        if progress:
            progress.epoch_begins(epoch + 1, -(-len(rows) // self.batch_size))
        total = 0.0
        for step, images in enumerate(self.images(self.train, rows), start=1):
            loss = float(self.model.train_on_batch(images, images))
            if not math.isfinite(loss):
                raise NonFiniteLoss(
                    f"the loss became {loss} in epoch {epoch + 1} at step {step}"
                )
            total += loss * len(images)
            if progress:
                progress.step_done(step, loss)
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        return {
            "epoch": epoch + 1,
            "loss": total / len(rows),
            **self._judge(),
            "learning_rate": rate,
            "seconds": time.perf_counter() - start,
        }

    def _judge(self) -> dict[str, float]:
        rows = self.whole(np.arange(min(len(self.held_out), JUDGED)))
        if not len(rows):
            return {}
        total = 0.0
        for images in self.images(self.held_out, rows):
            total += float(self.model.test_on_batch(images, images)) * len(images)
        return {"val_loss": total / len(rows)}

    def whole(self, rows: np.ndarray) -> np.ndarray:
        """Return as many of ``rows`` as can be shared among the devices evenly."""
        return rows[: len(rows) - len(rows) % self.devices]

    def images(self, examples: Examples, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the images of ``rows`` in batches."""
        for batch in examples.batches(self.batch_size, rows):
            yield batch.images

    @property
    def _checkpoint(self) -> str:
        return os.path.join(self.folder, CHECKPOINT)

    def _keep(self) -> None:
        notes = {
            "of": self._identity(),
            "history": self.history,
            "stopped": bool(self.model.stop_training),
        }
        checkpoint.save(self._checkpoint, self.model, self.kept, notes)
        checkpoint.write_json(os.path.join(self.folder, HISTORY), self.history)

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
        settings = json.loads(json.dumps(dataclasses.asdict(self.settings)))
        return {
            "settings": settings,
            "transform": self.transform_id,
            "shape": list(self.train.shape),
            "backend": keras.backend.backend(),
            "examples": [len(self.train), len(self.held_out)],
            "files": [os.path.basename(path) for path in self.train.paths],
        }


def _finish(training: _Training) -> tuple[keras.Model, keras.Model]:
    """Return encoder and decoder, the latent whitened on training images."""
    parts, settings = training.parts, training.settings
    rows = training.whole(training.train.order(settings.seed, 0)[:WHITENED])
    features = device.settle(parts.features)
    moments = Moments(parts.features.output_shape[1])
    for images in training.images(training.train, rows):
        moments.add(features.predict_on_batch(images))
    mean, covariance, cut = moments.mean, moments.covariance, parts.halves.bottleneck
    bottleneck = whiten(mean[:cut], covariance[:cut, :cut], cut)
    pooled = whiten(mean[cut:], covariance[cut:, cut:], parts.halves.pooled)
    return (
        device.settle(training.preset.encoder(parts, bottleneck, pooled)),
        device.settle(training.preset.decoder(parts, bottleneck)),
    )


def _board(folder: str) -> list[keras.callbacks.Callback]:
    """Return the callback that writes TensorBoard's logs; it needs TensorFlow."""
    if importlib.util.find_spec("tensorflow") is None:
        return []
    logs = os.path.join(folder, "tensorboard")
    return [keras.callbacks.TensorBoard(logs, write_graph=False)]
