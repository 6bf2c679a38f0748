"""A fitted transform, applied without the pipeline that fitted it, and undone.

Its folder holds ``transform.json`` (what it is, with the digest of each other file),
``lookup.npy`` where it treats each byte of a channel alike, and the saved graph.
"""

import hashlib
import json
import os
from typing import Any

import numpy as np

from models.spec import ImageShape

FORMAT_VERSION = 1
CARD = "transform.json"
LOOKUP = "lookup.npy"
GRAPH = "transform_fn"


class ArtifactError(ValueError):
    """A file is not what its description says, or is of a format still to come."""


class Transform:
    """Pixels to normalised values, and back.

    Attributes:
        folder: Where it is kept.
        card: What ``transform.json`` says.
        shape: The shape of an image.
    """

    def __init__(self, folder: str) -> None:
        """Read the transform in ``folder``.

        Raises:
            ArtifactError: A file is missing or altered, or of a newer format.
        """
        self.folder = folder
        self.card = read_card(os.path.join(folder, CARD), FORMAT_VERSION)
        verify(folder, self.card["files"])
        self.shape = ImageShape(*(self.card[name] for name in ImageShape._fields))
        self._mean = np.asarray(self.card["mean"], np.float32)
        self._std = np.asarray(self.card["std"], np.float32)
        self.lookup = self._read_lookup()

    @property
    def transform_id(self) -> str:
        """The digest that names the transform."""
        return str(self.card["transform_id"])

    def look_up(self, pixels: np.ndarray) -> np.ndarray:
        """Return ``pixels``, uint8, (n, h, w, c), normalised by the lookup table."""
        assert self.lookup is not None
        values = np.empty(pixels.shape, np.float32)
        for channel in range(pixels.shape[-1]):
            values[..., channel] = self.lookup[:, channel][pixels[..., channel]]
        return values

    def undo(self, values: np.ndarray) -> np.ndarray:
        """Return normalised ``values`` as pixels in [0, 1]."""
        return np.clip(values * self._std + self._mean, 0.0, 1.0)

    def _read_lookup(self) -> np.ndarray | None:
        path = os.path.join(self.folder, LOOKUP)
        if self.card["normalise"] != "per_channel":
            return None
        table: np.ndarray = np.load(path, allow_pickle=False)
        if table.shape != (256, self.shape.channels) or table.dtype != np.float32:
            raise ArtifactError(
                f"{path}: is a table of {table.dtype} {table.shape}, not of float32 "
                f"(256, {self.shape.channels})."
            )
        return table


def read_card(path: str, known: int) -> dict[str, Any]:
    """Return the description at ``path``.

    Raises:
        ArtifactError: It is missing, unreadable, or newer than format ``known``.
    """
    try:
        with open(path, "rb") as file:
            card = json.load(file)
        found = card["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: cannot be read: {error!r}.") from error
    if not isinstance(found, int) or found > known:
        raise ArtifactError(
            f"{path}: is of format version {found}, and this latentlake reads up to "
            f"{known}. Install the version that wrote it, or a newer one."
        )
    return dict(card)


def digests(folder: str) -> dict[str, str]:
    """Return the SHA-256 of every file in ``folder``, by relative path."""
    found = {}
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            found[os.path.relpath(path, folder)] = sha256_of(path)
    return dict(sorted(found.items()))


def verify(folder: str, files: dict[str, str]) -> None:
    """Raise :class:`ArtifactError` where a file in ``folder`` lacks its digest."""
    for name, digest in files.items():
        path = os.path.join(folder, name)
        if os.path.isabs(name) or ".." in name.split("/"):
            raise ArtifactError(f"{folder}: names {name!r}, a file outside of it.")
        if not os.path.isfile(path):
            raise ArtifactError(f"{path}: is missing.")
        if sha256_of(path) != digest:
            raise ArtifactError(f"{path}: is not the file that its card describes.")


def sha256_of(path: str) -> str:
    """Return the SHA-256 of the file at ``path``, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
