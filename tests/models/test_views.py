import keras
import numpy as np
import pytest

from models.views import UNCHANGED, Boxes, Colours, Views, resized

WHOLE = {"area": (1.0, 1.0), "flip": 0.0}


def images(count=4, height=7, width=10, channels=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, height, width, channels)).astype(np.float32)


def bilinear(image, box, flipped):
    """Return the part of one image that is seen, pixel by pixel."""
    top, left, rows, columns = box
    height, width = image.shape[:2]
    seen = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            across = width - 1 - x if flipped else x
            v = np.clip(top + (y + 0.5) * rows / height - 0.5, 0, height - 1)
            h = np.clip(left + (across + 0.5) * columns / width - 0.5, 0, width - 1)
            for row in {int(v), min(int(v) + 1, height - 1)}:
                for column in {int(h), min(int(h) + 1, width - 1)}:
                    weight = (1 - abs(v - row)) * (1 - abs(h - column))
                    seen[y, x] += weight * image[row, column]
    return seen


@pytest.mark.parametrize("colours", [UNCHANGED, Colours(0, 0, 0, 0, 1.0, 0)])
def test_settings_that_change_nothing_give_the_image_back(colours):
    rows = images()

    seen = Views(**WHOLE, colours=colours)(rows)

    np.testing.assert_allclose(seen, rows, atol=1e-6)


def test_a_part_is_what_bilinear_sampling_by_hand_gives():
    rows = images(3)
    top, left, height, width = (
        [0.0, 1.3, 3.5],
        [2.0, 0.0, 4.1],
        [7, 4.2, 3],
        [5, 10, 2.2],
    )
    flipped = [0, 1, 0]
    boxes = (np.array(one, np.float32) for one in (top, left, height, width, flipped))

    seen = resized(rows, Boxes(*boxes))

    for place, one in enumerate(rows):
        box = (top[place], left[place], height[place], width[place])
        wanted = bilinear(one, box, flipped[place])
        np.testing.assert_allclose(seen[place], wanted, atol=1e-5)


def test_parts_lie_within_the_image_and_have_the_area_asked_for():
    draws = [np.random.default_rng(n).random(500, np.float32) for n in range(5)]
    layer = Views(area=(0.3, 0.9))

    found = layer._boxes([keras.ops.array(one) for one in draws], 20, 40)

    boxes = Boxes(*(np.asarray(one) for one in found))
    assert (boxes.top >= 0).all()
    assert (boxes.left >= 0).all()
    assert (boxes.top + boxes.height <= 20.001).all()
    assert (boxes.left + boxes.width <= 40.001).all()
    area = boxes.height * boxes.width / 800
    np.testing.assert_allclose(area, 0.3 + 0.6 * draws[0], atol=1e-4)
    ratio = boxes.height / boxes.width * 2
    assert ratio.max() < 4 / 3 + 1e-3
    assert ratio.min() > 3 / 4 - 1e-3
    assert ratio.std() > 0.05


def test_every_image_is_mirrored_where_that_is_certain():
    rows = images()

    seen = Views(area=(1.0, 1.0), flip=1.0, colours=UNCHANGED)(rows)

    np.testing.assert_allclose(seen, rows[:, :, ::-1], atol=1e-6)


def test_the_same_seed_gives_the_same_views_and_the_next_ones_differ():
    rows = images()
    one, other, third = Views(seed=3), Views(seed=3), Views(seed=4)

    first = np.asarray(one(rows))

    np.testing.assert_array_equal(first, other(rows))
    assert np.abs(first - np.asarray(one(rows))).max() > 0.1
    assert np.abs(first - np.asarray(third(rows))).max() > 0.1
    assert np.abs(first[0] - np.asarray(one(rows[:1].repeat(2, 0)))[1]).max() > 0.1


def test_grey_leaves_no_colour_and_keeps_the_luma():
    rows = images()

    seen = np.asarray(Views(**WHOLE, colours=UNCHANGED._replace(grey=1.0))(rows))

    luma = rows @ np.array([0.299, 0.587, 0.114], np.float32)
    np.testing.assert_allclose(seen, np.repeat(luma[..., None], 3, -1), atol=1e-5)


def test_a_tint_multiplies_each_channel_by_itself_and_cuts_off_at_the_brightest():
    rows = np.abs(images(50)) + 1.0
    rows[0, 0, 0], rows[0, 0, 1] = 0.0, 100.0  # black and white of the batch
    colours = UNCHANGED._replace(tint=0.5, often=1.0)

    seen = np.asarray(Views(**WHOLE, colours=colours)(rows))

    factors = (seen[1:] / rows[1:])[:, 1, 1]
    np.testing.assert_allclose(seen[1:], rows[1:] * factors[:, None, None], rtol=1e-5)
    assert factors.min() < 0.6
    assert factors.max() > 1.4
    assert np.abs(factors[:, 0] - factors[:, 1]).max() > 0.5
    assert seen.max() <= 100.0


@pytest.mark.parametrize("name", ["brightness", "contrast"])
def test_colours_of_grey_images_change_too(name):
    rows = np.abs(images(channels=1)) + 1.0
    rows[0, 0, 0], rows[0, 0, 1] = 0.0, 100.0
    colours = UNCHANGED._replace(**{name: 0.5, "often": 1.0})

    seen = np.asarray(Views(**WHOLE, colours=colours)(rows))[1:]

    centre = 0.0 if name == "brightness" else rows[1:].mean((1, 2, 3), keepdims=True)
    factors = (seen - centre) / (rows[1:] - centre)
    each = np.median(factors, axis=(1, 2, 3))
    np.testing.assert_allclose(factors, each[:, None, None, None] + 0 * factors, 1e-3)
    assert (np.abs(each - 1) > 1e-3).all()
    assert (np.abs(each - 1) <= 0.5).all()


def test_views_are_part_of_a_compiled_model():
    inputs = keras.Input((7, 10, 3))
    model = keras.Model(inputs, Views()(inputs))

    one, other = model.predict_on_batch(images()), model.predict_on_batch(images())

    assert one.shape == (4, 7, 10, 3)
    assert np.abs(one - other).max() > 0.1


def test_a_smaller_view_of_the_whole_image_is_its_small_copy():
    ramp = np.arange(16, dtype=np.float32)
    images = np.broadcast_to(ramp[None, :, None, None], (2, 16, 16, 3))
    views = Views(area=(1.0, 1.0), colours=UNCHANGED, flip=0.0, scale=0.5)

    seen = keras.ops.convert_to_numpy(views(images))

    assert seen.shape == (2, 8, 8, 3)
    np.testing.assert_allclose(seen[0, :, 3, 1], ramp.reshape(8, 2).mean(axis=1))
