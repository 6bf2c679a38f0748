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
_DRAWS = 11


class Colours(NamedTuple):
    """How far colours may change; those but brightness and contrast need 3 channels.

    Attributes:
        brightness: Most that is added to all pixels, in standard deviations of pixels.
        contrast: The distance from the image's mean changes by this share at most.
        saturation: The distance from grey changes by this share at most.
        hue: Colours turn about grey by this part of a whole turn at most.
        often: Probability that the four above are applied to an image.
        grey: Probability that an image becomes grey.
    """

    brightness: float = 0.8
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1
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

    The default is the recipe of Bardes, Ponce and LeCun (2022) for small images:
    neither blur nor solarisation, and hue turned about the grey axis.
    """

    def __init__(
        self,
        area: tuple[float, float] = (0.2, 1.0),
        colours: Colours = Colours(),  # noqa: B008 - a tuple of numbers, never changed
        flip: float = 0.5,
        scale: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        """Take settings.

        Args:
            area: Least and greatest share of the image's area that is seen.
            colours: How far colours change.
            flip: Probability that left and right change places.
            scale: The side of a view, in sides of the image: small views cost less.
            seed: Of all that is drawn.
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
        to, on = self.colours, ops.cast(draws[0] < self.colours.often, "float32")
        bright, contrast, saturation, hue = (
            (2 * one - 1) * most * on
            for one, most in zip(draws[1:5], to[:4], strict=True)
        )
        if channels == 3:
            grey = ops.cast(draws[5] < to.grey, "float32")
            images = recoloured(images, 1 + saturation, hue, grey)
        mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
        moved = images + _each(contrast) * (images - mean)
        return moved + _each(bright)


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


def recoloured(images: Any, saturation: Any, hue: Any, grey: Any) -> Any:
    """Return images in other colours, by one 3 × 3 matrix for each.

    Args:
        images: (n, h, w, 3), float32.
        saturation: What the distance from grey is multiplied by, (n,).
        hue: Parts of a whole turn about the grey axis, (n,).
        grey: 1 where the image becomes grey, else 0, (n,).
    """
    same = ops.eye(3)
    to_grey = ops.transpose(ops.tile(ops.array([LUMA], "float32"), (3, 1)))
    turned = _turn(2 * math.pi * hue)  # (n, 3, 3)
    saturation = (saturation * (1 - grey))[:, None, None]
    mixed = saturation * same + (1 - saturation) * to_grey
    return ops.einsum("nhwc,ncd->nhwd", images, ops.matmul(turned, mixed))


def _turn(angle: Any) -> Any:
    """Return the matrices that turn colours about grey (Rodrigues' formula)."""
    angle = angle[:, None, None]
    across = ops.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0]], "float32") / math.sqrt(3)
    along = ops.ones((3, 3)) / 3
    cosine = ops.cos(angle)
    return cosine * ops.eye(3) + (1 - cosine) * along + ops.sin(angle) * across


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


def _each(values: Any) -> Any:
    return values[:, None, None, None]
