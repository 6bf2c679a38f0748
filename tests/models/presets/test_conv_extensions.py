"""Each extension does what it is for, by a figure, on small drawn images."""

import functools

import keras
import numpy as np
import pytest

from models import frechet, metrics, objectives
from models.metrics import Labelled
from models.presets import conv
from models.settings import ConvSettings
from models.spec import ImageShape

pytestmark = pytest.mark.slow

SHAPE = ImageShape(16, 16, 1)
PLAIN = ConvSettings(latent_dim=16, pooled_share=0.0, widths=(16, 32))
WIDE = PLAIN.model_copy(update={"latent_dim": 64})


@functools.cache
def drawn(count, seed):
    """Draw columns, rows, squares or nothing, faint upon a strong slope of light."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    y, x = np.mgrid[:16, :16]
    phase, other = rng.uniform(0, 2 * np.pi, (2, count, 1, 1))
    pace = rng.uniform(1.2, 1.8, (count, 1, 1))
    across, down = np.sin(pace * x + phase), np.sin(pace * y + other)
    kinds = np.stack([across, down, across * down * 1.4, 0 * across])
    slope = rng.normal(0, 1, (3, count, 1, 1))
    light = slope[0] * (x - 8) / 5 + slope[1] * (y - 8) / 5 + slope[2]
    faint = 0.5 * kinds[labels, np.arange(count)]
    images = light + faint + rng.normal(0, 0.05, (count, 16, 16))
    return (images / images.std())[..., None].astype(np.float32), labels


@functools.cache
def trained(settings, steps=150):
    """Return the parts after some steps of 64 drawings."""
    keras.utils.set_random_seed(0)
    parts = conv.build(SHAPE, settings)
    model = objectives.autoencoder(parts.coder, parts.painter, parts.means, settings)
    model.compile(keras.optimizers.Adam(3e-3), jit_compile=False)
    images, _ = drawn(1024, 1)
    for step in range(steps):
        model.train_on_batch(images[step * 64 % 1024 :][:64])
    return parts


def having(settings=PLAIN, **options):
    return settings.model_copy(update=options)


def painted(parts, seen):
    return parts.painter.predict_on_batch(parts.means.predict_on_batch(seen))


def decibels(parts, seen):
    """Return how near to the clean test images those painted from ``seen`` are."""
    return -10 * np.log10(np.mean((painted(parts, seen) - drawn(512, 2)[0]) ** 2))


def divergences(parts):
    head = parts.coder.get_layer("log_variance").output
    both = keras.Model(parts.coder.input, [parts.means.output, head])
    mean, log_variance = both.predict_on_batch(drawn(512, 2)[0])
    return np.asarray(objectives.kl_of_dimensions(mean, log_variance))


def apart(parts):
    """Return how far images painted of draws from the prior are from test images."""
    draws = np.random.default_rng(0).normal(size=(512, 16)).astype(np.float32)
    clouds = [
        frechet.gaussian_of(
            images.reshape(512, 4, 4, 4, 4).mean((2, 4)).reshape(512, 16)
        )
        for images in (parts.painter.predict_on_batch(draws), drawn(512, 2)[0])
    ]
    return frechet.distance(*clouds)


def labelled(parts):
    return [
        Labelled(parts.means.predict_on_batch(images), labels)
        for images, labels in (drawn(1024, 1), drawn(512, 2))
    ]


def test_an_autoencoder_that_saw_noise_paints_cleaner_images_of_noisy_ones():
    clean, _ = drawn(512, 2)
    noisy = clean + np.random.default_rng(3).normal(size=clean.shape)
    plain, denoising = trained(WIDE, 300), trained(having(WIDE, noise=1.0), 300)

    assert decibels(denoising, noisy) > decibels(plain, noisy) + 0.5


def test_an_autoencoder_that_saw_holes_paints_what_is_hidden():
    clean, _ = drawn(512, 2)
    hidden = np.random.default_rng(3).random((512, 4, 4, 1)) < 0.5
    masked = np.where(hidden.repeat(4, axis=1).repeat(4, axis=2), 0, clean)

    gain = decibels(trained(having(mask=0.5)), masked) - decibels(
        trained(PLAIN), masked
    )

    assert gain > 3.0


def test_no_dimension_is_given_up_that_has_free_bits():
    free = divergences(trained(having(kl=0.5, free_bits=0.1)))
    paid = divergences(trained(having(kl=0.5, free_bits=0.0)))

    assert free.min() >= 0.1
    assert paid.min() < 0.1


def test_draws_from_the_prior_of_a_variational_code_are_nearer_to_images():
    assert apart(trained(having(kl=0.5))) < 0.6 * apart(trained(PLAIN))


def test_vicreg_makes_classes_easier_to_tell_and_spreads_the_code():
    plain, seeing = (
        labelled(trained(PLAIN)),
        labelled(trained(having(discriminative=0.1))),
    )

    for probe in (metrics.knn, metrics.linear_probe):
        assert probe(*seeing).mean() > probe(*plain).mean() + 0.08
    ranks = [metrics.effective_rank(one[1].features) for one in (plain, seeing)]
    assert ranks[1] > 1.4 * ranks[0]


def test_attention_paints_as_well_and_tells_classes_better():
    plain, attentive = trained(PLAIN), trained(having(attention=1))
    clean, _ = drawn(512, 2)

    linear = [metrics.linear_probe(*labelled(one)).mean() for one in (plain, attentive)]

    assert linear[1] > linear[0] + 0.02
    assert decibels(attentive, clean) > decibels(plain, clean) - 0.5


def test_a_perceptual_term_keeps_what_the_frozen_model_looks_at(tmp_path):
    images = keras.Input(SHAPE)
    edges = keras.Model(images, keras.layers.Conv2D(8, 3, activation="relu")(images))
    kernel = np.random.default_rng(0).normal(size=(3, 3, 1, 8))
    kernel -= kernel.mean(axis=(0, 1))  # blind to light that is even
    edges.set_weights([kernel, np.zeros(8)])
    edges.save(tmp_path / "edges.keras")
    clean, _ = drawn(512, 2)

    def gap(parts):
        wanted = edges.predict_on_batch(clean)
        return np.mean((edges.predict_on_batch(painted(parts, clean)) - wanted) ** 2)

    looking = having(perceptual=str(tmp_path / "edges.keras"))
    assert gap(trained(looking)) < 0.85 * gap(trained(PLAIN))
