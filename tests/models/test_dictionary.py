import numpy as np
import pytest

from models import dictionary
from models.dictionary import Coding

CODING = Coding(atoms=12, components=0, contrast_floor=1e-3, zca_epsilon=1e-6)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def some_patches(rng, count=4000, values=16):
    mixed = rng.normal(size=(values, values)) * np.linspace(3, 0.2, values)
    return (rng.normal(size=(count, values)) @ mixed.T).astype(np.float32)


def coded(found, patches, floor=CODING.contrast_floor):
    rows = dictionary.normalised(patches @ found.projection, patches.shape[1], floor)
    return rows @ found.kernel + found.bias


def test_patches_are_cut_from_their_own_image_with_their_channels(rng):
    rows, columns = np.mgrid[:9, :7]
    image = np.stack([10 * rows + columns, -10 * rows - columns], axis=-1)
    images = np.stack([image, image + 1000]).astype(np.float32)

    found = dictionary.patches(images, 3, 50, rng).reshape(2, 50, 3, 3, 2)

    assert (found[1].min(axis=(1, 2))[:, 0] >= 1000).all()
    assert (found[0].max(axis=(1, 2))[:, 0] < 100).all()
    first = found[0, :, :1, :1, 0]
    offsets = 10 * np.arange(3)[:, None] + np.arange(3)
    np.testing.assert_array_equal(found[0, ..., 0], first + offsets)
    assert len(np.unique(first)) > 20


def test_neither_brightness_nor_contrast_changes_what_a_patch_has_of_an_atom(rng):
    patches = some_patches(rng)
    found = dictionary.learn(patches, CODING, rng)

    plain = coded(found, patches, floor=0.0)

    np.testing.assert_allclose(coded(found, patches + 7, floor=0.0), plain, atol=1e-3)
    np.testing.assert_allclose(coded(found, 3 * patches, floor=0.0), plain, atol=1e-3)


def test_what_patches_have_of_each_atom_has_mean_0_and_variance_1(rng):
    patches = some_patches(rng)

    values = coded(dictionary.learn(patches, CODING, rng), patches)

    np.testing.assert_allclose(values.mean(axis=0), 0.0, atol=1e-3)
    np.testing.assert_allclose(values.std(axis=0), 1.0, atol=1e-2)


def test_the_mean_of_a_patch_is_no_component(rng):
    found = dictionary.learn(some_patches(rng), CODING, rng)
    fewer = dictionary.learn(some_patches(rng), CODING._replace(components=5), rng)

    assert found.projection.shape == (16, 15)
    assert found.kernel.shape == (15, 12)
    assert fewer.projection.shape == (16, 5)
    np.testing.assert_allclose(found.projection.sum(axis=0), 0.0, atol=1e-9)


def test_directions_that_rows_lie_along_are_found(rng):
    wanted = np.eye(5, 8)
    signs = rng.choice([-1.0, 1.0], 2000)
    gains = rng.uniform(0.5, 2.0, 2000)
    rows = wanted[rng.integers(0, 5, 2000)] * (signs * gains)[:, None]
    rows += rng.normal(size=rows.shape) * 0.02

    found = dictionary.gain_shape_means(rows.astype(np.float32), 20, rng)

    assert (np.abs(wanted @ found.T).max(axis=1) > 0.99).all()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-5)


def test_more_atoms_than_patches_and_patches_without_contrast_are_borne(rng):
    patches = np.zeros((8, 16), np.float32)
    patches[0] = np.arange(16)

    found = dictionary.learn(patches, CODING, rng)

    assert np.isfinite(coded(found, patches)).all()
