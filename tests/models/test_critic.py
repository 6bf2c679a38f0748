import numpy as np
import pytest

from models import critic, frechet


def images(kind, count=80, seed=0, side=12, channels=1):
    """Make striped images (``kind`` 0: across, 1: down) of any phase."""
    rng = np.random.default_rng([seed, kind])
    phase = rng.random((count, 1, 1))
    ramp = np.arange(side)[None, :, None] * 0.9
    waves = np.sin(ramp + 6 * phase) * np.ones((1, 1, side))
    waves = waves.swapaxes(1, 2) if kind else waves
    noise = rng.normal(scale=0.05, size=waves.shape)
    pixels = np.clip(127 + 90 * (waves + noise), 0, 255).astype(np.uint8)
    return np.repeat(pixels[..., None], channels, axis=3)


def apart(model, one, other):
    return frechet.distance(
        *(frechet.gaussian_of(model.features(each)) for each in (one, other))
    )


def test_images_of_another_kind_are_further_than_more_of_the_same():
    model = critic.fit(lambda: [images(0)])

    near = apart(model, images(0), images(0, seed=1))
    far = apart(model, images(0), images(1))

    assert far > 10 * near


def test_the_same_images_and_seed_give_the_same_features_however_batched():
    pixels = images(0, channels=3)

    one = critic.fit(lambda: [pixels]).features(pixels)
    other = critic.fit(lambda: [pixels]).features(pixels.astype(np.float32) / 255)

    assert one == pytest.approx(other, abs=1e-5)
    assert one.var(axis=0).sum() == pytest.approx(1.0, abs=0.02)


def test_large_images_are_looked_at_smaller(monkeypatch):
    monkeypatch.setattr(critic, "SIDE", 12)
    large = np.repeat(np.repeat(images(0), 3, axis=1), 3, axis=2)

    model = critic.fit(lambda: [images(0)])

    assert model.features(large) == pytest.approx(model.features(images(0)), abs=1e-5)


def test_images_of_one_colour_give_finite_features():
    blank = np.zeros((10, 8, 8, 1), np.uint8)

    found = critic.fit(lambda: [blank]).features(blank)

    assert np.isfinite(found).all()
