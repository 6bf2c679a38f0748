import pickle

import keras
import numpy as np
import pytest

from models import pixels, readout, sums
from models.section import TrainSettings
from models.settings import ConvSettings
from models.spec import ImageShape
from models.task import Data, Task

NUMBERS = 4


def linear_encoder(shape, kernel):
    images = keras.Input(tuple(shape))
    flat = keras.layers.Flatten()(images)
    affine = readout.affine(kernel, np.zeros(kernel.shape[1]), "latents")
    return keras.Model(images, affine(flat))


def painted(shape, count=300):
    """Make images that few numbers tell all of, and the encoder that finds them."""
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(shape.size, NUMBERS)))
    numbers = rng.normal(size=(count, NUMBERS)) * np.array([9, 5, 2, 1])
    images = (numbers @ basis.T + rng.normal(size=shape.size)).reshape(-1, *shape)
    return images.astype(np.float32), linear_encoder(shape, basis)


@pytest.mark.parametrize("shape", [ImageShape(9, 12, 3), ImageShape(32, 5, 1)])
def test_images_that_are_linear_in_the_latents_are_painted_exactly(shape):
    images, encoder = painted(shape)
    products = sums.total([pixels.Products(encoder).terms(images)], len(images))

    found = pixels.decoder(*pixels.solve(products, ridge=0.0), shape)

    again = found.predict_on_batch(encoder.predict_on_batch(images))
    np.testing.assert_allclose(again, images, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "small"),
    [
        (ImageShape(28, 28, 1), 28 * 28),
        (ImageShape(33, 17, 3), 17 * 9 * 3),
        (ImageShape(70, 50, 1), 24 * 17),
        (ImageShape(224, 224, 3), 32 * 32 * 3),
    ],
)
def test_images_of_every_size_come_back_in_their_own(shape, small):
    inputs = keras.Input(tuple(shape))
    features = pixels.pixel_features(inputs)

    found = pixels.decoder(np.zeros((512, small)), np.arange(small), shape)

    assert features.shape == (None, small)
    assert found.output_shape == (None, *shape)
    assert max(weights.size for weights in found.get_weights()) <= 512 * 4096


@pytest.mark.parametrize("shape", [ImageShape(64, 64, 1), ImageShape(67, 50, 2)])
def test_a_ramp_keeps_its_place_when_it_is_made_small_and_painted_back(shape):
    rows, columns = np.mgrid[: shape.height, : shape.width]
    ramp = np.stack([rows + 2 * columns] * shape.channels, -1)[None].astype(np.float32)
    inputs = keras.Input(tuple(shape))
    copy = keras.Model(inputs, pixels.pixel_features(inputs)).predict_on_batch(ramp)

    found = pixels.decoder(np.zeros((1, copy.shape[1])), copy[0], shape)

    again = found.predict_on_batch(np.zeros((1, 1), np.float32))
    inside = np.s_[:, 4:-4, 4:-4]
    np.testing.assert_allclose(again[inside], ramp[inside], atol=1e-3)


def test_a_decoder_is_fitted_to_the_training_images_of_a_task(examples, tmp_path):
    data = Data(*examples)
    kernel = np.eye(16 * 12)[:, [0, -1]]  # opposite corners tell all
    encoder = linear_encoder(data.train.shape, kernel)
    task = Task(
        encoder=ConvSettings(), train=TrainSettings(), data=data, folder=str(tmp_path)
    )

    found = pixels.decoder(*pixels.fitted(encoder, task), data.train.shape)

    images = data.held_out.read(range(len(data.held_out))).images
    again = found.predict_on_batch(encoder.predict_on_batch(images))
    assert np.square(again - images).mean() < 0.1 * images.var(axis=0).mean()


def test_few_images_leave_the_decoder_small_weights():
    images, _ = painted(ImageShape(8, 8, 1), 20)
    rng = np.random.default_rng(1)
    encoder = linear_encoder(ImageShape(8, 8, 1), rng.normal(size=(64, 30)))
    products = pixels.Products(encoder).terms(images)

    careful, _ = pixels.solve(products)
    careless, _ = pixels.solve(products, ridge=0.0)

    assert np.linalg.norm(careful) < np.linalg.norm(careless)
    assert np.isfinite(careful).all()


def test_the_statistic_is_the_same_after_it_was_sent_to_a_worker():
    images, encoder = painted(ImageShape(40, 40, 1), 16)
    products = pixels.Products(encoder)

    sent = pickle.loads(pickle.dumps(products))

    for one, other in zip(sent.terms(images), products.terms(images), strict=True):
        np.testing.assert_array_equal(one, other)
