import keras
import numpy as np
import pytest

from models.presets import resnet
from models.settings import ResNetSettings
from models.spec import ImageShape

SETTINGS = ResNetSettings(width=2, blocks=(1, 1, 1), projector=(6, 4), latent_dim=8)


def sides(shape):
    """Return the height of the maps that each stage leaves."""
    parts = resnet.build(shape, SETTINGS, "float32")
    adds = [one for one in parts.trunk.layers if isinstance(one, keras.layers.Add)]
    return [one.output.shape[1] for one in adds]


@pytest.mark.parametrize(
    ("shape", "heights"),
    [
        (ImageShape(32, 32, 3), [32, 16, 8]),
        (ImageShape(17, 12, 1), [17, 9, 5]),
        (ImageShape(64, 64, 3), [32, 16, 8]),
        (ImageShape(224, 200, 3), [56, 28, 14]),
    ],
)
def test_small_images_keep_their_size_and_large_ones_are_halved_first(shape, heights):
    assert sides(shape) == heights


def test_the_default_is_as_large_as_the_published_network():
    parts = resnet.build(ImageShape(32, 32, 3), ResNetSettings(), "float32")

    weights = sum(int(np.prod(one.shape)) for one in parts.trunk.trainable_variables)

    assert parts.trunk.output_shape == (None, 512)
    assert parts.features.output_shape[0] == (None, 512 + 4 * 128 + 4 * 256)
    assert weights == 11_168_832


def test_the_two_codes_of_a_row_are_of_the_same_image():
    still = SETTINGS.model_copy(
        update={"least_area": 1.0, "flip": False, "colours": False}
    )
    shape = ImageShape(12, 10, 3)
    model = resnet.TwoViews(
        resnet.build(shape, still, "float32").trunk, still, "float32", 0
    )
    images = np.random.default_rng(0).normal(size=(5, *shape)).astype(np.float32)

    codes, painted, seen = (np.asarray(one) for one in model(images))

    np.testing.assert_array_equal(codes[:, 0], codes[:, 1])
    assert np.abs(codes[0] - codes[1]).max() > 1e-6
    np.testing.assert_allclose(seen[::2], images.reshape(5, -1), atol=1e-6)
    assert painted.shape == seen.shape


def test_layers_compute_in_half_precision_and_features_are_whole():
    parts = resnet.build(ImageShape(12, 10, 3), SETTINGS, "mixed_bfloat16")

    dtypes = {one.compute_dtype for one in parts.trunk.layers if one.weights}

    assert dtypes == {"bfloat16"}
    assert parts.trunk.output.dtype == "float32"
    assert {str(one.dtype) for one in parts.trunk.weights} == {"float32"}


def test_a_latent_that_is_too_long_for_the_network_is_refused():
    from models import semantic

    parts = resnet.build(ImageShape(8, 8, 1), SETTINGS, "float32")

    with pytest.raises(ValueError, match="24 features and 64 pixels"):
        semantic.groups(parts.features, ResNetSettings(latent_dim=100))
    groups = semantic.groups(parts.features, ResNetSettings(latent_dim=80))
    assert [one.numbers for one in groups] == [24, 56]
