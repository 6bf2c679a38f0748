"""Bytes from outside: whatever they are, an answer comes back."""

import csv
import io
import warnings

import numpy as np
import pytest
from PIL import Image

from pipelines.config import ImageSettings
from pipelines.media.header import SUPPORTED, sniff
from pipelines.media.image import Canonical, canonicalise
from pipelines.records import REASONS, Rejection

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SPEC = ImageSettings(height=32, width=32, min_side=1, max_pixels=20_000_000)
KINDS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")

LEFT_OUT = {
    "png_0399_codec-corpus": "a palette picture without a palette",
}
"""Files of a format we read that Pillow decodes and we do not, and why."""


def settled(data):
    result = canonicalise(data, SPEC)
    if isinstance(result, Rejection):
        assert result.reason in REASONS
        return result
    assert isinstance(result, Canonical)
    assert result.pixels.shape == (32, 32, 3)
    return result


def pillow_decodes(data):
    try:
        with warnings.catch_warnings(action="ignore"):
            Image.open(io.BytesIO(data)).convert("RGBA")
    except Exception:
        return False
    return True


@pytest.fixture(scope="module")
def nasty(shared_data):
    folder = shared_data / "nasty"
    with (folder / "MANIFEST.csv").open() as file:
        names = [row["file"] for row in csv.DictReader(file)]
    return {name: (folder / name).read_bytes() for name in names}


def test_every_nasty_file_is_an_image_or_a_reason(nasty):
    results = {name: settled(data) for name, data in nasty.items()}

    assert len(results) == 240
    assert sum(isinstance(result, Canonical) for result in results.values()) >= 80


def test_what_pillow_decodes_of_our_formats_we_decode(nasty):
    refused = {
        name
        for name, data in nasty.items()
        if sniff(data) in SUPPORTED
        and isinstance(settled(data), Rejection)
        and settled(data).reason not in ("unsupported_format", "too_many_pixels")
        and pillow_decodes(data)
    }

    assert refused == set(LEFT_OUT)


@pytest.fixture(scope="module", params=KINDS)
def sound(request):
    pixels = np.random.default_rng(1).integers(0, 256, (24, 20, 3), np.uint8)
    file = io.BytesIO()
    takes_exif = request.param in ("JPEG", "PNG", "WEBP")
    exif = {"exif": b"Exif\0\0II*\0"} if takes_exif else {}
    Image.fromarray(pixels).save(file, request.param, **exif)
    return file.getvalue()


def test_any_beginning_of_a_file_gets_an_answer(sound):
    step = max(1, len(sound) // 100)

    for end in range(0, len(sound), step):
        settled(sound[:end])


def test_flipped_bits_get_an_answer(sound):
    rng = np.random.default_rng(2)

    for _ in range(150):
        data = bytearray(sound)
        for at in rng.integers(0, min(len(data), 400), rng.integers(1, 6)):
            data[at] ^= 1 << int(rng.integers(8))
        settled(bytes(data))


def test_noise_behind_a_signature_gets_an_answer(sound):
    rng = np.random.default_rng(3)

    for length in (1, 10, 30, 100, 1000):
        settled(sound[:12] + rng.bytes(length))
