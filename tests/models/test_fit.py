import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from models import training
from models.data import Examples
from models.fit import fit
from models.section import TrainSettings
from models.settings import ConvSettings
from models.task import Data, Silent, Task

ENCODER = ConvSettings(latent_dim=6, widths=(4, 8))
TRAIN = TrainSettings(batch_size=16, epochs=4)

CUT_OFF = """
import json, os, signal, sys
from models.data import Examples
from models.fit import fit
from models.section import TrainSettings
from models.settings import ConvSettings
from models.spec import ImageShape
from models.task import Data, Task

class Killer:
    def epoch_begins(self, epoch, steps): self.epoch = epoch
    def step_done(self, step, loss):
        if self.epoch == 3 and step == 2: os.kill(os.getpid(), signal.SIGKILL)
    def epoch_done(self, record): pass

given = json.loads(sys.argv[1])
train, held_out = (Examples(given[one], ImageShape(*given["shape"])) for one in "te")
fit(
    Task(
        encoder=ConvSettings(**given["encoder"]),
        train=TrainSettings(**given["train"]),
        data=Data(train, held_out),
        folder=given["folder"],
        progress=Killer(),
    )
)
"""


class Listener:
    """Write down what training tells."""

    def __init__(self):
        self.heard = []

    def epoch_begins(self, epoch, steps):
        self.heard.append(("begins", epoch, steps))

    def step_done(self, step, loss):
        self.heard.append(("step", step))

    def epoch_done(self, record):
        self.heard.append(("done", record["epoch"]))


@pytest.fixture
def fitted(examples, tmp_path):
    """Fit the examples, with some settings of training changed."""

    def run(folder="fit", *, data=None, progress=None, encoder=ENCODER, **train):
        settings = TRAIN.model_copy(update=train)
        place = str(tmp_path / folder)
        return fit(
            Task(
                encoder=encoder,
                train=settings,
                data=data or Data(*examples),
                folder=place,
                progress=progress or Silent(),
            )
        )

    return run


def losses(found):
    history = found.trained.history
    return [(one["loss"], one["val_loss"], one["learning_rate"]) for one in history]


def test_training_lowers_the_loss_and_whitens_the_latent(examples, fitted):
    train, _ = examples

    found = fitted(epochs=12, learning_rate=0.01)

    history = found.trained.history
    assert history[-1]["val_loss"] < 0.5 * history[0]["val_loss"]
    latents = found.encoder.predict_on_batch(train.read(range(40)).images)
    assert latents.shape == (40, 6)
    np.testing.assert_allclose(latents.mean(axis=0), 0, atol=1e-2)
    np.testing.assert_allclose(latents.var(axis=0)[[0, 3]], 1, atol=1e-2)
    painted = found.decoder.predict_on_batch(latents)
    assert painted.shape == (40, *train.shape)


def test_the_history_is_written_down(fitted, tmp_path):
    found = fitted()

    written = json.loads((tmp_path / "fit" / "history.json").read_text())

    assert written == found.trained.history
    assert [one["epoch"] for one in written] == [1, 2, 3, 4]
    assert list((tmp_path / "fit" / "tensorboard").rglob("events.*"))


def test_a_checkpoint_of_another_transform_is_not_gone_on_with(examples, fitted):
    def resumed_at(transform_id):
        found = fitted(data=Data(*examples, transform_id), epochs=1)
        return found.trained.resumed_at

    assert [resumed_at(one) for one in ("a", "a", "b")] == [0, 1, 0]


def test_training_tells_how_it_goes(fitted):
    listener = Listener()

    fitted(progress=listener, epochs=1)

    steps = [("step", 1), ("step", 2), ("step", 3)]
    assert listener.heard == [("begins", 1, 3), *steps, ("done", 1)]


def test_the_same_seed_trains_the_same(fitted):
    one, two = fitted("one", epochs=2), fitted("two", epochs=2)

    assert losses(one) == losses(two)
    for first, second in zip(
        one.encoder.get_weights(), two.encoder.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_a_killed_training_goes_on_as_if_undisturbed(examples, fitted, tmp_path):
    train, held_out = examples
    changed = {"reduce_patience": 1, "learning_rate": 0.03}
    given = {
        **{"t": train.paths, "e": held_out.paths, "shape": train.shape},
        "encoder": ENCODER.model_dump(mode="json"),
        "train": TRAIN.model_copy(update=changed).model_dump(mode="json"),
        "folder": str(tmp_path / "killed"),
    }
    straight = fitted("straight", **changed)

    root = pathlib.Path(training.__file__).parents[1]
    killed = subprocess.run(
        [sys.executable, "-c", CUT_OFF, json.dumps(given)], cwd=root
    )
    resumed = fitted("killed", **changed)

    assert killed.returncode == -9
    assert resumed.trained.resumed_at == 2
    np.testing.assert_allclose(losses(resumed), losses(straight), rtol=1e-6)
    assert resumed.trained.best_epoch == straight.trained.best_epoch


def test_what_callbacks_know_survives_a_cut(fitted):
    changed = {"learning_rate": 0.3, "reduce_patience": 1, "stop_patience": 3}
    changed |= {"epochs": 12}

    class Stop(Listener):
        def epoch_begins(self, epoch, steps):
            if epoch == 5:
                raise KeyboardInterrupt

    straight = fitted("straight", **changed)
    with pytest.raises(KeyboardInterrupt):
        fitted("cut", progress=Stop(), **changed)
    resumed = fitted("cut", **changed)
    done = fitted("cut", **changed)

    assert resumed.trained.resumed_at == 4
    assert len({one["learning_rate"] for one in straight.trained.history}) > 1
    assert losses(resumed) == losses(straight)
    assert resumed.trained.best_epoch == straight.trained.best_epoch
    assert losses(done) == losses(straight)
    for first, second in zip(
        done.encoder.get_weights(), straight.encoder.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(first, second)


def test_a_checkpoint_of_other_settings_is_not_gone_on_with(fitted):
    fitted(epochs=1)

    found = fitted(epochs=1, encoder=ConvSettings(latent_dim=4, widths=(4, 8)))

    assert found.trained.resumed_at == 0
    assert found.encoder.output_shape == (None, 4)


def test_a_loss_that_is_not_finite_names_epoch_and_step(
    write_examples, normalised, shape, fitted
):
    images = normalised(40)
    images[7, 3] = np.inf
    train = Examples([write_examples("bad", images)], shape)
    step = list(train.order(0, 0)).index(7) // 16 + 1

    with pytest.raises(training.NonFiniteLoss, match=f"in epoch 1 at step {step}"):
        fitted(data=Data(train, train))


def test_without_held_out_images_the_training_loss_decides(examples, fitted, shape):
    found = fitted(data=Data(examples[0], Examples([], shape)))

    assert len(found.trained.history) == 4
    assert "val_loss" not in found.trained.history[0]
    assert found.trained.best_epoch >= 1
