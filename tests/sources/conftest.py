import io

import numpy as np
import pytest
from PIL import Image

from pipelines.config import SourceSettings
from pipelines.sources.registry import open_source


def encoded(shade, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(file, kind)
    return file.getvalue()


@pytest.fixture
def picture():
    """Return a function that makes the bytes of a small image of one shade."""
    return encoded


@pytest.fixture
def source():
    """Return a function that opens the source at a path."""

    def opened(path, **settings):
        return open_source(SourceSettings(path=str(path), **settings))

    return opened


@pytest.fixture
def contents():
    """Return a function that lists and reads a source: URI to (entry, content)."""

    def everything(opened):
        entries = sorted(opened.list())
        found = list(opened.read(entries))
        assert [entry for entry, _ in found] == entries
        assert all(
            any(entry.source_uri.startswith(root) for root in opened.roots())
            for entry in entries
        )
        return {entry.source_uri: (entry, content) for entry, content in found}

    return everything
