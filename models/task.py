"""What a preset is given to fit, and what it gives back."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

import keras

from models import sums
from models.data import Examples
from models.section import TrainSettings
from models.settings import EncoderSettings
from models.sums import Summed


class Data(NamedTuple):
    """The examples of one training.

    Attributes:
        train: What is learned from.
        held_out: What decides which epoch was the best; may be empty.
        transform_id: What normalised the examples.
    """

    train: Examples
    held_out: Examples
    transform_id: str = ""


class Progress(Protocol):
    """Who is told how training goes."""

    def epoch_begins(self, epoch: int, steps: int) -> None:
        """Hear that epoch number ``epoch`` of so many steps begins."""

    def step_done(self, step: int, loss: float) -> None:
        """Hear that a step is done."""

    def epoch_done(self, record: dict[str, float]) -> None:
        """Hear that an epoch is done."""


class Silent:
    """Progress that nobody listens to."""

    def epoch_begins(self, epoch: int, steps: int) -> None:
        """Say nothing."""

    def step_done(self, step: int, loss: float) -> None:
        """Say nothing."""

    def epoch_done(self, record: dict[str, float]) -> None:
        """Say nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One encoder to fit.

    Attributes:
        encoder: The preset and its options.
        train: How it is trained.
        data: The examples.
        folder: Keeps ``history.json``, TensorBoard's logs where TensorFlow is
            installed, and a checkpoint: a fit that was cut off is taken up again.
        progress: Who is told how it goes.
        summed: Adds a statistic up over training images: in this process, or in Beam.
        devices: How many devices share each batch.
    """

    encoder: EncoderSettings
    train: TrainSettings
    data: Data
    folder: str
    progress: Progress = dataclasses.field(default_factory=Silent)
    summed: Summed = sums.over_examples
    devices: int = 1


class Trained(NamedTuple):
    """How a training went.

    Attributes:
        history: One record an epoch: epoch, loss, val_loss, learning_rate, seconds.
        best_epoch: The epoch whose weights were kept.
        resumed_at: Epochs that an earlier, cut-off run had done.
    """

    history: list[dict[str, float]]
    best_epoch: int
    resumed_at: int


class Candidate(NamedTuple):
    """What was fitted.

    Attributes:
        encoder: Normalised image to latent, ``float32``.
        decoder: Latent to normalised image.
        trained: How the training went.
        learned_from: The SHA-256 of each file of another model that it learned from.
    """

    encoder: keras.Model
    decoder: keras.Model
    trained: Trained
    learned_from: Mapping[str, str] = MappingProxyType({})
