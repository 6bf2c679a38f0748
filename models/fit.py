"""Fit an encoder and its decoder to examples, by whichever preset is asked for."""

import dataclasses
import os

import keras

from models import device
from models.presets import registry
from models.task import Candidate, Task


def fit(task: Task) -> Candidate:
    """Return the encoder and decoder that the task's preset makes of its examples.

    Raises:
        NonFiniteLoss: Training diverged; the message names the epoch and the step.
        ValueError: An example is damaged, or does not suit the preset.
    """
    os.makedirs(task.folder, exist_ok=True)
    keras.utils.set_random_seed(task.train.seed)
    preset = registry.find(task.encoder.preset)
    with device.spread() as devices:
        return preset(dataclasses.replace(task, devices=devices))
