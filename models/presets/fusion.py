"""Preset ``fusion``: encoders of other presets side by side, as one latent.

Late fusion: each part is fitted by its own preset, on the same images; the latents
together are whitened to as many numbers as are wanted, and a linear map paints the
image from these. The parts say what they see more than once only once.
"""

import dataclasses
import functools
import json
import os
import tempfile

import keras
import numpy as np
from keras import layers

from models import pixels, readout
from models.passes import Passes
from models.readout import Group
from models.section import TrainSettings
from models.settings import EncoderSettings, FusionSettings
from models.spec import ImageShape
from models.task import Candidate, Task
from models.whitening import Whitening


def fit(task: Task) -> Candidate:
    """Return the fused encoder and its decoder; a part that is done is kept."""
    settings = task.encoder
    assert isinstance(settings, FusionSettings)
    passes = Passes(task)
    passes.once("begun", lambda told: [])  # there is a checkpoint before a part ends
    parts: list[keras.Model] = []
    learned_from: dict[str, str] = {}
    for part, train in settings.parts(task.train):
        made = functools.partial(_fitted, part=part, train=train)
        file, digests = passes.once(part.preset, made)
        parts.append(_loaded(file, part.preset))
        learned_from |= json.loads(digests.tobytes())
    features = side_by_side(parts)
    group = _group(features, settings)
    maps = passes.once(
        "whitening", lambda told: readout.fitted(features, [group], told)[0]
    )
    encoder = readout.encoder(features, [group], [Whitening(*maps)])
    kernel, bias = passes.once("decoder", lambda told: pixels.fitted(encoder, told))
    painter = pixels.decoder(kernel, bias, ImageShape(*task.data.train.shape))
    losses = passes.once("losses", lambda told: pixels.losses(encoder, painter, told))
    return Candidate(encoder, painter, passes.ended(losses), learned_from)


def side_by_side(parts: list[keras.Model]) -> keras.Model:
    """Return the model: image to the latents of all ``parts``, (n, all numbers)."""
    images = keras.Input(parts[0].input_shape[1:], name="images")
    latents = layers.Concatenate()([part(images) for part in parts])
    return keras.Model(images, latents, name="parts")


def _group(features: keras.Model, settings: FusionSettings) -> Group:
    available = features.output_shape[-1]
    if settings.latent_dim > available:
        raise ValueError(
            f"encoder.latent_dim is {settings.latent_dim}, and the parts of preset "
            f"fusion have {available} numbers together: lower it, or give a part more "
            "by encoder.overrides, as 'patch.latent_dim = 512'."
        )
    return Group("fused", settings.latent_dim)


def _fitted(
    task: Task, part: EncoderSettings, train: TrainSettings
) -> list[np.ndarray]:
    """Return the bytes of a part's encoder, and of what it was learned from."""
    folder = os.path.join(task.folder, part.preset)
    os.makedirs(folder, exist_ok=True)
    own = dataclasses.replace(task, encoder=part, train=train, folder=folder)
    keras.utils.set_random_seed(train.seed)  # were earlier parts fitted, or kept
    from models.presets import registry  # not before: it knows this preset as well

    found = registry.find(part.preset)(own)
    with tempfile.TemporaryDirectory(prefix="latentlake-") as work:
        path = os.path.join(work, "encoder.keras")
        found.encoder.save(path)
        file = np.fromfile(path, np.uint8)
    digests = json.dumps(dict(found.learned_from)).encode()
    return [file, np.frombuffer(digests, np.uint8)]


def _loaded(file: np.ndarray, name: str) -> keras.Model:
    """Return a part's encoder, frozen, by a name that is its own."""
    with tempfile.TemporaryDirectory(prefix="latentlake-") as work:
        path = os.path.join(work, "encoder.keras")
        file.tofile(path)
        found = keras.saving.load_model(path, compile=False, safe_mode=True)
    found.trainable = False
    return keras.Model(found.inputs, found.outputs[0], name=name)
