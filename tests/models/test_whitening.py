import numpy as np

from models.whitening import whiten


def correlated(rows=4000, size=6):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, size)) @ rng.normal(size=(size, size)) + 5


def whitened(rows, numbers):
    return whiten(rows.mean(axis=0), np.cov(rows.T, bias=True), numbers)


def test_whitened_numbers_are_uncorrelated_and_of_variance_1():
    rows = correlated()

    found = whitened(rows, 4)

    numbers = (rows - found.mean) @ found.forward
    np.testing.assert_allclose(np.cov(numbers.T, bias=True), np.eye(4), atol=1e-6)


def test_whitening_all_directions_can_be_undone():
    rows = correlated()

    found = whitened(rows, 6)

    numbers = (rows - found.mean) @ found.forward
    np.testing.assert_allclose(numbers @ found.back + found.mean, rows, atol=1e-6)


def test_a_direction_without_variance_stays_small():
    rows = correlated()
    rows[:, 2] = 1

    found = whitened(rows, 6)

    numbers = (rows - found.mean) @ found.forward
    assert np.isfinite(found.forward).all()
    assert np.abs(numbers[:, 5]).max() < 0.1
    np.testing.assert_allclose(numbers @ found.back + found.mean, rows, atol=1e-6)


def test_no_numbers_are_an_empty_map():
    found = whitened(correlated(), 0)

    assert found.forward.shape == (6, 0)
