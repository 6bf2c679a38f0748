"""Preset ``patch``: a dictionary of patches, then a slow map; nothing is trained.

Three known steps, each in closed form or nearly so: whitened patches are coded by a
dictionary (Coates and Ng, 2011), a linear map keeps what of the codes is the same all
over an image (slow features: Wiskott and Sejnowski, 2002; Chen et al., 2022), and PCA
whitens what is left in each part of the image. Beside it the latent holds principal
components of the pixels, from which most of the reconstruction comes.

Each step is a sum over images, made in one pass, and a small problem solved by NumPy;
what they give is folded into ordinary layers.
"""

from typing import Any

import keras
import numpy as np
from keras import layers

from models import device, dictionary, pixels, readout, slow, sums
from models.dictionary import Coding, Dictionary
from models.layers import ContrastNormalization, SoftThreshold
from models.passes import Passes
from models.readout import Group
from models.settings import PatchSettings
from models.task import Candidate, Task
from models.whitening import Whitening

PATCHES_EACH = 20
"""Patches of one image that the dictionary sees, where there are images enough."""
POOL = 2
"""Codes of so many places a side are averaged before the slow map."""


def fit(task: Task) -> Candidate:
    """Return an encoder and a decoder, fitted in five passes over the examples."""
    settings, shape = task.encoder, task.data.train.shape
    assert isinstance(settings, PatchSettings)
    most, passes = settings.images or None, Passes(task)
    atoms = Dictionary(*passes.once("dictionary", learn_dictionary))
    codes = build_codes(shape, settings, atoms)
    kernel, bias = passes.once("slow", lambda told: learn_slow_map(codes, told))
    features = build_features(codes, kernel, bias, settings)
    groups = groups_of(features, settings)
    found = passes.once(
        "whitening", lambda told: sum(readout.fitted(features, groups, told), ())
    )
    maps = [Whitening(*found[start : start + 3]) for start in range(0, len(found), 3)]
    encoder = readout.encoder(features, groups, maps)
    kernel, bias = passes.once(
        "decoder", lambda told: pixels.fitted(encoder, told, most)
    )
    painter = pixels.decoder(kernel, bias, shape)
    losses = passes.once("losses", lambda told: pixels.losses(encoder, painter, told))
    return Candidate(encoder, painter, passes.ended(losses))


def learn_dictionary(task: Task) -> Dictionary:
    """Return the dictionary of random patches of training images."""
    settings, train = task.encoder, task.data.train
    assert isinstance(settings, PatchSettings)
    rng = np.random.default_rng(task.train.seed)
    count = min(len(train), -(-settings.patches // PATCHES_EACH))
    each = -(-settings.patches // count)
    rows = np.sort(train.order(task.train.seed, 0)[:count])
    task.progress.epoch_begins(1, -(-count // sums.BATCH))
    images = keras.Input(tuple(train.shape), name="images")
    shrink = device.settle(keras.Model(images, shrunk(images, settings)))
    found = []
    for step, batch in enumerate(train.batches(sums.BATCH, rows), start=1):
        (small,) = readout.predicted(shrink, batch.images)
        found.append(dictionary.patches(small, settings.patch_side, each, rng))
        task.progress.step_done(step, float("nan"))
    coding = Coding(
        settings.atoms,
        settings.components,
        settings.contrast_floor,
        settings.zca_epsilon,
    )
    return dictionary.learn(np.concatenate(found), coding, rng)


def learn_slow_map(codes: keras.Model, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel and bias of the slow map of local codes."""
    settings = task.encoder
    assert isinstance(settings, PatchSettings)
    scatter, most = slow.Scatter(codes), settings.images or None
    numbers = min(settings.slow_features, codes.output_shape[-1])
    return slow.solve(task.summed(scatter, task.data.train, most), numbers)


def build_codes(
    shape: tuple[int, ...], settings: PatchSettings, atoms: Dictionary
) -> keras.Model:
    """Return the model: image to local codes, (n, rows, columns, codes)."""
    images = keras.Input(tuple(shape), name="images")
    codes = coded(shrunk(images, settings), settings, atoms)
    return device.settle(keras.Model(images, codes))


def coded(
    small: keras.KerasTensor,
    settings: PatchSettings,
    atoms: Dictionary,
    dtype: str = "float32",
) -> keras.KerasTensor:
    """Return the local codes of images that need no shrinking.

    They are how much of each atom the patches around a place have, and the principal
    components of these, averaged. Layers compute in ``dtype``.
    """
    side, values = settings.patch_side, len(atoms.projection)
    window = atoms.projection.reshape(side, side, small.shape[-1], -1)
    found = frozen(
        window, None, strides=settings.stride, name="components", dtype=dtype
    )(small)
    found = ContrastNormalization(values, settings.contrast_floor)(found)
    crelu = settings.rectifier == "crelu"
    least = 0.0 if crelu else settings.threshold
    codes = frozen(
        atoms.kernel[None, None],
        atoms.bias - least,
        activation=None if crelu else "relu",
        name="atoms",
        dtype=dtype,
    )(found)  # (n, rows, columns, atoms)
    if crelu:
        codes = SoftThreshold(settings.threshold, dtype=dtype)(codes)
    pooled = [layers.AveragePooling2D(POOL, dtype=dtype)(one) for one in (codes, found)]
    return layers.Concatenate(dtype=dtype)(pooled)


def build_features(
    codes: keras.Model, kernel: np.ndarray, bias: np.ndarray, settings: PatchSettings
) -> keras.Model:
    """Return the model: image to what the slow map leaves, and to its pixels."""
    images = codes.inputs[0]
    found = frozen(kernel[None, None], bias, name="slow")(codes.outputs[0])
    found = layers.UnitNormalization()(found)
    found = layers.Flatten()(in_grid(found, settings.grid))
    return keras.Model(images, [found, pixels.pixel_features(images)])


def groups_of(features: keras.Model, settings: PatchSettings) -> tuple[Group, Group]:
    """Return the parts of the latent; pixels fill what is left by few slow features.

    Raises:
        ValueError: Both together have fewer numbers than the latent wants.
    """
    available = [one.shape[-1] for one in features.outputs]
    wanted = round(settings.latent_dim * (1.0 - settings.pixel_share))
    semantic = min(max(wanted, settings.latent_dim - available[1]), available[0])
    of_pixels = settings.latent_dim - semantic
    if of_pixels > available[1]:
        raise ValueError(
            f"encoder.latent_dim is {settings.latent_dim}, and these images give "
            f"preset patch {sum(available)} numbers: lower it, or raise "
            "encoder.slow_features or encoder.grid."
        )
    return Group("semantic", semantic), Group("pixels", of_pixels)


def shrunk(images: keras.KerasTensor, settings: PatchSettings) -> keras.KerasTensor:
    """Return images small enough to be worked on."""
    height, width = images.shape[1:3]
    factor = -(-max(height, width) // settings.working_side)
    factor = min(factor, min(height, width) // settings.least_side())
    return images if factor <= 1 else layers.AveragePooling2D(factor)(images)


def frozen(
    kernel: np.ndarray, bias: np.ndarray | None, *, dtype: str = "float32", **form: Any
) -> layers.Conv2D:
    """Return a convolution of these weights, never trained; ``form`` is Keras' own."""
    layer = layers.Conv2D(
        kernel.shape[-1],
        kernel.shape[:2],
        use_bias=bias is not None,
        trainable=False,
        dtype=dtype,
        **form,
    )
    layer.build((None, None, None, kernel.shape[2]))
    weights = [kernel] if bias is None else [kernel, bias]
    layer.set_weights([one.astype(np.float32) for one in weights])
    return layer


def in_grid(found: keras.KerasTensor, grid: int) -> keras.KerasTensor:
    """Return the mean of each part of a map; parts may share their outer rows."""
    strides = [side // grid for side in found.shape[1:3]]
    sizes = [
        side - (grid - 1) * stride
        for side, stride in zip(found.shape[1:3], strides, strict=True)
    ]
    return layers.AveragePooling2D(tuple(sizes), strides=tuple(strides))(found)
