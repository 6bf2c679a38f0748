"""Learning from another model: reconstructions must look to it as their images do.

The model is a file that the user names. It is checked before it is loaded, frozen, and
no part of what is kept; its digest is, for it decides what is learned.
"""

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import keras
from keras import layers, ops

from models import layers as layers_of_ours  # registered: an encoder of ours may serve
from models.settings import GradientSettings
from models.spec import ImageShape
from models.transform import sha256_of

Settings = TypeVar("Settings", bound=GradientSettings)
SUFFIX = ".keras"
_KNOWN = {"keras", "builtins", layers_of_ours.__name__.split(".")[0]}
"""Where what a file makes may come from: Keras, plain Python values, and our layers."""
_SMALLEST = 1e-6


def pinned(settings: Settings) -> Settings:
    """Return ``settings`` with the digest of the frozen model that they name, if any.

    It is part of what a checkpoint is of: another file of the same name teaches other
    things.

    Raises:
        ValueError: There is no such file, or its digest is not the one wanted.
    """
    path, wanted = settings.perceptual, settings.perceptual_sha256
    if not path:
        return settings
    if not path.endswith(SUFFIX):
        raise ValueError(
            f"encoder.perceptual is {path}: only {SUFFIX} files are loaded. Save the "
            f"model with model.save('….{SUFFIX[1:]}') and name that file."
        )
    if not os.path.isfile(path):
        raise ValueError(
            f"encoder.perceptual is {path}: there is no such file at "
            f"{os.path.abspath(path)}. Name one that the host that trains sees."
        )
    found = sha256_of(path)
    if wanted and found != wanted.lower():
        raise ValueError(
            f"{path}: its SHA-256 is {found}, and encoder.perceptual_sha256 is {wanted}"
            ". Bring back the file that was meant, or name this one's digest."
        )
    return settings.model_copy(update={"perceptual_sha256": found})


def digests(settings: GradientSettings) -> Mapping[str, str]:
    """Return the digest of the file of each model that pinned settings name."""
    if not settings.perceptual:
        return {}
    return {os.path.basename(settings.perceptual): settings.perceptual_sha256}


def term(settings: GradientSettings, shape: tuple[int, ...]) -> "Perceptual":
    """Return the loss between the features of images of ``shape`` and of their paint.

    Raises:
        ValueError: The file cannot be loaded safely, has no such layer, or takes other
            images.
    """
    model = load(pinned(settings))
    features = _features(model, settings.perceptual_layer, settings.perceptual)
    return Perceptual(
        _fitting(features, ImageShape(*shape), settings.perceptual),
        settings.perceptual_weight,
    )


def load(settings: GradientSettings) -> keras.Model:
    """Return the frozen model that the settings name; all in it is Keras' own or ours.

    Raises:
        ValueError: It is no such file.
    """
    path = settings.perceptual
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
        strange = sorted(set(_makers(config)) - _KNOWN)
        if strange:
            raise ValueError(f"its layers come from {', '.join(strange)}")
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: is no model that can be loaded safely: {error}. Give a "
            f"{SUFFIX} file that is whole and has Keras' own layers, or an encoder of "
            "this project; no Lambda."
        ) from error
    model.trainable = False
    return model


class Perceptual(keras.layers.Layer):
    """The mean squared error of features, as a share of the images' own variance.

    Johnson, Alahi and Fei-Fei (2016), for autoencoders Pihlgren et al. (2020). In
    shares of the variance, since features of any model have a scale of their own.
    """

    def __init__(self, features: keras.Model, weight: float, **kwargs: Any) -> None:
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.weight, self._features = weight, features
        self.built = True  # the model it asks is

    def call(self, images: Any, painted: Any, training: bool = False) -> Any:
        """Return the weighted loss of ``painted``, (n, h, w, c), beside ``images``."""
        wanted, found = (
            ops.cast(self._features(one, training=False), "float32")
            for one in (images, painted)
        )
        wanted = ops.stop_gradient(wanted)
        spread = ops.mean(ops.var(wanted, axis=0)) + _SMALLEST
        several = ops.cast(ops.shape(wanted)[0] > 1, "float32")  # one has no variance
        error = ops.mean(ops.square(found - wanted))
        return self.weight * several * error / spread


def _features(model: keras.Model, name: str, path: str) -> keras.Model:
    """Return the model up to the layer of this name; the whole, where there is none."""
    if not name:
        return model
    known = [layer.name for layer in getattr(model, "layers", [])]
    if name not in known:
        raise ValueError(
            f"encoder.perceptual_layer is {name}, and {path} has none of that name. "
            f"It has: {', '.join(known)}."
        )
    try:
        return keras.Model(model.inputs, model.get_layer(name).output)
    except (AttributeError, ValueError) as error:
        raise ValueError(
            f"{path}: the output of its layer {name} cannot be reached. Leave "
            "encoder.perceptual_layer empty, or give a functional model."
        ) from error


def _fitting(features: keras.Model, shape: ImageShape, path: str) -> keras.Model:
    """Return the features of images of ``shape``, which are resized if they must be."""
    wanted = getattr(features, "input_shape", None)
    if not isinstance(wanted, tuple) or len(wanted) != 4 or wanted[3] != shape.channels:
        raise ValueError(
            f"{path}: takes {wanted}, and the images are {tuple(shape)}, channels last."
            " Give a model that takes one batch of images with as many channels."
        )
    images = keras.Input(shape, name="images")
    own = (shape.height, shape.width)
    sides = [side or free for side, free in zip(wanted[1:3], own, strict=True)]
    resized = layers.Resizing(*sides)(images) if sides != [*own] else images
    whole = keras.Model(images, features(resized), name="frozen")
    whole.trainable = False
    return whole


def _makers(config: Any) -> Iterator[str]:
    """Yield the package of each thing that a model's configuration makes."""
    if isinstance(config, dict):
        if config.get("module"):
            yield str(config["module"]).split(".")[0]
        if ">" in str(config.get("registered_name")):  # by a package of somebody's own
            yield str(config["registered_name"]).split(">")[0]
        parts = list(config.values())
    else:
        parts = config if isinstance(config, list) else []
    for part in parts:
        yield from _makers(part)
