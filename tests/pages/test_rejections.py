import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipelines.pages import rejections


def jpeg(side=64):
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "jpeg")
    return buffer.getvalue()


def test_what_is_left_of_a_torn_picture_is_shown():
    data = jpeg()

    assert rejections.picture_of(data[: len(data) // 2]).startswith("data:image/")


@pytest.mark.parametrize(
    "data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"%!PS-Adobe-3.0"]
)
def test_what_cannot_be_read_gives_no_picture(data):
    assert rejections.picture_of(data) == ""


def test_a_picture_of_too_many_pixels_is_not_decoded(monkeypatch):
    monkeypatch.setattr(rejections, "MOST_PIXELS", 1000)

    assert rejections.picture_of(jpeg()) == ""


def test_reasons_are_counted_the_most_frequent_first():
    rows = pa.table({"reason": ["empty", "truncated", "truncated", "truncated"]})

    found = rejections.bars(rows)

    assert [(bar.reason, bar.entries) for bar in found] == [
        ("truncated", 3),
        ("empty", 1),
    ]
    assert [bar.share for bar in found] == [1.0, pytest.approx(1 / 3)]


def test_no_rejection_gives_no_bar():
    assert rejections.bars(pa.table({"reason": pa.array([], pa.string())})) == []


def test_no_nasty_file_breaks_the_page(shared_data):
    for path in sorted((shared_data / "nasty").rglob("*")):
        if path.is_file():
            found = rejections.picture_of(path.read_bytes())
            assert found == "" or found.startswith("data:image/")
