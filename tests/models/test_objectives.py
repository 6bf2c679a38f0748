import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from models import fit, objectives
from models.presets import conv
from models.section import TrainSettings
from models.settings import ConvSettings
from models.spec import ImageShape
from models.task import Data, Silent, Task

SHAPE = ImageShape(8, 8, 1)
ALL = ConvSettings(
    latent_dim=6,
    widths=(4, 8),
    attention=1,
    noise=0.3,
    mask=0.25,
    kl=0.1,
    discriminative=0.04,
    projector=(8, 8),
)
DRAWN = ConvSettings(latent_dim=6, widths=(4,), noise=0.3, mask=0.25, kl=0.1)
IMAGES = np.random.default_rng(0).normal(size=(24, *SHAPE)).astype(np.float32)
EVERY_STEP = """
import sys
import keras
import numpy as np
from models import objectives
from models.presets import conv
from models.settings import ConvSettings
from models.spec import ImageShape

images = keras.Input((8, 8, 1))
keras.Model(images, keras.layers.Conv2D(2, 3)(images)).save(sys.argv[2])
settings = ConvSettings.model_validate_json(sys.argv[1])
settings = settings.model_copy(update={"perceptual": sys.argv[2]})
parts = conv.build(ImageShape(8, 8, 1), settings)
model = objectives.autoencoder(parts.coder, parts.painter, parts.means, settings)
model.compile(keras.optimizers.Adam(0.01))
images = np.random.default_rng(0).normal(size=(24, 8, 8, 1)).astype("float32")
frozen = [np.array(one) for one in model.terms[1].weights]
losses = [float(model.train_on_batch(images)) for _ in range(30)]
assert np.isfinite(losses).all() and np.mean(losses[-5:]) < losses[0], losses
assert float(model.test_on_batch(images)) == float(model.test_on_batch(images))
for before, after in zip(frozen, model.terms[1].weights, strict=True):
    np.testing.assert_array_equal(before, after)
print(keras.backend.backend(), "trained")
"""


def built(settings):
    keras.utils.set_random_seed(0)
    parts = conv.build(SHAPE, settings)
    return objectives.autoencoder(parts.coder, parts.painter, parts.means, settings)


def test_the_divergence_is_that_of_two_normal_distributions():
    rng = np.random.default_rng(0)
    mean, deviation = np.array([0.7, 0.0]), np.array([0.5, 1.0])
    draws = mean + deviation * rng.normal(size=(200_000, 2))
    log_ratio = 0.5 * (draws**2 - ((draws - mean) / deviation) ** 2) - np.log(deviation)

    found = objectives.kl_of_dimensions(mean[None], 2 * np.log(deviation)[None])

    np.testing.assert_allclose(np.asarray(found), log_ratio.mean(axis=0), atol=0.01)


def test_a_variational_code_is_drawn_in_training_and_its_mean_outside():
    sampling = objectives.Sampling(1.0, free_bits=0.0)
    mean, log_variance = np.full((500, 2), 3.0), np.full((500, 2), -2.0)

    drawn = np.asarray(sampling(mean, log_variance, training=True))
    still = np.asarray(sampling(mean, log_variance, training=False))

    np.testing.assert_allclose(still, mean)
    assert abs(drawn.mean() - 3.0) < 0.05
    assert abs(drawn.std() - np.exp(-1.0)) < 0.03


@pytest.mark.parametrize(("free_bits", "paid"), [(0.0, 0.125), (0.5, 1.0)])
def test_divergence_up_to_the_free_bits_costs_the_same(free_bits, paid):
    sampling = objectives.Sampling(1.0, free_bits)

    sampling(np.array([[0.5, 0.0]]), np.zeros((1, 2)))

    assert float(sampling.losses[0]) == pytest.approx(paid)


def test_settings_that_ask_for_nothing_leave_the_squared_error_alone():
    model = built(ConvSettings(latent_dim=6, widths=(4, 8)))

    painted = np.asarray(model(IMAGES))
    loss = model.compute_loss(x=IMAGES, y_pred=painted)

    assert model.corruption is None
    assert not model.terms
    assert float(loss) == pytest.approx(np.mean((painted - IMAGES) ** 2), rel=1e-5)


def test_only_training_draws():
    model = built(ALL)
    model.compile(keras.optimizers.SGD(0.0), jit_compile=False)

    judged = [float(model.test_on_batch(IMAGES)) for _ in range(2)]
    trained = [float(model.train_on_batch(IMAGES)) for _ in range(2)]

    assert judged[0] == judged[1]
    assert trained[0] != trained[1]


def test_one_image_alone_has_a_finite_loss():
    model = built(ALL)

    painted = model(IMAGES[:1], training=True)

    assert np.isfinite(float(model.compute_loss(x=IMAGES[:1], y_pred=painted)))


def test_a_cut_off_training_draws_on_as_if_undisturbed(examples, tmp_path):
    class Stop(Silent):
        def epoch_begins(self, epoch, steps):
            if epoch == 2:
                raise KeyboardInterrupt

    def fitted(folder, progress):
        train = TrainSettings(batch_size=16, epochs=2)
        place = str(tmp_path / folder)
        data = Data(*examples)
        task = Task(
            encoder=DRAWN, train=train, data=data, folder=place, progress=progress
        )
        return fit.fit(task)

    straight = fitted("straight", Silent())
    with pytest.raises(KeyboardInterrupt):
        fitted("cut", Stop())
    resumed = fitted("cut", Silent())

    assert resumed.trained.resumed_at == 1
    assert resumed.trained.history[1]["loss"] == straight.trained.history[1]["loss"]
    for one, other in zip(
        resumed.encoder.get_weights(), straight.encoder.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_all_that_may_be_asked_at_once_lowers_the_loss(backend, tmp_path):
    root = pathlib.Path(objectives.__file__).parents[1]

    done = subprocess.run(
        [
            *(sys.executable, "-c", EVERY_STEP),
            *(ALL.model_dump_json(), str(tmp_path / "frozen.keras")),
        ],
        cwd=root,
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [backend, "trained"]
