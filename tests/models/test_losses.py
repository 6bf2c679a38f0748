import numpy as np
import pytest

from models import losses


def codes(seed, spread=0.5):
    return np.random.default_rng(seed).normal(0.3, spread, (7, 5)).astype(np.float32)


def by_loops(first, second):
    """Return the three terms, number by number."""
    count, size = first.shape
    alike = sum((a - b) ** 2 for a, b in zip(first.flat, second.flat, strict=True))
    spread = repeated = 0.0
    for view in (first, second):
        mean = view.sum(axis=0) / count
        matrix = np.zeros((size, size))
        for row in view:
            matrix += np.outer(row - mean, row - mean) / (count - 1)
        for one in range(size):
            spread += max(0.0, 1 - (matrix[one, one] + 1e-4) ** 0.5) / size
            for other in range(size):
                repeated += matrix[one, other] ** 2 / size if other != one else 0.0
    return alike / (count * size), spread, repeated


def test_vicreg_is_what_loops_over_its_definition_give():
    first, second = codes(0), codes(1)

    found = losses.vicreg(first, second)

    terms = by_loops(first.astype(np.float64), second.astype(np.float64))
    np.testing.assert_allclose(float(found), np.dot([25, 25, 1], terms), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "place"), [("invariance", 0), ("variance", 1), ("covariance", 2)]
)
def test_each_term_has_its_own_weight(name, place):
    first, second = codes(2), codes(3)
    none = dict.fromkeys(("invariance", "variance", "covariance"), 0.0)

    found = losses.vicreg(first, second, **none | {name: 2.0})

    np.testing.assert_allclose(
        float(found), 2 * by_loops(first, second)[place], rtol=1e-4
    )


def test_one_code_for_every_image_costs_more_than_codes_that_differ():
    collapsed, varied = np.ones((8, 4), np.float32), codes(4, spread=2.0)

    assert float(losses.vicreg(collapsed, collapsed)) > float(
        losses.vicreg(varied, varied)
    )


def test_half_precision_is_summed_in_full():
    first, second = codes(5), codes(6)

    half = losses.vicreg(first.astype(np.float16), second.astype(np.float16))

    np.testing.assert_allclose(
        float(half), float(losses.vicreg(first, second)), rtol=2e-3
    )
