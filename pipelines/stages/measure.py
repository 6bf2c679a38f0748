"""What a model shows on held-out images, and how far apart two models are."""

import dataclasses
from typing import Protocol, cast

import numpy as np

from models import metrics
from models.metrics import Labelled
from models.pca import Pixels
from pipelines.config import GateSettings
from pipelines.stages import gate
from pipelines.stages.gate import Bounds, Figures, Name
from pipelines.stages.sample import Sample, ranks

SSIM_IMAGES = 2000
"""Structural similarity is judged on so many held-out images, at most (by hash)."""
MIN_CLASSES = 2


class Model(Protocol):
    """What can be judged: PCA, or an encoder with its decoder."""

    def encode(self, pixels: Pixels) -> np.ndarray:
        """Return latents ``(n, d)`` of images ``(n, h, w, c)``."""

    def encode_and_reconstruct(self, pixels: Pixels) -> tuple[np.ndarray, np.ndarray]:
        """Return latents ``(n, d)`` and reconstructions ``(n, h, w, c)`` in [0, 1]."""


@dataclasses.dataclass(frozen=True)
class Exam:
    """The images that models are judged on; the same for each of them.

    Attributes:
        train: Training images, on which probes are fitted.
        held_out: The images that figures are taken on.
        labels: Codes of the labels of both (-1 for none), where probes can be fitted.
    """

    train: Sample
    held_out: Sample
    labels: tuple[np.ndarray, np.ndarray] | None

    @property
    def labelled(self) -> int:
        """How many held-out images have labels that count."""
        return 0 if self.labels is None else int((self.labels[1] >= 0).sum())


@dataclasses.dataclass(frozen=True)
class Shown:
    """What one model showed, a value per held-out image.

    Attributes:
        latents: Of shape ``(n, d)``.
        errors: Mean squared reconstruction errors, ``(n,)``.
        ssim: Structural similarities of some of the images.
        linear: Whether a linear probe named each labelled image rightly.
        knn: Whether its ten nearest did.
    """

    latents: np.ndarray
    errors: np.ndarray
    ssim: np.ndarray
    linear: np.ndarray | None
    knn: np.ndarray | None

    def values(self, name: Name) -> np.ndarray | None:
        """Return the figure ``name`` per image, in its own unit."""
        if name == "psnr":
            return metrics.psnr(self.errors)
        right = self.linear if name == "linear" else self.knn
        return None if right is None else 100.0 * right

    def figures(self) -> Figures:
        """Return the means over images."""
        means = {name: _mean(self.values(name)) for name in gate.TITLES}
        return Figures(
            psnr=cast(float, means["psnr"]),
            linear=means["linear"],
            knn=means["knn"],
            ssim=_mean(self.ssim),
            error=_mean(self.errors),
            effective_rank=metrics.effective_rank(self.latents),
            dead_dims=metrics.dead_dimensions(self.latents),
        )


def set_exam(train: Sample, held_out: Sample, limits: GateSettings) -> Exam:
    """Return the exam, with labels where there are enough of them to judge by.

    That is: two classes or more among the labelled of both splits, and as many
    labelled held-out images as an interval needs (or ``allow_small``).
    """
    names = sorted({label for label in train.column("label") if label is not None})
    code = {label: place for place, label in enumerate(names)}
    unknown = len(names)  # a class never trained on; no probe can name it rightly
    codes = [
        np.array([-1 if label is None else code.get(label, unknown) for label in each])
        for each in (train.column("label"), held_out.column("label"))
    ]
    classes = len(set(codes[1][codes[1] >= 0]))
    count = int((codes[1] >= 0).sum())
    wanted = gate.enough(count, limits) or limits.allow_small
    if min(len(names), classes) < MIN_CLASSES or not wanted:
        return Exam(train, held_out, None)
    return Exam(train, held_out, (codes[0], codes[1]))


def examine(model: Model, exam: Exam) -> Shown:
    """Return what ``model`` shows on the held-out images of ``exam``."""
    judged = ranks(exam.held_out.rows) < SSIM_IMAGES
    latents, errors, likeness, start = [], [], [], 0
    for pixels in exam.held_out.batches():
        found, reconstructions = model.encode_and_reconstruct(pixels)
        images = pixels.astype(np.float32) / np.float32(255.0)
        latents.append(found)
        errors.append(metrics.squared_error(images, reconstructions))
        here = judged[start : start + len(pixels)]
        likeness.append(metrics.ssim(images[here], reconstructions[here]))
        start += len(pixels)
    all_latents = np.concatenate(latents)
    linear, knn = _probes(model, exam, all_latents)
    return Shown(
        all_latents, np.concatenate(errors), np.concatenate(likeness), linear, knn
    )


def intervals(mine: Shown, theirs: Shown, limits: GateSettings) -> dict[Name, Bounds]:
    """Return the 95 % interval of each figure's gain, where there are enough images."""
    found: dict[Name, Bounds] = {}
    for name in gate.TITLES:
        ours, others = mine.values(name), theirs.values(name)
        if ours is None or others is None or not gate.enough(len(ours), limits):
            continue
        found[name] = Bounds(*metrics.bootstrap_interval(ours - others))
    return found


def _probes(
    model: Model, exam: Exam, latents: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    if exam.labels is None:
        return None, None
    in_train, in_held_out = (codes >= 0 for codes in exam.labels)
    encoded = np.concatenate([model.encode(pixels) for pixels in exam.train.batches()])
    train = Labelled(encoded[in_train], exam.labels[0][in_train])
    held_out = Labelled(latents[in_held_out], exam.labels[1][in_held_out])
    if not (np.isfinite(encoded).all() and np.isfinite(latents).all()):
        nothing = np.zeros(len(held_out.labels), dtype=bool)
        return nothing, nothing  # broken latents are for the gate to refuse
    return metrics.linear_probe(train, held_out), metrics.knn(train, held_out)


def _mean(values: np.ndarray | None) -> float | None:
    return None if values is None else float(np.mean(values, dtype=np.float64))
