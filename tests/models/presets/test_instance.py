import dataclasses

import keras
import numpy as np
import pytest

from models.data import Examples
from models.fit import fit
from models.instances import Discriminator
from models.presets import instance, patch
from models.section import TrainSettings
from models.settings import InstanceSettings
from models.spec import ImageShape
from models.task import Data, Silent, Task
from models.views import UNCHANGED, Views

SHAPE = ImageShape(16, 12, 3)
SETTINGS = InstanceSettings(
    latent_dim=10,
    atoms=12,
    patch_side=4,
    components=8,
    patches=1500,
    slow_features=6,
    trunk=(8, 8, 16),
    negatives=16,
    precision="float32",
)


@pytest.fixture
def task(write_examples, tmp_path):
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(50, 4, 3, 3)).repeat(4, axis=1).repeat(4, axis=2)
    images = (coarse + 0.2 * rng.normal(size=coarse.shape)).astype(np.float32)
    train = Examples([write_examples("a", images)], SHAPE)

    def make(name="fit", progress=None, **changed):
        return Task(
            encoder=SETTINGS,
            train=TrainSettings(**{"epochs": 3, "batch_size": 16} | changed),
            data=Data(train, Examples([], SHAPE)),
            folder=str(tmp_path / name),
            progress=progress or Silent(),
        )

    return make


@pytest.fixture
def stem(task):
    atoms = patch.learn_dictionary(task())
    codes = patch.build_codes(SHAPE, SETTINGS, atoms)
    slow = patch.learn_slow_map(codes, task())
    return instance.build_stem(SHAPE, SETTINGS, atoms, slow)


def test_the_memory_begins_as_the_stems_code_of_an_image_and_its_mirror_image(
    task, stem
):
    one = task()
    images = one.data.train.read(range(50)).images

    memory = instance.first_memory(stem, one)

    np.testing.assert_allclose(np.linalg.norm(memory, axis=1), 1, rtol=1e-5)
    likeness = memory @ memory.T
    assert (np.sort(likeness, axis=1)[:, -2] < 0.999).all()  # no two are alike
    maps = [stem.predict_on_batch(side) for side in (images, images[:, :, ::-1])]
    pooled = sum(one.mean(axis=(1, 2)) for one in maps)
    assert np.linalg.matrix_rank(memory) <= 4 * pooled.shape[1]


def test_folding_changes_nothing(task, stem):
    one, trunk = task(), instance.build_trunk(stem.output_shape[-1], SETTINGS)
    for layer in trunk.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.gamma.assign(np.linspace(0.5, 2.0, *shape))
            layer.beta.assign(np.linspace(-0.3, 0.3, *shape))
    instance.calibrate(stem, trunk, one)
    maps = stem.predict_on_batch(one.data.train.read(range(50)).images)

    straight = trunk(maps, training=False)
    found = instance.folded(trunk, SETTINGS)(maps)

    for a, b in zip(straight, found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    normalised = keras.Model(trunk.input, trunk.get_layer("norm0").output)(maps)
    scale = np.linspace(0.5, 2.0, 8)
    spread = np.asarray(normalised).std(axis=(0, 1, 2))
    np.testing.assert_allclose(spread, scale, rtol=0.02)  # whole images, not views


def test_the_loss_is_the_share_of_the_right_image_among_all_that_are_known():
    images = keras.Input((4, 4, 1))
    views = keras.Model(images, Views((1.0, 1.0), UNCHANGED, 0.0)(images))
    flat = keras.layers.Flatten()
    same = keras.Model(inputs := keras.Input((4, 4, 1)), inputs)
    head = keras.Model(inputs := keras.Input((4, 4, 1)), flat(inputs))
    model = Discriminator(views, same, head, temperature=0.5)
    rng = np.random.default_rng(0)
    shown = rng.normal(size=(3, 4, 4, 1)).astype(np.float32)
    codes = shown.reshape(3, 16) / np.linalg.norm(shown.reshape(3, 16), axis=1)[:, None]
    others = rng.normal(size=(3, 2, 16)).astype(np.float32)
    model.remember(codes, 3)

    likeness = model((shown, codes, others), training=True)
    loss = float(model.compute_loss(y_pred=likeness))

    known = np.concatenate([codes, others.reshape(6, 16)])
    logits = codes @ known.T / 0.5
    right = np.exp(logits[range(3), range(3)]) / np.exp(logits).sum(axis=1)
    assert loss == pytest.approx(-np.log(right).mean(), rel=1e-4)
    np.testing.assert_allclose(np.asarray(model.codes), codes, atol=1e-5)


def test_a_view_never_becomes_too_small_for_the_stem():
    shape, settings = ImageShape(12, 10, 3), SETTINGS.model_copy()

    views = instance.build_views(shape, settings, 0)

    assert min(views.output_shape[1:3]) >= settings.least_side()


@pytest.mark.slow
def test_a_fit_that_was_cut_off_ends_as_one_undisturbed(task):
    class Stop(Silent):
        def epoch_begins(self, epoch, steps):
            if epoch == 3:
                raise KeyboardInterrupt

    straight = fit(task("straight"))
    with pytest.raises(KeyboardInterrupt):
        fit(task("cut", Stop()))
    resumed = fit(task("cut"))

    assert resumed.trained.resumed_at == 2
    losses = [
        [one["loss"] for one in each.trained.history] for each in (straight, resumed)
    ]
    assert losses[0] == losses[1]
    for a, b in zip(
        straight.encoder.get_weights(), resumed.encoder.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_a_trunk_takes_what_a_small_dictionary_leaves_it(task):
    few = SETTINGS.model_copy(update={"atoms": 2, "slow_features": 64})

    found = fit(dataclasses.replace(task(epochs=1), encoder=few))

    assert found.encoder.output_shape == (None, 10)


def test_few_steps_leave_little_of_the_first_weights(task):
    one = task(epochs=4)  # of 3 steps each
    atoms = patch.learn_dictionary(one)
    slow = patch.learn_slow_map(patch.build_codes(SHAPE, SETTINGS, atoms), one)
    stem = instance.build_stem(SHAPE, SETTINGS, atoms, slow)
    trunk = instance.build_trunk(stem.output_shape[-1], SETTINGS)
    views = instance.build_views(SHAPE, SETTINGS, 0)
    model = Discriminator(views, stem, instance.with_head(trunk, 8), 0.3)
    model.remember(np.ones((50, 8), np.float32), 16)

    optimizer = instance._optimizer(model, trunk, one)

    assert optimizer.ema_momentum**11 < 0.01
    assert (
        float(optimizer._learning_rate(12)) < 1e-6 < float(optimizer._learning_rate(11))
    )


def test_the_memory_of_images_beyond_the_sample_is_theirs(task, stem, monkeypatch):
    whole = instance.first_memory(stem, task())
    monkeypatch.setattr(instance.readout, "WHITENED", 40)
    monkeypatch.setattr(instance, "AT_ONCE", 4)

    found = instance.first_memory(stem, task())

    nearest = (found @ found.T - 2 * np.eye(50)).argmax(axis=1)
    wanted = (whole @ whole.T - 2 * np.eye(50)).argmax(axis=1)
    assert (nearest == wanted).mean() > 0.8
