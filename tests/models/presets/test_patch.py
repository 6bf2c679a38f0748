import keras
import numpy as np
import pytest

from models import artifact, dictionary, fit, metrics, pca, tfrecord
from models.data import Examples
from models.dictionary import Coding
from models.metrics import Labelled
from models.presets import patch
from models.section import TrainSettings
from models.settings import PatchSettings
from models.spec import ImageShape
from models.task import Data, Silent, Task

SHAPE = ImageShape(16, 14, 3)
SMALL = {"atoms": 24, "patch_side": 4, "components": 20, "patches": 3000}
SETTINGS = PatchSettings(latent_dim=16, slow_features=8, **SMALL)


def stripes(count, seed=0):
    """Make stripes, upright or level, of any place and contrast: two classes."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:16, :14]
    labels = rng.integers(0, 2, count)
    along = np.where(labels[:, None, None], rows, columns)
    waves = np.sin(2 * np.pi * (along / 5 + rng.random((count, 1, 1))))
    images = waves[..., None] * rng.uniform(0.3, 1.5, (count, 1, 1, 3))
    return (images + rng.normal(size=(count, 1, 1, 3))).astype(np.float32), labels


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return three hundred examples to train on, in two files, and forty held out."""
    folder = tmp_path_factory.mktemp("examples")
    images, _ = stripes(340)
    files = []
    for name, rows in (
        ("a", images[:180]),
        ("b", images[180:300]),
        ("c", images[300:]),
    ):
        files.append(str(folder / f"{name}.tfrecord"))
        with open(files[-1], "wb") as file:
            payloads = [
                tfrecord.encode_example({"image": one, "image_id": b"%d" % row})
                for row, one in enumerate(rows)
            ]
            tfrecord.write_frames(file, payloads)
    return Data(Examples(files[:2], SHAPE), Examples(files[2:], SHAPE))


def make_task(data, folder, seed=0, **others):
    train = TrainSettings(seed=seed)
    return Task(encoder=SETTINGS, train=train, data=data, folder=str(folder), **others)


@pytest.fixture(scope="module")
def found(data, tmp_path_factory):
    """Return what a fit that nobody disturbed gives."""
    return fit.fit(make_task(data, tmp_path_factory.mktemp("fit")))


class Heard(Silent):
    """Hears of passes, and cuts the fit off after one of them."""

    def __init__(self, last=99):
        self.last, self.begun, self.steps = last, [], 0

    def epoch_begins(self, epoch, steps):
        self.begun.append(epoch)

    def step_done(self, step, loss):
        self.steps += 1

    def epoch_done(self, record):
        if record["epoch"] == self.last:
            raise KeyboardInterrupt


def weights(candidate):
    return [*candidate.encoder.get_weights(), *candidate.decoder.get_weights()]


def test_a_fit_that_was_cut_off_ends_in_the_same_weights(data, found, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit.fit(make_task(data, tmp_path, progress=Heard(3)))
    heard = Heard()

    again = fit.fit(make_task(data, tmp_path, progress=heard))

    assert set(heard.begun) == {4, 5}
    assert again.trained.resumed_at == 3
    for one, other in zip(weights(again), weights(found), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_an_earlier_fit_of_another_seed_left_is_not_used(data, tmp_path):
    learned = []
    for seed in (0, 1):
        heard = Heard(1)
        with pytest.raises(KeyboardInterrupt):
            fit.fit(make_task(data, tmp_path, seed=seed, progress=heard))
        assert heard.begun == [1]
        assert heard.steps == 1
        with np.load(tmp_path / "checkpoint.npz") as kept:
            learned.append(kept["dictionary-1"])

    assert (learned[0] != learned[1]).any()


def test_the_loss_is_the_error_of_what_is_painted_back(data, found):
    rows = data.held_out.read(range(len(data.held_out))).images

    painted = found.decoder.predict_on_batch(found.encoder.predict_on_batch(rows))

    (record,) = found.trained.history
    assert record["val_loss"] == pytest.approx(np.square(painted - rows).mean(), 1e-4)
    assert record["loss"] < 0.5 * rows.var()
    assert found.trained.best_epoch == 1


def test_classes_are_told_apart_better_than_by_pca_of_the_same_size(found):
    images, labels = stripes(600, seed=7)
    levels = np.clip(images * 40 + 128, 0, 255).astype(np.uint8)
    principal = pca.fit(lambda: [levels[:300]], SETTINGS.latent_dim)

    right = {}
    latents = found.encoder.predict_on_batch(images)
    for name, rows in (("patch", latents), ("pca", principal.encode(levels))):
        parts = [Labelled(rows[cut], labels[cut]) for cut in np.s_[:300, 300:]]
        right[name] = metrics.linear_probe(*parts).mean()

    assert latents.dtype == np.float32
    assert right["patch"] > max(0.95, right["pca"] + 0.2)


def test_a_loaded_encoder_gives_the_same_latents(found, make_transform, tmp_path):
    folder = str(tmp_path / "one")
    artifact.save(folder, found.encoder, found.decoder, make_transform(SHAPE), {})
    pixels = np.random.default_rng(0).integers(0, 256, (9, *SHAPE), np.uint8)

    loaded = artifact.load(folder)
    latents, painted = loaded.encode_and_reconstruct(pixels)

    images = loaded.transform.look_up(pixels)
    straight = found.encoder.predict_on_batch(images)
    np.testing.assert_allclose(latents, straight, rtol=1e-4, atol=1e-4)
    assert painted.shape == pixels.shape


@pytest.mark.parametrize("rectifier", ["relu", "crelu"])
def test_the_folded_graph_gives_what_a_plain_computation_gives(rectifier):
    settings = SETTINGS.model_copy(update={"rectifier": rectifier})
    rng = np.random.default_rng(0)
    images = stripes(30)[0]
    cut = dictionary.patches(images, 4, 60, rng)
    atoms = dictionary.learn(cut, Coding(24, 20, settings.contrast_floor, 1.0), rng)

    codes = patch.build_codes(SHAPE, settings, atoms).predict_on_batch(images[:3])

    wanted = np.zeros((3, 3, 3, codes.shape[-1]))
    for image, row, column in np.ndindex(3, 6, 6):
        place = np.s_[image, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4]
        values = images[place].ravel().astype(np.float64)
        centred = values - values.mean()
        centred /= np.sqrt(centred.var() + settings.contrast_floor)
        rows = centred @ atoms.projection
        has = rows @ atoms.kernel + atoms.bias
        parts = [np.maximum(has - settings.threshold, 0.0)]
        if rectifier == "crelu":
            parts.append(np.maximum(-has - settings.threshold, 0.0))
        wanted[image, row // 2, column // 2] += np.concatenate([*parts, rows]) / 4
    np.testing.assert_allclose(codes, wanted, atol=2e-2)


@pytest.mark.parametrize(
    ("shape", "grid", "semantic"),
    [
        (ImageShape(16, 14, 3), 2, 4 * 8),
        (ImageShape(11, 40, 1), 2, 4 * 8),
        (ImageShape(130, 97, 3), 3, 9 * 8),
    ],
)
def test_images_of_every_size_have_features(shape, grid, semantic):
    settings = SETTINGS.model_copy(update={"grid": grid, "working_side": 32})
    rng = np.random.default_rng(0)
    size = 16 * shape.channels
    cut = rng.normal(size=(500, size)).astype(np.float32)
    atoms = dictionary.learn(cut, Coding(24, 12, 0.01, 1.0), rng)
    codes = patch.build_codes(shape, settings, atoms)
    kernel = rng.normal(size=(codes.output_shape[-1], 8))

    features = patch.build_features(codes, kernel, np.zeros(8), settings)

    assert features.output_shape[0] == (None, semantic)
    assert np.isfinite(features.predict_on_batch(np.zeros((2, *shape)))[0]).all()


def test_a_latent_that_is_too_large_names_what_there_is():
    images = keras.Input((16, 14, 3))
    flat = keras.layers.Flatten()(images)
    features = keras.Model(images, [keras.layers.Dense(32)(flat), flat])
    settings = SETTINGS.model_copy(update={"latent_dim": 1000})

    with pytest.raises(ValueError, match=r"is 1000, and these images .* 704 numbers"):
        patch.groups_of(features, settings)


@pytest.mark.parametrize(
    ("latent_dim", "share", "numbers"),
    [(16, 0.25, (12, 4)), (16, 0.0, (16, 0)), (16, 1.0, (0, 16)), (100, 0.0, (32, 68))],
)
def test_pixels_fill_what_slow_features_leave(latent_dim, share, numbers):
    images = keras.Input((16, 14, 3))
    flat = keras.layers.Flatten()(images)
    features = keras.Model(images, [keras.layers.Dense(32)(flat), flat])
    update = {"latent_dim": latent_dim, "pixel_share": share}
    groups = patch.groups_of(features, SETTINGS.model_copy(update=update))

    assert tuple(group.numbers for group in groups) == numbers
