"""One trial of tune: trained on most of the training examples, judged on the rest."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from models import fit, metrics
from models.artifact import BATCH_SIZE
from models.data import Batch, Examples, InFile
from models.metrics import Labelled
from models.task import Data, Progress, Task
from models.transform import Transform
from pipelines.config import Settings
from pipelines.errors import ConfigError

JUDGED_SHARE = 0.2
"""Part of the training examples that trials are judged on."""
MOST_JUDGED = 5_000
CLASSES = 2


class Part(Examples):
    """Some of the examples, in their order, under numbers of their own."""

    def __init__(self, whole: Examples, rows: np.ndarray) -> None:
        self.paths, self.shape = whole.paths, whole.shape
        self._whole, self._rows = whole, rows
        self._ends = np.searchsorted(rows, whole._ends)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, rows: Sequence[int] | np.ndarray) -> Batch:
        """Return the examples of these numbers, in this order."""
        return self._whole.read(self._rows[np.asarray(rows, np.int64)])

    def by_file(self, rows: np.ndarray) -> list[InFile]:
        """Return the files that hold ``rows``, which rise, and which each holds."""
        return self._whole.by_file(self._rows[rows])


@dataclasses.dataclass(frozen=True)
class Case:
    """What every trial is trained and judged on.

    Attributes:
        settings: The dataset's own.
        transform: How the examples were normalised.
        train: Examples that trials learn from.
        judged: Examples, of the training split too, that they are judged on.
        figure: What is judged: ``linear``, in per cent, or ``psnr``, in dB.
    """

    settings: Settings
    transform: Transform
    train: Examples
    judged: Examples
    figure: str


class Outcome(NamedTuple):
    """What a trial came to.

    Attributes:
        value: The figure, the higher the better.
        figures: It and others, by name.
        scores: The figure of each judged example.
        seconds: How long it took.
    """

    value: float
    figures: dict[str, float]
    scores: np.ndarray
    seconds: float


def split(examples: Examples, most: int, seed: int) -> tuple[Examples, Examples]:
    """Return the examples to learn from, and those to judge on; none is in both."""
    order = np.random.default_rng([seed, len(examples)]).permutation(len(examples))
    count = min(len(examples), most)
    judged = min(MOST_JUDGED, max(1, round(JUDGED_SHARE * count)))
    train, held = np.sort(order[judged:count]), np.sort(order[:judged])
    return Part(examples, train), Part(examples, held)


def figure_of(settings: Settings, train: Examples, judged: Examples) -> str:
    """Return the figure that the gate would hold to be the first.

    Raises:
        ConfigError: It needs labels, and there are none.
    """
    if settings.gate.primary == "psnr":
        return "psnr"
    classes = [len(set(_labels(part)) - {None}) for part in (train, judged)]
    if min(classes) >= CLASSES:
        return "linear"
    if settings.gate.primary == "linear":
        raise ConfigError(
            "gate.primary is linear, and fewer than two labels stand in the training "
            "examples. Give labels, or set gate.primary to psnr."
        )
    return "psnr"


def attempt(case: Case, settings: Settings, folder: str, progress: Progress) -> Outcome:
    """Return what an encoder of ``settings`` shows; ``folder`` keeps its checkpoint."""
    began = time.perf_counter()
    keras.utils.clear_session()
    found = fit.fit(
        Task(
            encoder=settings.encoder,
            train=settings.train,
            data=Data(case.train, case.judged, case.transform.transform_id),
            folder=folder,
            progress=progress,
        )
    )
    latents, errors = _seen(found.encoder, found.decoder, case)
    decibels = metrics.psnr(errors)
    figures = {"psnr": float(decibels.mean())}
    scores = decibels
    if case.figure == "linear":
        scores = _probed(found.encoder, latents, case)
        figures["linear"] = float(scores.mean())
    seconds = time.perf_counter() - began
    return Outcome(figures[case.figure], figures, scores, seconds)


def _seen(
    encoder: keras.Model, decoder: keras.Model, case: Case
) -> tuple[np.ndarray, np.ndarray]:
    """Return the judged examples' latents, and their squared errors as pixels."""
    latents, errors = [], []
    for batch in case.judged.batches(BATCH_SIZE):
        found = np.asarray(encoder.predict_on_batch(batch.images))
        painted = case.transform.undo(np.asarray(decoder.predict_on_batch(found)))
        real = case.transform.undo(batch.images)
        latents.append(found)
        errors.append(metrics.squared_error(real, painted))
    return np.concatenate(latents), np.concatenate(errors)


def _probed(encoder: keras.Model, latents: np.ndarray, case: Case) -> np.ndarray:
    """Return for each judged example 100 where a linear probe names it, else 0."""
    most = case.settings.gate.probe_images
    rows = np.sort(case.train.order(0, 0)[:most])
    parts, names = [], []
    for batch in case.train.batches(BATCH_SIZE, rows):
        parts.append(np.asarray(encoder.predict_on_batch(batch.images)))
        names += batch.labels
    known = sorted({name for name in names if name is not None})
    code: dict[Any, int] = {name: place for place, name in enumerate(known)}
    mine = np.array([code.get(name, -1) for name in names])
    theirs = _labels(case.judged)
    asked = np.array([name is not None for name in theirs])
    wanted = np.array([code.get(name, len(known)) for name in theirs])
    features = np.concatenate(parts)
    if not (np.isfinite(features).all() and np.isfinite(latents).all()):
        return np.zeros(int(asked.sum()))
    right = metrics.linear_probe(
        Labelled(features[mine >= 0], mine[mine >= 0]),
        Labelled(latents[asked], wanted[asked]),
    )
    return 100.0 * right


def _labels(examples: Examples) -> list[str | None]:
    return [label for batch in examples.batches(1024) for label in batch.labels]
