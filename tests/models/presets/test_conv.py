import keras
import numpy as np
import pytest

from models import artifact, objectives, readout, sums
from models.autoencoder import Autoencoder
from models.presets import conv, registry
from models.presets.conv import Halves
from models.settings import ConvSettings
from models.spec import ImageShape


def finished(parts, settings, rows):
    terms = readout.Moments(parts.features).terms(rows)
    moments = sums.total([terms], len(rows))
    maps = readout.solve(moments, conv.groups(settings))
    return conv.finish(parts, settings, maps)


def images(shape, count=60):
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, *shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "latent_dim", "share", "widths"),
    [
        (ImageShape(28, 28, 1), 8, 0.5, (4, 8)),
        (ImageShape(32, 32, 3), 3, 0.0, (4, 8, 8)),
        (ImageShape(17, 30, 3), 6, 0.9, (4, 6)),
        (ImageShape(9, 8, 1), 3, 0.4, (3,)),
        (ImageShape(31, 45, 3), 12, 0.6, (4, 4, 4)),
    ],
)
def test_every_shape_is_painted_back_in_its_own_size(shape, latent_dim, share, widths):
    settings = ConvSettings(latent_dim=latent_dim, pooled_share=share, widths=widths)
    parts = conv.build(shape, settings)

    encoder, decoder = finished(parts, settings, images(shape))

    assert encoder.input_shape == (None, *shape)
    assert encoder.output_shape == (None, latent_dim)
    assert decoder.input_shape == (None, latent_dim)
    assert decoder.output_shape == (None, *shape)


def test_the_decoder_undoes_the_whitening():
    shape = ImageShape(16, 16, 3)
    rows = images(shape)
    settings = ConvSettings(latent_dim=10, pooled_share=0.4, widths=(4, 8))
    parts = conv.build(shape, settings)

    encoder, decoder = finished(parts, settings, rows)
    latents = encoder.predict_on_batch(rows)
    painted = decoder.predict_on_batch(latents)

    straight = Autoencoder(parts.coder, parts.painter)(rows)
    np.testing.assert_allclose(painted, straight, atol=1e-4)
    spread = latents[:, :6].std(axis=0)
    np.testing.assert_allclose(spread, 1, atol=1e-3)


def test_an_encoder_with_attention_is_kept_in_an_artefact(tmp_path, make_transform):
    shape = ImageShape(16, 12, 1)
    settings = ConvSettings(latent_dim=5, widths=(4, 8), attention=1)
    encoder, decoder = finished(conv.build(shape, settings), settings, images(shape))

    folder = str(tmp_path / "encoder")
    artifact.save(folder, encoder, decoder, make_transform(shape), {})
    loaded = artifact.load(folder)

    pixels = np.random.default_rng(1).integers(0, 256, (9, *shape)).astype(np.uint8)
    straight = encoder.predict_on_batch(loaded.transform.look_up(pixels))
    np.testing.assert_allclose(loaded.encode(pixels), straight, rtol=1e-4, atol=1e-5)


def test_what_is_only_asked_in_training_is_no_part_of_the_encoder():
    shape = ImageShape(16, 16, 1)
    asked = {"noise": 0.2, "mask": 0.2, "kl": 0.1, "discriminative": 0.1}
    plain = ConvSettings(latent_dim=8, widths=(4, 8))
    kept = []
    for settings in (plain, plain.model_copy(update=asked)):
        parts = conv.build(shape, settings)
        kept.append(finished(parts, settings, images(shape)))

    for one, other in zip(*kept, strict=True):
        shapes = [
            [weights.shape for weights in model.weights] for model in (one, other)
        ]
        assert shapes[0] == shapes[1]


def test_codes_of_the_prior_are_normal():
    shape = ImageShape(16, 16, 1)
    settings = ConvSettings(latent_dim=8, widths=(4, 8), kl=0.1)
    parts = conv.build(shape, settings)
    _, decoder = finished(parts, settings, images(shape))

    latents = objectives.prior(decoder, 50, np.random.default_rng(5))

    codes = np.random.default_rng(5).standard_normal((50, 4)).astype(np.float32)
    straight = parts.painter.predict_on_batch(codes)
    np.testing.assert_allclose(decoder.predict_on_batch(latents), straight, atol=1e-3)


def test_the_quarters_are_the_means_of_each_quarter():
    maps = images(ImageShape(6, 4, 2), 3)
    found = keras.Model(inputs := keras.Input((6, 4, 2)), readout.quarters(inputs))

    quarters = found.predict_on_batch(maps)

    straight = maps.reshape(3, 2, 3, 2, 2, 2).mean(axis=(2, 4)).reshape(3, 8)
    np.testing.assert_allclose(quarters, straight, atol=1e-6)


def test_encoder_and_decoder_are_made_of_keras_own_layers():
    shape = ImageShape(16, 16, 1)
    settings = ConvSettings(latent_dim=4, widths=(4,))

    parts = conv.build(shape, settings)

    for model in finished(parts, settings, images(shape)):
        again = keras.Model.from_config(model.get_config())
        assert again.get_config() == model.get_config()


@pytest.mark.parametrize(
    ("latent_dim", "share", "widths", "halves"),
    [
        (64, 0.5, (32, 64), (32, 32)),
        (64, 0.0, (32, 64), (64, 0)),
        (64, 1.0, (32, 64), (1, 63)),
        (64, 0.5, (4,), (48, 16)),
    ],
)
def test_the_latent_is_shared_as_near_to_the_setting_as_can_be(
    latent_dim, share, widths, halves
):
    settings = ConvSettings(latent_dim=latent_dim, pooled_share=share, widths=widths)

    assert Halves.of(settings) == halves


def test_a_preset_that_is_not_there_names_those_that_are():
    with pytest.raises(ValueError, match="there are conv"):
        registry.find("fourier")
