"""What evaluate keeps for the page: pictures, errors and latents of held-out images.

One ``.npz`` file without pickles.
"""

import io
from typing import Any, NamedTuple

import numpy as np

from pipelines.lake import store

NAME = "evaluation.npz"


class Keepsake(NamedTuple):
    """What is kept of the ``n`` held-out images that an encoder was judged on.

    Attributes:
        image_ids: Of all of them, ``(n,)``.
        source_uris: Likewise.
        labels: Likewise; empty for none.
        errors: The candidate's mean squared reconstruction errors, ``(n,)``.
        shown: Places of the ``k`` images with pictures: first a selection by hash,
            sorted by label, then those that were reconstructed worst.
        selected: How many of them are of the selection.
        originals: ``uint8`` of shape ``(k, h, w, c)``.
        reconstructions: The candidate's, likewise.
        pca_reconstructions: Those of PCA of its size, likewise.
        mapped: Places of the ``m`` images with a latent and a thumbnail.
        latents: The candidate's, ``(m, d)``.
        thumbnails: ``uint8`` of shape ``(m, h', w', c)``.
    """

    image_ids: np.ndarray
    source_uris: np.ndarray
    labels: np.ndarray
    errors: np.ndarray
    shown: np.ndarray
    selected: np.ndarray
    originals: np.ndarray
    reconstructions: np.ndarray
    pca_reconstructions: np.ndarray
    mapped: np.ndarray
    latents: np.ndarray
    thumbnails: np.ndarray


def save(path: str, keepsake: Keepsake) -> None:
    """Put ``keepsake`` at ``path``, whole."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = keepsake._asdict()
    np.savez_compressed(buffer, **arrays)
    store.write_bytes(path, buffer.getvalue())


def load(path: str) -> Keepsake | None:
    """Return the keepsake at ``path``, or ``None`` where there is none."""
    if not store.exists(path):
        return None
    with np.load(io.BytesIO(store.read_bytes(path)), allow_pickle=False) as file:
        return Keepsake(**{name: file[name] for name in Keepsake._fields})
