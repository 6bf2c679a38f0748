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


def test_a_ridge_leaves_faint_directions_faint():
    rows = correlated() @ np.diag([1, 1, 1, 1, 1, 1e-3])
    covariance = np.cov(rows.T, bias=True)

    found = whiten(rows.mean(axis=0), covariance, 6, ridge=0.01)

    numbers = (rows - found.mean) @ found.forward
    spread = numbers.var(axis=0)
    assert spread[0] > 0.97
    assert (np.diff(spread) < 0).all()
    assert spread[5] < 0.1


def test_standardised_features_are_heard_however_loud_the_others_are():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 4000, 1))
    rows = np.hstack([1000 * rng.normal(size=(4000, 1)), one + 0.01 * other, one])
    covariance = np.cov(rows.T, bias=True)

    plain = whiten(rows.mean(axis=0), covariance, 1)
    found = whiten(rows.mean(axis=0), covariance, 1, standardised=True)

    heard = [
        abs(np.corrcoef(((rows - w.mean) @ w.forward)[:, 0], one[:, 0])[0, 1])
        for w in (plain, found)
    ]
    assert heard[0] < 0.1
    assert heard[1] > 0.99
    all_of_it = whiten(rows.mean(axis=0), covariance, 3, standardised=True)
    numbers = (rows - all_of_it.mean) @ all_of_it.forward
    np.testing.assert_allclose(
        numbers @ all_of_it.back + all_of_it.mean, rows, atol=1e-6
    )
