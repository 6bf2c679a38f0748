"""How classify learns: logistic regression on standardised latents."""

import io
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import skops.io
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

STRENGTH = 0.1
MOST_NAMED = 40
"""With more labels than this the picture names none."""


class Learned(NamedTuple):
    """What was learned.

    Attributes:
        model: The fitted pipeline, as skops writes it (no pickle).
        picture: The confusion matrix, a PNG.
        card: Figures on the held-out images.
    """

    model: bytes
    picture: bytes
    card: dict[str, Any]


class _Split(NamedTuple):
    latents: np.ndarray
    labels: np.ndarray


def learn(rows: pa.Table) -> Learned:
    """Return a classifier of the labelled ``rows``: label, split and latent."""
    train, held_out = _split(rows, "train"), _split(rows, "eval")
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1000)
    )
    with threadpool_limits(1):  # its steps are small; threads wait more than they work
        model.fit(train.latents, train.labels)
    card = _score(model, train, held_out)
    picture = draw(np.array(card["confusion"]), card["classes"])
    return Learned(skops.io.dumps(model), picture, card)


def draw(confusion: np.ndarray, classes: list[str]) -> bytes:
    """Return the confusion matrix as a PNG: rows are labels, columns what was said."""
    count = len(classes)
    side = min(12.0, 3.2 + 0.34 * count)
    figure = Figure(figsize=(side, side), dpi=120, layout="constrained")
    axes = figure.subplots()
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    axes.set_xlabel("named by the classifier")
    axes.set_ylabel("label")
    if count <= MOST_NAMED:
        names = [_plain(name) for name in classes]
        axes.set_xticks(range(count), names, rotation=45, ha="right")
        axes.set_yticks(range(count), names)
        for (row, column), value in np.ndenumerate(confusion):
            if value:
                colour = "white" if share[row, column] > 0.5 else "#1c2026"
                text = f"{value:,}"
                axes.text(column, row, text, ha="center", va="center", color=colour,
                          fontsize=8)  # fmt: skip
    right = np.trace(confusion) / max(1, confusion.sum())
    axes.set_title(f"{confusion.sum():,} held-out images, {right:.1%} right")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _split(rows: pa.Table, split: str) -> _Split:
    inside = pc.and_(pc.equal(rows["split"], split), pc.is_valid(rows["label"]))
    found = rows.filter(inside).combine_chunks()
    latents = found["latent"].combine_chunks()
    flat = latents.flatten().to_numpy(zero_copy_only=False)
    return _Split(
        flat.reshape(len(latents), -1), np.array(found["label"].to_pylist(), object)
    )


def _score(model: Pipeline, train: _Split, held_out: _Split) -> dict[str, Any]:
    named = model.predict(held_out.latents)
    classes = sorted({*train.labels.tolist(), *held_out.labels.tolist()})
    precision, recall, f1, support = precision_recall_fscore_support(
        held_out.labels, named, labels=classes, zero_division=0.0
    )
    present = support > 0
    confusion = confusion_matrix(held_out.labels, named, labels=classes)
    return {
        "accuracy": float(np.mean(named == held_out.labels)),
        "macro_f1": float(f1[present].mean()),
        "train": len(train.labels),
        "held_out": len(held_out.labels),
        "classes": classes,
        "confusion": confusion.tolist(),
        "by_class": {
            name: {
                "precision": float(precision[at]),
                "recall": float(recall[at]),
                "f1": float(f1[at]),
                "held_out": int(support[at]),
            }
            for at, name in enumerate(classes)
        },
    }


def _plain(name: str) -> str:
    """Return ``name`` short, and with nothing that starts mathematics."""
    return name[:18].replace("$", r"\$")
