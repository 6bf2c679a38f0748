import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from models import fit
from models.data import Examples
from models.fit import FitSettings

SETTINGS = {"latent_dim": 6, "widths": (4, 8), "batch_size": 16, "epochs": 4}

CUT_OFF = """
import json, os, signal, sys
from models.data import Examples
from models.fit import FitSettings, fit
from models.spec import ImageShape

class Killer:
    def epoch_begins(self, epoch, steps): self.epoch = epoch
    def step_done(self, step, loss):
        if self.epoch == 3 and step == 2: os.kill(os.getpid(), signal.SIGKILL)
    def epoch_done(self, record): pass

given = json.loads(sys.argv[1])
train, held_out = (Examples(given[one], ImageShape(*given["shape"])) for one in "te")
fit(FitSettings(**given["settings"]), train, held_out, given["folder"], Killer())
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


def losses(history):
    return [(one["loss"], one["val_loss"], one["learning_rate"]) for one in history]


def test_training_lowers_the_loss_and_whitens_the_latent(examples, tmp_path):
    train, held_out = examples
    settings = FitSettings(**SETTINGS | {"epochs": 12, "learning_rate": 0.01})

    found = fit.fit(settings, train, held_out, str(tmp_path / "fit"))

    assert found.history[-1]["val_loss"] < 0.5 * found.history[0]["val_loss"]
    latents = found.encoder.predict_on_batch(train.read(range(40)).images)
    assert latents.shape == (40, 6)
    np.testing.assert_allclose(latents.mean(axis=0), 0, atol=1e-2)
    np.testing.assert_allclose(latents.var(axis=0)[[0, 3]], 1, atol=1e-2)
    painted = found.decoder.predict_on_batch(latents)
    assert painted.shape == (40, *train.shape)


def test_the_history_is_written_down(examples, tmp_path):
    found = fit.fit(FitSettings(**SETTINGS), *examples, str(tmp_path))

    written = json.loads((tmp_path / "history.json").read_text())

    assert written == found.history
    assert [one["epoch"] for one in written] == [1, 2, 3, 4]
    assert list((tmp_path / "tensorboard").rglob("events.*"))


def test_a_checkpoint_of_another_transform_is_not_gone_on_with(examples, tmp_path):
    settings = FitSettings(**SETTINGS | {"epochs": 1})

    def resumed_at(transform_id):
        folder = str(tmp_path)
        found = fit.fit(settings, *examples, folder, transform_id=transform_id)
        return found.resumed_at

    assert [resumed_at(one) for one in ("a", "a", "b")] == [0, 1, 0]


def test_training_tells_how_it_goes(examples, tmp_path):
    listener = Listener()
    settings = FitSettings(**SETTINGS | {"epochs": 1})

    fit.fit(settings, *examples, str(tmp_path), listener)

    steps = [("step", 1), ("step", 2), ("step", 3)]
    assert listener.heard == [("begins", 1, 3), *steps, ("done", 1)]


def test_the_same_seed_trains_the_same(examples, tmp_path):
    settings = FitSettings(**SETTINGS | {"epochs": 2})

    one = fit.fit(settings, *examples, str(tmp_path / "one"))
    two = fit.fit(settings, *examples, str(tmp_path / "two"))

    assert losses(one.history) == losses(two.history)
    for first, second in zip(
        one.encoder.get_weights(), two.encoder.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_a_killed_training_goes_on_as_if_undisturbed(examples, tmp_path):
    train, held_out = examples
    settings = SETTINGS | {"reduce_patience": 1, "learning_rate": 0.03}
    folder = str(tmp_path / "killed")
    given = {"t": train.paths, "e": held_out.paths, "shape": train.shape}
    text = json.dumps(given | {"settings": settings, "folder": folder})
    straight = fit.fit(FitSettings(**settings), *examples, str(tmp_path / "straight"))

    root = pathlib.Path(fit.__file__).parents[1]
    killed = subprocess.run([sys.executable, "-c", CUT_OFF, text], cwd=root)
    resumed = fit.fit(FitSettings(**settings), *examples, folder)

    assert killed.returncode == -9
    assert resumed.resumed_at == 2
    np.testing.assert_allclose(
        losses(resumed.history), losses(straight.history), rtol=1e-6
    )
    assert resumed.best_epoch == straight.best_epoch


def test_what_callbacks_know_survives_a_cut(examples, tmp_path):
    settings = {"learning_rate": 0.3, "reduce_patience": 1, "stop_patience": 3}
    settings = SETTINGS | settings | {"epochs": 12}

    class Stop(Listener):
        def epoch_begins(self, epoch, steps):
            if epoch == 5:
                raise KeyboardInterrupt

    straight = fit.fit(FitSettings(**settings), *examples, str(tmp_path / "straight"))
    folder = str(tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        fit.fit(FitSettings(**settings), *examples, folder, Stop())
    resumed = fit.fit(FitSettings(**settings), *examples, folder)
    done = fit.fit(FitSettings(**settings), *examples, folder)

    assert resumed.resumed_at == 4
    assert len({one["learning_rate"] for one in straight.history}) > 1
    assert losses(resumed.history) == losses(straight.history)
    assert resumed.best_epoch == straight.best_epoch
    assert losses(done.history) == losses(straight.history)
    for first, second in zip(
        done.encoder.get_weights(), straight.encoder.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(first, second)


def test_a_checkpoint_of_other_settings_is_not_gone_on_with(examples, tmp_path):
    fit.fit(FitSettings(**SETTINGS | {"epochs": 1}), *examples, str(tmp_path))

    other = FitSettings(**SETTINGS | {"epochs": 1, "latent_dim": 4})
    found = fit.fit(other, *examples, str(tmp_path))

    assert found.resumed_at == 0
    assert found.encoder.output_shape == (None, 4)


def test_a_loss_that_is_not_finite_names_epoch_and_step(
    write_examples, normalised, shape, tmp_path
):
    images = normalised(40)
    images[7, 3] = np.inf
    train = Examples([write_examples("bad", images)], shape)
    step = list(train.order(0, 0)).index(7) // 16 + 1

    with pytest.raises(fit.NonFiniteLoss, match=f"in epoch 1 at step {step}"):
        fit.fit(FitSettings(**SETTINGS), train, train, str(tmp_path / "fit"))


def test_without_held_out_images_the_training_loss_decides(examples, tmp_path, shape):
    found = fit.fit(
        FitSettings(**SETTINGS), examples[0], Examples([], shape), str(tmp_path)
    )

    assert len(found.history) == 4
    assert "val_loss" not in found.history[0]
    assert found.best_epoch >= 1
