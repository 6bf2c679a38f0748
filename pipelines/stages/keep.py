"""What of the held-out images is kept for the page: a selection, the worst, a map."""

import numpy as np

from models.pca import Pixels
from pipelines.pages.keepsake import Keepsake
from pipelines.stages.measure import Model, Shown
from pipelines.stages.sample import Sample, ranks

SELECTED = 40
WORST = 20
MAPPED = 1500
THUMBNAIL = 40
"""Longest side of a thumbnail, in pixels."""


def make(held_out: Sample, shown: Shown, candidate: Model, pca: Model) -> Keepsake:
    """Return what is kept of ``held_out`` and what the candidate showed on it."""
    labels = np.array([label or "" for label in held_out.column("label")])
    order = np.argsort(ranks(held_out.rows))
    selected = spread_over_labels(order, labels, SELECTED)
    worst = np.argsort(-shown.errors, kind="stable")[:WORST]
    places = [int(place) for place in (*selected, *worst)]
    originals = held_out.pick(places)
    mapped = np.sort(order[:MAPPED])
    return Keepsake(
        image_ids=np.array(held_out.column("image_id")),
        source_uris=np.array(held_out.column("source_uri")),
        labels=labels,
        errors=shown.errors.astype(np.float32),
        shown=np.array(places),
        selected=np.array(len(selected)),
        originals=originals,
        reconstructions=_painted(candidate, originals),
        pca_reconstructions=_painted(pca, originals),
        mapped=mapped,
        latents=shown.latents[mapped],
        thumbnails=_thumbnails(held_out, mapped),
    )


def spread_over_labels(order: np.ndarray, labels: np.ndarray, most: int) -> np.ndarray:
    """Return the first ``most`` places of ``order``, one label after the other.

    Every label gives as many as the next, and the places are sorted by label.
    """
    turns: dict[str, int] = {}
    keyed = []
    for at, place in enumerate(order):
        label = str(labels[place])
        turns[label] = turns.get(label, -1) + 1
        keyed.append((turns[label], at, label, int(place)))
    chosen = sorted(keyed)[:most]
    chosen.sort(key=lambda one: (one[2], one[1]))
    return np.array([place for *_, place in chosen], dtype=np.int64)


def _painted(model: Model, pixels: Pixels) -> Pixels:
    _, reconstructions = model.encode_and_reconstruct(pixels)
    return np.clip(np.rint(reconstructions * 255.0), 0, 255).astype(np.uint8)


def _thumbnails(held_out: Sample, mapped: np.ndarray) -> Pixels:
    import cv2

    small, start = [], 0
    for pixels in held_out.batches():
        inside = mapped[(mapped >= start) & (mapped < start + len(pixels))] - start
        for image in pixels[inside]:
            scale = min(1.0, THUMBNAIL / max(image.shape[:2]))
            size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
            resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            small.append(resized.reshape(*resized.shape[:2], image.shape[2]))
        start += len(pixels)
    return np.stack(small)
