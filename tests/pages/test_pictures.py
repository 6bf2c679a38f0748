import base64
import io

import numpy as np
import pytest
from PIL import Image

from pipelines.pages import pictures


def opened(uri):
    head, data = uri.split(",", 1)
    assert head in ("data:image/png;base64", "data:image/webp;base64")
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_small_picture_is_kept_exactly_with_its_colours(channels):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (9, 7, channels), dtype=np.uint8)

    found = np.asarray(opened(pictures.data_uri(pixels))).reshape(9, 7, channels)

    np.testing.assert_array_equal(found, pixels)


def test_a_large_picture_is_compressed():
    pixels = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)

    uri = pictures.data_uri(pixels)

    assert uri.startswith("data:image/webp")
    assert opened(uri).size == (300, 200)


def test_a_picture_is_made_to_fit_and_never_made_larger():
    assert pictures.fitted(np.zeros((200, 100, 3), np.uint8), 50).shape == (50, 25, 3)
    assert pictures.fitted(np.zeros((20, 10, 1), np.uint8), 50).shape == (20, 10, 1)


def test_pictures_are_stacked_from_top_to_bottom():
    stack = [np.full((4, 6, 1), value, np.uint8) for value in (10, 20, 30)]

    found = np.asarray(opened(pictures.stacked_uri(stack)))

    assert found.shape == (12, 6)
    assert found[:, 0].tolist() == [10] * 4 + [20] * 4 + [30] * 4


def test_a_sheet_fills_its_rows_and_leaves_the_rest_black():
    tiles = np.stack([np.full((2, 2, 1), value, np.uint8) for value in (1, 2, 3)])

    found = pictures.sheet(tiles, columns=2)

    assert found[::2, ::2, 0].tolist() == [[1, 2], [3, 0]]
