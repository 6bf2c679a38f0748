import dataclasses

import numpy as np
import pytest
from pydantic import ValidationError

from models import artifact, fit, metrics, tfrecord
from models.data import Examples
from models.metrics import Labelled
from models.presets import fusion
from models.section import TrainSettings
from models.settings import FusionSettings
from models.spec import ImageShape
from models.task import Data, Silent, Task

SHAPE = ImageShape(16, 12, 1)
SETTINGS = FusionSettings(
    latent_dim=12,
    overrides=(
        "conv.latent_dim = 8",
        "conv.widths = [8]",
        "patch.latent_dim = 12",
        "patch.slow_features = 6",
        "patch.atoms = 16",
        "patch.patch_side = 4",
        "patch.components = 12",
        "patch.patches = 2000",
    ),
)


def stripes(count, seed=0):
    """Make stripes, upright or level, of any place and contrast: two classes."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:16, :12]
    labels = rng.integers(0, 2, count)
    along = np.where(labels[:, None, None], rows, columns)
    waves = np.sin(2 * np.pi * (along / 5 + rng.random((count, 1, 1))))
    images = waves * rng.uniform(0.3, 1.5, (count, 1, 1))
    images = images + rng.normal(size=(count, 1, 1))
    return images[..., None].astype(np.float32), labels


class Stop(Silent):
    """Cuts the fit off after the first part: two epochs, and a whitening."""

    def __init__(self):
        self.begun = 0

    def epoch_begins(self, epoch, steps):
        self.begun += 1
        if self.begun > 3:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def make_task(tmp_path_factory):
    """Make a task of two hundred examples."""
    path = str(tmp_path_factory.mktemp("examples") / "a.tfrecord")
    with open(path, "wb") as file:
        payloads = [
            tfrecord.encode_example({"image": one, "image_id": b"%d" % row})
            for row, one in enumerate(stripes(200)[0])
        ]
        tfrecord.write_frames(file, payloads)
    data = Data(Examples([path], SHAPE), Examples([], SHAPE))

    def make(folder, progress):
        return Task(
            encoder=SETTINGS,
            train=TrainSettings(epochs=2, batch_size=64),
            data=data,
            folder=str(folder),
            progress=progress,
        )

    return make


@pytest.fixture(scope="module")
def found(make_task, tmp_path_factory):
    """Return what a fit gives that was cut off after its first part, and taken up."""
    folder = tmp_path_factory.mktemp("fit")
    with pytest.raises(KeyboardInterrupt):
        fit.fit(make_task(folder, Stop()))
    return fit.fit(make_task(folder, Silent()))


@pytest.mark.slow
def test_the_latents_of_the_parts_become_one_whitened_latent(found):
    images, _ = stripes(200)

    latents = found.encoder.predict_on_batch(images)
    painted = found.decoder.predict_on_batch(latents)

    assert latents.shape == (200, 12)
    assert latents.dtype == np.float32
    np.testing.assert_allclose(np.cov(latents.T), np.eye(12), atol=0.05)
    assert np.mean((painted - images) ** 2) < 0.5 * images.var()
    assert found.trained.history[0]["loss"] == pytest.approx(
        np.mean((painted - images) ** 2), rel=1e-3
    )


@pytest.mark.slow
def test_a_part_that_is_done_is_not_fitted_again(found):
    assert found.trained.resumed_at == 2  # the beginning, and conv


@pytest.mark.slow
def test_an_artefact_may_hold_every_layer(found):
    strange = {
        name
        for model in (found.encoder, found.decoder)
        for name in artifact._layers_in(
            {"class_name": "Functional", "config": model.get_config()}
        )
    } - artifact._LAYERS

    assert not strange


@pytest.mark.slow
def test_fused_probes_are_no_worse_than_the_better_part(found):
    train, test = stripes(200), stripes(200, seed=1)
    whole = found.encoder.get_layer("parts")

    def right(encoder):
        def labelled(rows):
            return Labelled(encoder.predict_on_batch(rows[0]), rows[1])

        return metrics.linear_probe(labelled(train), labelled(test)).mean()

    parts = [right(whole.get_layer(name)) for name in SETTINGS.presets]
    assert right(found.encoder) >= max(parts) - 0.01
    assert right(found.encoder) > 0.8


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"presets": ["conv"]}, "at least 2"),
        ({"presets": ["conv", "fourier"]}, "name two or more of conv, "),
        ({"presets": ["conv", "conv"]}, "each once"),
        ({"presets": ["conv", "fusion"]}, "name two or more of conv, "),
        ({"overrides": ["vit.depth = 2"]}, "begin with one of conv, patch"),
        ({"overrides": ["conv.depth = 2"]}, "depth"),
        ({"overrides": ["conv.latent_dim"]}, r"'conv.latent_dim': Expected"),
        ({"overrides": ["conv.train.epochs = 0"]}, "epochs"),
        ({"overrides": ["conv.train = 5"]}, "name a setting"),
        ({"overrides": ["conv.kl = 1", "conv.kl = 2"]}, "'conv.kl = 2': Cannot"),
    ],
)
def test_parts_that_cannot_be_are_refused(values, said):
    with pytest.raises(ValidationError, match=said):
        FusionSettings(**values)


@pytest.mark.slow
def test_a_latent_of_more_numbers_than_the_parts_have_is_refused(found):
    parts = found.encoder.get_layer("parts")

    with pytest.raises(ValueError, match="have 20 numbers together"):
        fusion._group(parts, SETTINGS.model_copy(update={"latent_dim": 30}))


def test_a_part_is_trained_by_its_own_plan_unless_an_override_says_otherwise():
    settings = FusionSettings(
        presets=("conv", "instance", "patch"),
        overrides=("instance.train.epochs = 40", "instance.atoms = 64"),
    )

    conv, instance, _ = settings.parts(TrainSettings(epochs=7, seed=3))

    assert (conv[1].epochs, conv[1].learning_rate, conv[1].seed) == (7, 1e-3, 3)
    assert (instance[1].epochs, instance[1].learning_rate) == (40, 3e-3)
    assert instance[1].seed == 3
    assert instance[0].atoms == 64


@pytest.mark.slow
def test_a_later_part_is_the_same_where_an_earlier_one_was_kept(make_task, tmp_path):
    settings = SETTINGS.model_copy(update={"presets": ("patch", "conv")})

    class Once(Silent):
        """Cuts the fit off before `conv`, behind `patch` and its own five passes."""

        passes = 0

        def epoch_done(self, record):
            self.passes += 1
            if self.passes == 7:
                raise KeyboardInterrupt

    def fitted(name, progress):
        task = make_task(tmp_path / name, progress)
        return fit.fit(dataclasses.replace(task, encoder=settings))

    straight = fitted("straight", Silent())
    with pytest.raises(KeyboardInterrupt):
        fitted("cut", Once())
    taken_up = fitted("cut", Silent())

    assert taken_up.trained.resumed_at == 2
    for one, other in zip(
        straight.encoder.get_weights(), taken_up.encoder.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
