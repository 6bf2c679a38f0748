import keras
import numpy as np
import pytest

from models.presets import conv, registry
from models.presets.parts import Halves
from models.spec import ImageShape
from models.whitening import whiten


def whitenings(parts, rows):
    features = parts.features.predict_on_batch(rows).astype(np.float64)
    mean, covariance = features.mean(axis=0), np.cov(features.T)
    cut = parts.halves.bottleneck
    return (
        whiten(mean[:cut], covariance[:cut, :cut], cut),
        whiten(mean[cut:], covariance[cut:, cut:], parts.halves.pooled),
    )


def images(shape, count=60):
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, *shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "halves", "widths"),
    [
        (ImageShape(28, 28, 1), Halves(4, 4), (4, 8)),
        (ImageShape(32, 32, 3), Halves(3, 0), (4, 8, 8)),
        (ImageShape(17, 30, 3), Halves(1, 5), (4, 6)),
        (ImageShape(9, 8, 1), Halves(2, 1), (3,)),
        (ImageShape(31, 45, 3), Halves(5, 7), (4, 4, 4)),
    ],
)
def test_every_shape_is_painted_back_in_its_own_size(shape, halves, widths):
    parts = conv.build(shape, halves, widths)
    bottleneck, pooled = whitenings(parts, images(shape))

    encoder = conv.finish(parts, bottleneck, pooled)
    decoder = conv.finish_decoder(parts, bottleneck)

    assert parts.features.output_shape[1] == halves.bottleneck + (
        conv.pooled_features(widths)
    )
    assert encoder.input_shape == (None, *shape)
    assert encoder.output_shape == (None, halves.total)
    assert decoder.input_shape == (None, halves.total)
    assert decoder.output_shape == (None, *shape)


def test_the_decoder_undoes_the_whitening():
    shape = ImageShape(16, 16, 3)
    rows = images(shape)
    parts = conv.build(shape, Halves(6, 4), (4, 8))
    bottleneck, pooled = whitenings(parts, rows)

    latents = conv.finish(parts, bottleneck, pooled).predict_on_batch(rows)
    painted = conv.finish_decoder(parts, bottleneck).predict_on_batch(latents)

    straight = parts.autoencoder.predict_on_batch(rows)
    np.testing.assert_allclose(painted, straight, atol=1e-4)
    spread = latents[:, :6].std(axis=0, ddof=1)
    np.testing.assert_allclose(spread, 1, atol=1e-3)


def test_the_quarters_are_the_means_of_each_quarter():
    maps = images(ImageShape(6, 4, 2), 3)
    found = keras.Model(inputs := keras.Input((6, 4, 2)), conv._quarters(inputs))

    quarters = found.predict_on_batch(maps)

    straight = maps.reshape(3, 2, 3, 2, 2, 2).mean(axis=(2, 4)).reshape(3, 8)
    np.testing.assert_allclose(quarters, straight, atol=1e-6)


def test_encoder_and_decoder_are_made_of_keras_own_layers():
    parts = conv.build(ImageShape(16, 16, 1), Halves(2, 2), (4,))
    bottleneck, pooled = whitenings(parts, images(ImageShape(16, 16, 1)))

    for model in (
        conv.finish(parts, bottleneck, pooled),
        conv.finish_decoder(parts, bottleneck),
    ):
        again = keras.Model.from_config(model.get_config())
        assert again.get_config() == model.get_config()


@pytest.mark.parametrize(
    ("latent_dim", "share", "available", "halves"),
    [
        (64, 0.5, 384, (32, 32)),
        (64, 0.0, 384, (64, 0)),
        (64, 1.0, 384, (1, 63)),
        (64, 0.5, 16, (48, 16)),
    ],
)
def test_the_latent_is_shared_as_near_to_the_setting_as_can_be(
    latent_dim, share, available, halves
):
    assert Halves.of(latent_dim, share, available) == halves


def test_a_preset_that_is_not_there_names_those_that_are():
    with pytest.raises(ValueError, match="there are conv"):
        registry.find("vit")
