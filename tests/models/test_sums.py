import numpy as np
import pytest

from models import sums
from models.data import Examples


class Squares:
    """Count, sum and products of pixels."""

    def terms(self, images):
        flat = images.reshape(len(images), -1).astype(np.float64)
        return np.array(float(len(flat))), flat.sum(axis=0), flat.T @ flat


def parts(images, size):
    cuts = range(0, len(images), size)
    return [Squares().terms(images[cut : cut + size]) for cut in cuts]


def test_a_total_is_the_same_to_the_last_bit_in_any_order():
    images = np.random.default_rng(0).normal(size=(500, 4, 3, 1)).astype(np.float32)
    found = parts(images, 7)

    straight = sums.total(found, len(images))
    backward = sums.total(found[::-1], len(images))
    plain = [sum(terms[2] for terms in order) for order in (found, found[::-1])]

    for one, other in zip(straight, backward, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (plain[0] != plain[1]).any()


def test_a_total_is_as_near_as_float32_can_tell(examples):
    train, _ = examples
    images = train.read(range(len(train))).images.astype(np.float64)

    count, total, products = sums.over_examples(Squares(), train)

    flat = images.reshape(len(images), -1)
    assert count == len(train)
    np.testing.assert_allclose(total, flat.sum(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(products, flat.T @ flat, rtol=1e-9, atol=1e-9)


def test_the_files_in_another_order_give_the_same_total_to_the_last_bit(examples):
    train, _ = examples
    turned = Examples(train.paths[::-1], train.shape)

    for one, other in zip(
        sums.over_examples(Squares(), train),
        sums.over_examples(Squares(), turned),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_a_capped_total_is_of_so_many_images(examples):
    count, *_ = sums.over_examples(Squares(), examples[0], 10)

    assert count == 10


def test_a_total_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no images"):
        sums.total([], 0)
