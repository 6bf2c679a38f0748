"""Random views of images: what may change while an image stays what it is.

All of it is a few small products in ``keras.ops``, so that it is compiled with the
training step and runs where the model runs.
"""

import math
from typing import Any, NamedTuple

import keras
from keras import ops

LONGEST = math.log(4 / 3)
"""A crop is at most a third longer than wide, or wider than long (as a logarithm)."""
LUMA = (0.299, 0.587, 0.114)
"""How much red, green and blue weigh in grey (ITU-R BT.601)."""
_DRAWS = 13


class Colours(NamedTuple):
    """How far colours may change; saturation, tint and grey need 3 channels.

    Each but the last two multiplies a distance by a factor between 1 less and 1 more
    than it. What gets darker or brighter than all images of the batch is cut off.

    Attributes:
        brightness: Of the distance from black, the darkest pixel of the batch.
        contrast: Of the distance from the image's mean.
        saturation: Of the distance from grey.
        tint: Of each channel's distance from black, by itself.
        often: Probability that the four above are applied to an image.
        grey: Probability that an image becomes grey.
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    tint: float = 0.1
    often: float = 0.8
    grey: float = 0.2


UNCHANGED = Colours(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""Colours stay as they are."""


class Boxes(NamedTuple):
    """Which part of each image is seen, in pixels; all (n,), float32.

    Attributes:
        top: The first row, from the image's upper edge.
        left: The first column, from its left edge.
        height: Rows.
        width: Columns.
        flipped: 1 where left and right change places, else 0.
    """

    top: Any
    left: Any
    height: Any
    width: Any
    flipped: Any


class Views(keras.layers.Layer):
    """Show each image as one random part of it, in other colours.

    The default is near the recipe of Bardes, Ponce and LeCun (2022) for small images:
    neither blur nor solarisation, and a tint in place of a turn of the hue.
    """

    def __init__(
        self,
        area: tuple[float, float] = (0.2, 1.0),
        colours: Colours = Colours(),  # noqa: B008 - a tuple of numbers, never changed
        flip: float = 0.5,
        scale: float = 1.0,
        seed: int | None = 0,
        **kwargs: Any,
    ) -> None:
        """Take settings.

        Args:
            area: Least and greatest share of the image's area that is seen.
            colours: How far colours change.
            flip: Probability that left and right change places.
            scale: The side of a view, in sides of the image: small views cost less.
            seed: Of all that is drawn; ``None`` takes it from Keras' own.
            **kwargs: What every layer takes.
        """
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.area, self.colours, self.flip = area, colours, flip
        self.scale = scale
        self._draws = keras.random.SeedGenerator(seed)

    def call(self, images: Any) -> Any:
        """Return a view of each normalised image, (n, h, w, c), all of it float32.

        It has ``scale`` times as many rows and columns as the image.
        """
        count = ops.shape(images)[0]
        draws = keras.random.uniform((count, _DRAWS), seed=self._draws)
        draws = [draws[:, place] for place in range(_DRAWS)]
        height, width, channels = images.shape[1:]
        size = round(self.scale * height), round(self.scale * width)
        seen = resized(images, self._boxes(draws[:5], height, width), size)
        if self.colours == UNCHANGED:
            return seen
        return self._coloured(seen, draws[5:], channels)

    def _boxes(self, draws: list[Any], height: int, width: int) -> Boxes:
        least, most = self.area
        area = least + draws[0] * (most - least)
        # Only shapes that fit: what is too long for the image cannot be seen whole.
        longest = ops.minimum(LONGEST, -ops.log(area))
        ratio = ops.exp((2 * draws[1] - 1) * longest)
        rows = height * ops.minimum(ops.sqrt(area / ratio), 1.0)
        columns = width * ops.minimum(ops.sqrt(area * ratio), 1.0)
        flipped = ops.cast(draws[4] < self.flip, "float32")
        top, left = draws[2] * (height - rows), draws[3] * (width - columns)
        return Boxes(top, left, rows, columns, flipped)

    def _coloured(self, images: Any, draws: list[Any], channels: int) -> Any:
        most, seen = self.colours, (0, 1, 2)
        black = ops.min(images, axis=seen)
        white = ops.max(images, axis=seen)
        on = ops.cast(draws[0] < most.often, "float32")

        def factor(draw: Any, change: float) -> Any:
            return (1 + (2 * draw - 1) * change * on)[:, None, None, None]

        images = black + factor(draws[1], most.brightness) * (images - black)
        mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
        images = mean + factor(draws[2], most.contrast) * (images - mean)
        if channels == 3:
            light = ops.sum(images * ops.array(LUMA, "float32"), axis=-1, keepdims=True)
            colour = ops.cast(draws[4] >= most.grey, "float32")[:, None, None, None]
            saturation = colour * factor(draws[3], most.saturation)
            images = light + saturation * (images - light)
            tints = [factor(draw, most.tint) for draw in draws[5:8]]
            images = black + ops.concatenate(tints, axis=-1) * (images - black)
        return ops.clip(images, black, white)


def resized(images: Any, boxes: Boxes, size: tuple[int, int] | None = None) -> Any:
    """Return the box of each image in another size, bilinear.

    Args:
        images: (n, h, w, c), float32.
        boxes: What is seen; n of them.
        size: Rows and columns that it gets; by default those of the image.
    """
    sides = images.shape[1:3]
    size, same = size or sides, ops.zeros_like(boxes.top)
    rows = _weights((boxes.top, boxes.height), sides[0], size[0], same)
    columns = _weights((boxes.left, boxes.width), sides[1], size[1], boxes.flipped)
    seen = ops.einsum("nov,nvwc->nowc", rows, images)
    return ops.einsum("npw,nowc->nopc", columns, seen)


def _weights(part: tuple[Any, Any], side: int, size: int, mirrored: Any) -> Any:
    """Return what each pixel of a side gives to each one seen: (n, size, side).

    Args:
        part: Where what is seen of the side begins, and how long it is; (n,) each.
        side: Pixels of the side.
        size: Pixels that are seen.
        mirrored: 1 where their order is turned round, (n,).
    """
    start, length = part
    place, other = ops.arange(size, dtype="float32"), mirrored[:, None]
    pixel = (1 - other) * place + other * (size - 1 - place)
    at = start[:, None] + (pixel + 0.5) * (length / size)[:, None] - 0.5
    at = ops.clip(at, 0, side - 1)
    there = ops.arange(side, dtype="float32")
    return ops.relu(1 - ops.abs(at[:, :, None] - there))
