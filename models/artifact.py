"""An encoder kept with its decoder, its transform and its identity.

The folder of one: ``encoder.keras``, ``decoder.keras``, ``transform/…`` and, written
last, ``card.json`` with the digest of each. Every digest is checked before a file is
loaded.
"""

import contextlib
import hashlib
import json
import os
import shutil
import threading
import uuid
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from models import device, metrics
from models import layers as _layers  # noqa: F401 - registered, so that it is loaded
from models.spec import IMAGE
from models.transform import (
    GRAPH,
    ArtifactError,
    Transform,
    digests,
    read_card,
    verify,
)

__all__ = ["Artifact", "ArtifactError", "health", "load", "save", "space_id_of"]

FORMAT_VERSION = 1
CARD = "card.json"
ENCODER = "encoder.keras"
DECODER = "decoder.keras"
TRANSFORM = "transform"
BATCH_SIZE = 128
"""Images that go through the encoder at once; measured: see bench/results.md."""

_LAYERS = {
    *("Functional", "InputLayer", "Flatten", "Reshape", "Concatenate", "Dense"),
    *("Conv2D", "Conv2DTranspose", "AveragePooling2D", "Cropping2D", "UpSampling2D"),
    *("Add", "LayerNormalization", "MultiHeadAttention", "Positions"),
    *("Activation", "BatchNormalization", "GlobalAveragePooling2D"),
    *("UnitNormalization", "ContrastNormalization", "SoftThreshold"),
}


class Artifact:
    """A loaded encoder: pixels to latents, and back.

    Attributes:
        card: What ``card.json`` says.
        transform: How pixels become the encoder's input.
    """

    def __init__(self, folder: str, card: dict[str, Any]) -> None:
        self.card = card
        self.transform = Transform(os.path.join(folder, TRANSFORM))
        self._encoder = _load_model(os.path.join(folder, ENCODER))
        self._decoder = _load_model(os.path.join(folder, DECODER))
        self._check_identity(folder)
        self._normalise = _normaliser(self.transform)
        # Only TensorFlow's compiled functions may be called from several threads.
        alone = keras.backend.backend() != "tensorflow"
        self._turn: Any = threading.Lock() if alone else contextlib.nullcontext()
        blank = np.zeros((1, *self.transform.shape), np.uint8)
        self.encode_and_reconstruct(blank)  # compiled now, before threads call it

    @property
    def space_id(self) -> str:
        """The digest that names what this encoder's latents mean."""
        return str(self.card["space_id"])

    @property
    def latent_dim(self) -> int:
        """How many numbers a latent has."""
        return int(self.card["latent_dim"])

    @property
    def decoder(self) -> keras.Model:
        """Latent to normalised image."""
        return self._decoder

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """Return the latents of ``pixels``.

        Args:
            pixels: Canonical images, uint8, (n, height, width, channels).

        Returns:
            float32, (n, latent_dim).
        """
        latents = np.empty((len(pixels), self.latent_dim), np.float32)
        for here, images in self._batches(pixels):
            latents[here] = self._run(self._encoder, images)[: here.stop - here.start]
        return latents

    def encode_and_reconstruct(
        self, pixels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the latents of ``pixels`` and what the decoder makes of them.

        Args:
            pixels: Canonical images, uint8, (n, height, width, channels).

        Returns:
            Latents, float32, (n, latent_dim); reconstructions in [0, 1], float32, of
            the shape of ``pixels``.
        """
        latents = np.empty((len(pixels), self.latent_dim), np.float32)
        painted = np.empty(pixels.shape, np.float32)
        for here, images in self._batches(pixels):
            found = self._run(self._encoder, images)
            count = here.stop - here.start
            latents[here] = found[:count]
            painted[here] = self.transform.undo(self._run(self._decoder, found)[:count])
        return latents, painted

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Return what the decoder makes of ``latents``.

        Args:
            latents: Of shape (n, latent_dim).

        Returns:
            Images in [0, 1], float32, (n, height, width, channels).
        """
        if latents.shape[1:] != (self.latent_dim,):
            raise ValueError(
                f"latents are of {latents.shape[1:]} numbers; this decoder takes "
                f"{self.latent_dim}."
            )
        painted = np.empty((len(latents), *self.transform.shape), np.float32)
        for start in range(0, len(latents), BATCH_SIZE):
            some = np.asarray(latents[start : start + BATCH_SIZE], np.float32)
            whole = np.pad(some, ((0, BATCH_SIZE - len(some)), (0, 0)))
            images = self._run(self._decoder, whole)[: len(some)]
            painted[start : start + len(some)] = self.transform.undo(images)
        return painted

    def _batches(self, pixels: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield slices of ``pixels`` with their normalised images, the last padded."""
        if pixels.dtype != np.uint8 or pixels.shape[1:] != tuple(self.transform.shape):
            raise ValueError(
                f"images are {pixels.dtype} {pixels.shape[1:]}; this encoder takes "
                f"uint8 {tuple(self.transform.shape)}."
            )
        for start in range(0, len(pixels), BATCH_SIZE):
            here = slice(start, min(start + BATCH_SIZE, len(pixels)))
            images = pixels[here]
            if len(images) < BATCH_SIZE:  # one shape means one compilation
                more = BATCH_SIZE - len(images)
                images = np.pad(images, ((0, more), (0, 0), (0, 0), (0, 0)))
            yield here, self._normalise(images)

    def _run(self, model: keras.Model, batch: np.ndarray) -> np.ndarray:
        with self._turn:
            return np.asarray(model.predict_on_batch(batch))

    def _check_identity(self, folder: str) -> None:
        found = space_id_of(self._encoder, self._decoder, self.transform)
        if found != self.space_id:
            raise ArtifactError(
                f"{folder}: its weights and transform are those of space {found}, "
                f"and its card says {self.space_id}."
            )


def save(
    folder: str,
    encoder: keras.Model,
    decoder: keras.Model,
    transform_folder: str,
    card: dict[str, Any],
) -> dict[str, Any]:
    """Put an encoder at ``folder``, whole or not at all; return its whole card.

    Args:
        folder: Where it will stand, replacing what stands there.
        encoder: Normalised image to latent.
        decoder: Latent to normalised image.
        transform_folder: The transform of its images; it is copied.
        card: What else is to be known of it: settings, seed, run, health.
    """
    transform = Transform(transform_folder)
    aside = f"{folder}.{uuid.uuid4().hex}.aside"
    os.makedirs(aside)
    try:
        encoder.save(os.path.join(aside, ENCODER))
        decoder.save(os.path.join(aside, DECODER))
        shutil.copytree(transform_folder, os.path.join(aside, TRANSFORM))
        whole = card | {
            "format_version": FORMAT_VERSION,
            "space_id": space_id_of(encoder, decoder, transform),
            "transform_id": transform.transform_id,
            "image_spec_id": transform.card["image_spec_id"],
            "latent_dim": int(encoder.output_shape[-1]),
            "image": transform.shape._asdict(),
            "files": digests(aside),
        }
        with open(os.path.join(aside, CARD), "w", encoding="utf-8") as file:
            json.dump(whole, file, indent=1, sort_keys=True)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return whole


def load(folder: str) -> Artifact:
    """Return the encoder at ``folder``, verified.

    Raises:
        ArtifactError: A file is missing or altered, or of a newer format, or the
            weights are not those of the space that the card names.
    """
    card = read_card(os.path.join(folder, CARD), FORMAT_VERSION)
    verify(folder, card["files"])
    return Artifact(folder, card)


def space_id_of(
    encoder: keras.Model, decoder: keras.Model, transform: Transform
) -> str:
    """Return the digest of all that gives a latent its meaning."""
    digest = hashlib.sha256()
    for model in (encoder, decoder):
        for weights in model.get_weights():
            digest.update(repr((weights.shape, str(weights.dtype))).encode())
            digest.update(np.ascontiguousarray(weights).tobytes())
    names = (transform.transform_id, transform.card["image_spec_id"])
    digest.update(json.dumps([*names, int(encoder.output_shape[-1])]).encode())
    return digest.hexdigest()[:16]


def health(latents: np.ndarray) -> dict[str, Any]:
    """Return what ``latents`` of training images say about a space."""
    norms = np.linalg.norm(latents, axis=1)
    return {
        "images": len(latents),
        "effective_rank": round(metrics.effective_rank(latents), 3),
        "dead_dims": metrics.dead_dimensions(latents),
        "norm_range": [float(norms.min()), float(norms.max())],
    }


def _load_model(path: str) -> keras.Model:
    """Return the model in the file; one with layers other than ours is refused."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    strange = set(_layers_in(config)) - _LAYERS
    if strange:
        raise ArtifactError(f"{path}: has layers we do not make: {sorted(strange)}.")
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    return device.settle(model)


def _layers_in(config: dict[str, Any]) -> list[str]:
    """Return the class of a model's configuration, and of each layer within it."""
    found = [str(config.get("class_name"))]
    for layer in config.get("config", {}).get("layers", []):
        found += _layers_in(layer)
    return found


def _normaliser(transform: Transform) -> Callable[[np.ndarray], np.ndarray]:
    """Return how the transform is applied: by its table, else by its saved graph."""
    if transform.lookup is not None:
        return transform.look_up
    import tensorflow as tf  # only this kind of transform needs it

    graph = tf.saved_model.load(os.path.join(transform.folder, GRAPH))
    signature = graph.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]

    def apply(pixels: np.ndarray) -> np.ndarray:
        strings = [image.tobytes() for image in pixels]
        values = signature(**{name: tf.constant(strings)})[IMAGE].numpy()
        return np.asarray(values, np.float32).reshape(pixels.shape)

    apply.graph = graph  # type: ignore[attr-defined]  # keeps its variables alive
    return apply
