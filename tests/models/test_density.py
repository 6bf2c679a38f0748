import numpy as np
import pytest

from models import density


def rng(seed=0):
    return np.random.default_rng(seed)


def two_clusters(count, seed=0):
    draw = rng(seed)
    centres = np.array([[-4.0, 0.0, 1.0], [4.0, 2.0, 1.0]])
    return centres[draw.integers(2, size=count)] + draw.normal(size=(count, 3))


def diagonal_log_likelihood(train, held_out):
    mean, variance = train.mean(axis=0), train.var(axis=0)
    terms = np.log(2 * np.pi * variance) + (held_out - mean) ** 2 / variance
    return -0.5 * terms.sum(axis=1)


def test_a_mixture_makes_unseen_latents_likelier_than_a_diagonal_gaussian_does():
    train, held_out = two_clusters(400), two_clusters(400, seed=1)

    found = density.mixture(train)

    plain = diagonal_log_likelihood(train, held_out).mean()
    assert found.log_likelihood(held_out).mean() > plain + 0.4
    assert found.describe()["components"] >= 2


def test_a_normal_density_has_the_likelihood_that_its_formula_says():
    from scipy.stats import multivariate_normal

    latents = rng().normal(size=(300, 3)) @ np.array(
        [[2.0, 1, 0], [0, 1, 0.5], [0, 0, 0.1]]
    )

    found = density.gaussian(latents, weights=np.array([1.0, 5.0, 0.0]))

    wanted = multivariate_normal(latents.mean(axis=0), np.cov(latents.T))
    assert found.log_likelihood(latents) == pytest.approx(wanted.logpdf(latents))


def test_a_mixture_of_one_component_is_about_the_normal_density():
    latents = rng().normal(size=(500, 4)) * [1.0, 2.0, 3.0, 4.0]

    one, normal = density.mixture(latents), density.gaussian(latents)

    difference = one.log_likelihood(latents) - normal.log_likelihood(latents)
    assert one.describe()["components"] == 1
    assert abs(difference.mean()) < 0.05


def test_samples_have_the_moments_of_the_latents_and_repeat_with_the_seed():
    latents = two_clusters(2000)

    for found in (density.mixture(latents), density.gaussian(latents)):
        drawn = found.sample(4000, rng(5))

        assert drawn.dtype == np.float32
        assert drawn.mean(axis=0) == pytest.approx(latents.mean(axis=0), abs=0.2)
        assert np.cov(drawn.T) == pytest.approx(np.cov(latents.T), rel=0.15, abs=0.3)
        assert (found.sample(4000, rng(5)) == drawn).all()
        assert (found.sample(4000, rng(6)) != drawn).any()


def test_weights_decide_which_directions_the_mixture_covers(monkeypatch):
    monkeypatch.setattr(density, "LEADING", 1)
    latents = np.concatenate([rng(1).normal(size=(800, 2)) * 9, two_clusters(800)], 1)
    normal = density.gaussian(latents).log_likelihood(latents).mean()

    by_variance = density.mixture(latents)
    by_weight = density.mixture(latents, weights=np.array([0.0, 0, 1, 0, 0]))

    assert by_variance.log_likelihood(latents).mean() < normal + 0.1
    assert by_weight.log_likelihood(latents).mean() > normal + 0.4
    assert by_weight.describe()["mixed"] == 1


def test_dead_numbers_are_drawn_as_they_are():
    latents = np.concatenate([two_clusters(300), np.full((300, 1), 7.0)], axis=1)

    drawn = density.mixture(latents).sample(50, rng())

    assert drawn[:, 3] == pytest.approx(7.0)


def test_the_prior_is_normal():
    drawn = density.prior(3).sample(5000, rng())

    assert drawn.mean(axis=0) == pytest.approx(0.0, abs=0.1)
    assert drawn.std(axis=0) == pytest.approx(1.0, abs=0.1)
    assert density.prior(3).log_likelihood(np.zeros((1, 3)))[0] == pytest.approx(
        -1.5 * np.log(2 * np.pi)
    )


def test_latents_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        density.mixture(np.array([[0.0], [np.nan], [1.0]]))
