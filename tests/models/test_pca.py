import numpy as np
import pytest

from models import pca


def pictures(count=400, side=12, channels=1, seed=0):
    """Return images of decaying spectrum: sums of smooth waves of falling weight."""
    rng = np.random.default_rng(seed)
    axis = np.linspace(0, 1, side)
    waves = [
        np.cos(np.pi * i * axis)[:, None] * np.cos(np.pi * j * axis)[None, :]
        for i in range(5)
        for j in range(5)
    ]
    weights = rng.normal(size=(count, 25)) * 0.8 ** np.arange(25)
    flat = np.einsum("nk,khw->nhw", weights, np.stack(waves))
    scaled = np.clip(128 + 25 * flat + rng.normal(0, 2, flat.shape), 0, 255)
    return np.repeat(scaled.astype(np.uint8)[..., None], channels, axis=-1)


def in_batches(images, size=64):
    return lambda: (images[i : i + size] for i in range(0, len(images), size))


@pytest.mark.parametrize("channels", [1, 3])
def test_passes_over_batches_find_what_scikit_learn_finds_in_memory(channels):
    images = pictures(channels=channels)

    exact = pca.fit(in_batches(images), 10)
    streamed = pca.in_passes(in_batches(images), 10)

    np.testing.assert_allclose(streamed.mean, exact.mean, atol=1e-5)
    np.testing.assert_allclose(streamed.spread, exact.spread, rtol=1e-3)
    overlap = np.abs(streamed.components @ exact.components.T)
    np.testing.assert_allclose(np.linalg.svd(overlap)[1], 1.0, atol=1e-2)
    _, ours = streamed.encode_and_reconstruct(images)
    _, theirs = exact.encode_and_reconstruct(images)
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_large_images_are_fitted_in_passes(monkeypatch):
    images = pictures(100)
    monkeypatch.setattr(pca, "EXACT_BYTES", 1000)
    monkeypatch.setattr(pca, "_in_memory", None)

    fitted = pca.fit(in_batches(images), 6)

    assert fitted.components.shape == (6, 144)


def test_latents_are_whitened():
    images = pictures(2000)

    latents = pca.fit(in_batches(images), 8).encode(images)

    np.testing.assert_allclose(latents.mean(axis=0), 0.0, atol=1e-3)
    np.testing.assert_allclose(np.cov(latents.T), np.eye(8), atol=2e-2)


def test_more_components_reconstruct_better():
    images = pictures()

    errors = []
    for size in (2, 8, 20):
        fitted = pca.fit(in_batches(images), size)
        _, found = fitted.encode_and_reconstruct(images)
        assert found.shape == images.shape
        assert found.dtype == np.float32
        errors.append(float(np.square(found - images / 255.0).mean()))

    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_fewer_images_than_components_give_fewer_components():
    images = pictures(5)

    fitted = pca.fit(in_batches(images), 16)

    assert fitted.components.shape == (4, 144)
    assert np.isfinite(fitted.encode(images)).all()


def test_components_that_nothing_spreads_along_stay_silent():
    images = np.zeros((30, 8, 8, 1), np.uint8)
    images[:, 0, 0, 0] = np.arange(30)

    latents = pca.fit(in_batches(images), 6).encode(images)

    assert np.isfinite(latents).all()
    np.testing.assert_array_equal(latents[:, 1:], 0.0)
