import keras
import numpy as np
import scipy.linalg

from models import slow, sums


def identity(shape=(4, 4, 6)):
    images = keras.Input(shape)
    return keras.Model(images, keras.layers.Identity()(images))


def maps(count=400):
    """Make maps whose first channel is the image's own, and loud noise elsewhere."""
    rng = np.random.default_rng(0)
    found = rng.normal(size=(count, 4, 4, 6)) * 5.0
    found[..., 0] = rng.normal(size=(count, 1, 1)) + 0.1 * found[..., 0]
    return (found + 2.0).astype(np.float32)


def test_what_an_image_has_everywhere_is_the_slowest():
    rows = maps()
    scatter = sums.total([slow.Scatter(identity()).terms(rows)], len(rows))

    kernel, bias = slow.solve(scatter, 2)

    shares = np.abs(kernel[:, 0]) / np.linalg.norm(kernel[:, 0])
    assert shares[0] > 0.99
    np.testing.assert_allclose(
        (rows @ kernel + bias).mean(axis=(0, 1, 2)), 0, atol=1e-4
    )


def test_the_slow_map_is_that_of_covariances_taken_plainly():
    rows = maps(150).astype(np.float64)
    codes, means = rows.reshape(-1, 6), rows.mean(axis=(1, 2))
    spread = np.cov(codes, rowvar=False, bias=True)
    ridge = slow.RIDGE * np.trace(spread) / 6 * np.eye(6)
    of_means = np.cov(means, rowvar=False, bias=True)
    wanted = scipy.linalg.eigh(of_means, spread + ridge, eigvals_only=True)[::-1]

    scatter = slow.Scatter(identity()).terms(rows.astype(np.float32))
    kernel, _ = slow.solve(scatter, 6)

    found = np.diag(kernel.T @ of_means @ kernel)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_codes_that_never_change_are_borne():
    scatter = slow.Scatter(identity()).terms(np.ones((5, 4, 4, 6), np.float32))

    kernel, bias = slow.solve(scatter, 3)

    assert np.isfinite(kernel).all()
    assert np.isfinite(bias).all()
