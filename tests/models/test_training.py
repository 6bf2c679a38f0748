import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from models import device, training
from models.autoencoder import Autoencoder
from models.presets import conv
from models.section import TrainSettings
from models.settings import ConvSettings
from models.task import Data, Task


@pytest.fixture
def make_task(examples, tmp_path):
    def make(**train):
        settings = TrainSettings(batch_size=16, **train)
        return Task(
            encoder=ConvSettings(latent_dim=4, widths=(4,)),
            train=settings,
            data=Data(*examples),
            folder=str(tmp_path),
        )

    return make


def model_of(task):
    parts = conv.build(task.data.train.shape, task.encoder)
    return Autoencoder(parts.coder, parts.painter)


def test_the_plan_rises_to_the_learning_rate_and_falls_to_nothing(make_task):
    task = make_task(epochs=40, learning_rate=0.5)

    plan = training.cosine(0.5, training.steps_of(task), warm_up=0.1)

    rates = np.array([float(plan(step)) for step in range(121)])
    assert training.steps_of(task) == 120
    assert rates[0] == 0
    assert rates.argmax() == 12
    np.testing.assert_allclose(rates[[6, 12, 66]], [0.25, 0.5, 0.25], atol=1e-3)
    assert rates[-1] < 1e-6


def test_a_plan_is_followed_to_its_end_and_its_last_weights_are_kept(make_task):
    task = make_task(epochs=4, learning_rate=1e-9, stop_patience=1, reduce_patience=1)
    model = model_of(task)
    plan = training.cosine(1e-9, training.steps_of(task))
    optimizer = keras.optimizers.SGD(plan)

    found = training.train(model, task, optimizer)

    assert len(found.history) == 4
    assert found.best_epoch == 4
    rates = [one["learning_rate"] for one in found.history]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 1e-12


def test_losses_are_told_in_order_each_as_the_mean_so_far(make_task):
    heard = []

    class Listener:
        def epoch_begins(self, epoch, steps):
            heard.append(steps)

        def step_done(self, step, loss):
            heard.append((step, loss))

        def epoch_done(self, record):
            heard.append(record["loss"])

    task = make_task(epochs=1)
    steps = training._Steps(model_of(task), Listener(), 1)
    for loss in range(20):
        steps.on_train_batch_end(0, {"loss": np.float32(loss)})

    told = list(heard)
    last = steps.finish()

    assert told == [(one + 1, float(one)) for one in range(20 - training.BEHIND)]
    assert heard == [(one + 1, float(one)) for one in range(20)]
    assert last == 19


def test_small_gradients_are_scaled_in_float16_alone():
    optimizer = keras.optimizers.SGD()

    assert device.scaled(optimizer, "mixed_bfloat16") is optimizer
    scaled = device.scaled(optimizer, "mixed_float16")
    assert isinstance(scaled, keras.optimizers.LossScaleOptimizer)


SHARED = """
import json, sys
from models.data import Examples
from models.fit import fit
from models.section import TrainSettings
from models.settings import ResNetSettings
from models.spec import ImageShape
from models.task import Data, Task
import keras

given = json.loads(sys.argv[1])
train, held_out = (Examples(given[one], ImageShape(*given["shape"])) for one in "te")
small = {"width": 4, "blocks": (1, 1), "projector": (8,), "latent_dim": 6}
found = fit(
    Task(
        encoder=ResNetSettings(**small),
        train=TrainSettings(epochs=2, batch_size=16, learning_rate=0.01),
        data=Data(train, held_out),
        folder=given["folder"],
    )
)
losses = [[one["loss"], one["val_loss"]] for one in found.trained.history]
print(json.dumps([len(keras.distribution.list_devices()), losses]))
"""


@pytest.mark.slow
def test_two_devices_train_as_one_does(examples, tmp_path):
    train, held_out = examples  # forty images: the last batch has eight
    given = {"t": train.paths, "e": held_out.paths, "shape": train.shape}

    def by(devices):
        flags = f"--xla_force_host_platform_device_count={devices}"
        folder = {"folder": str(tmp_path / str(devices))}
        done = subprocess.run(
            [sys.executable, "-c", SHARED, json.dumps(given | folder)],
            env=os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": flags},
            cwd=pathlib.Path(training.__file__).parents[1],
            stdout=subprocess.PIPE,
            check=True,
        )
        found, losses = json.loads(done.stdout.splitlines()[-1])
        assert found == devices
        return np.array(losses)

    np.testing.assert_allclose(by(2), by(1), rtol=2e-3)


def test_a_checkpoint_of_another_network_is_left_alone(make_task, monkeypatch):
    monkeypatch.setattr(training.checkpoint, "identity", lambda task: {})
    task = make_task(epochs=1)
    training.train(model_of(task), task, None)
    wider = ConvSettings(**task.encoder.model_dump() | {"widths": (8,)})
    other = dataclasses.replace(task, encoder=wider)

    found = training.train(model_of(other), other, None)

    assert found.resumed_at == 0
