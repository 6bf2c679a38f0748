"""What data and model agree on: the shape of an image, the names of its features."""

from typing import NamedTuple

IMAGE = "image"
"""Feature of an example: the values of the image, row by row."""
IMAGE_ID = "image_id"
"""Feature of an example: the digest of the image's bytes."""
LABEL = "label"
"""Feature of an example: its label, where it has one."""


class ImageShape(NamedTuple):
    """The shape of an image, channels last.

    Attributes:
        height: Rows.
        width: Columns.
        channels: 1 for grey, 3 for RGB.
    """

    height: int
    width: int
    channels: int

    @property
    def size(self) -> int:
        """The numbers in one image."""
        return self.height * self.width * self.channels
