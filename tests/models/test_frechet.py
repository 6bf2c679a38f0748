import numpy as np
import pytest

from models import frechet
from models.frechet import Gaussian


def features(seed, count=200, size=6):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, size)) @ rng.normal(size=(size, size)) + seed


def test_a_sample_is_no_distance_from_itself():
    one = frechet.gaussian_of(features(1))

    assert frechet.distance(one, one) == pytest.approx(0.0, abs=1e-10)


def test_two_normal_densities_of_one_number_have_the_distance_that_is_known():
    one = Gaussian(np.array([1.0]), np.array([[4.0]]))
    other = Gaussian(np.array([-2.0]), np.array([[9.0]]))

    assert frechet.distance(one, other) == pytest.approx(3.0**2 + (3.0 - 2.0) ** 2)


def test_it_is_what_the_formula_with_a_root_of_the_product_gives():
    from scipy.linalg import sqrtm

    one, other = (frechet.gaussian_of(features(seed)) for seed in (1, 2))
    root = sqrtm(one.covariance @ other.covariance).real
    apart = one.mean - other.mean

    wanted = apart @ apart + np.trace(one.covariance + other.covariance - 2 * root)

    assert frechet.distance(one, other) == pytest.approx(wanted)


def test_it_does_not_depend_on_the_order():
    one, other = (frechet.gaussian_of(features(seed)) for seed in (1, 2))

    assert frechet.distance(one, other) == pytest.approx(frechet.distance(other, one))


def test_singular_covariances_give_a_finite_distance():
    few = [frechet.gaussian_of(features(seed, count=3, size=40)) for seed in (1, 2)]

    assert np.isfinite(frechet.distance(*few))
    assert frechet.distance(few[0], few[0]) == pytest.approx(0.0, abs=1e-8)


def test_one_row_or_broken_features_are_refused():
    for broken in (np.ones((1, 3)), np.array([[np.inf], [0.0]])):
        with pytest.raises(ValueError, match="two rows of finite features"):
            frechet.gaussian_of(broken)
