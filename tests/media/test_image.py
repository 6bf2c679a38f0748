import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipelines.config import ImageSettings
from pipelines.media.image import Canonical, canonicalise
from pipelines.records import Rejection

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
CORNERS = np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8)
"""Top left red, top right green, bottom left blue, bottom right white."""


def spec(side=16, **more):
    return ImageSettings(**({"height": side, "width": side} | more))


def quarters(height=16, width=16):
    """Return a picture of four plain quarters."""
    return CORNERS.repeat(height // 2, axis=0).repeat(width // 2, axis=1)


def saved(pixels, kind, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def corners(pixels):
    """Return what stands a little inside each corner."""
    height, width = pixels.shape[:2]
    down, right = height // 4, width // 4
    return pixels[[down, down, -down, -down], [right, -right, right, -right]]


def accepted(data, settings=None):
    result = canonicalise(data, settings or spec())
    assert isinstance(result, Canonical), result
    assert result.pixels.dtype == np.uint8
    assert result.pixels.flags.c_contiguous
    return result


def reason(data, settings=None):
    result = canonicalise(data, settings or spec())
    assert isinstance(result, Rejection), result
    return result.reason


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        ("PNG", {}, "png"),
        ("WEBP", {"lossless": True}, "webp"),
        ("BMP", {}, "bmp"),
        ("GIF", {}, "gif"),
        ("TIFF", {}, "tiff"),
        ("TIFF", {"compression": "tiff_lzw"}, "tiff"),
        ("PPM", {}, "pnm"),
    ],
)
def test_a_lossless_format_comes_out_as_it_went_in(kind, options, name):
    result = accepted(saved(quarters(), kind, **options))

    assert np.array_equal(result.pixels, quarters())
    assert (result.width, result.height, result.format) == (16, 16, name)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_a_jpeg_keeps_its_colours(options):
    result = accepted(saved(quarters(), "JPEG", quality=95, **options))

    assert np.allclose(corners(result.pixels), CORNERS.reshape(4, 3), atol=12)
    assert result.format == "jpeg"


@pytest.mark.parametrize("marked", [True, False])
def test_a_cmyk_jpeg_becomes_rgb_with_adobes_mark_or_without(marked):
    data = saved(Image.fromarray(quarters()).convert("CMYK"), "JPEG", quality=95)
    if not marked:
        at = data.index(b"\xff\xee")
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        data = data[:at] + data[at + 2 + length :]

    result = accepted(data)

    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.allclose(result.pixels, expected, atol=2)
    assert np.allclose(corners(result.pixels), CORNERS.reshape(4, 3), atol=12)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_is_turned_upright_by_its_exif(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    options |= {"quality": 95} if kind == "JPEG" else {}
    data = saved(quarters(16, 32), kind, exif=exif, **options)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))

    result = accepted(data, spec(fit="stretch"))

    expected = corners(np.asarray(upright.convert("RGB")))
    assert np.allclose(corners(result.pixels), expected, atol=12)
    assert (result.width, result.height) == upright.size


def test_a_broken_exif_block_says_nothing_about_the_picture():
    exif = b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"

    result = accepted(saved(quarters(), "PNG", exif=exif))

    assert np.array_equal(result.pixels, quarters())


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_of_sixteen_bits_the_high_byte_counts(kind):
    deep = np.arange(256, dtype=np.uint16).reshape(16, 16) * 256 + 255

    result = accepted(saved(deep, kind), spec(channels=1))

    assert np.array_equal(result.pixels[..., 0], np.arange(256).reshape(16, 16))


def test_sixteen_bits_of_three_channels_are_read_too():
    deep = (quarters().astype(">u2") * 257).tobytes()
    lines = b"".join(b"\0" + deep[at : at + 96] for at in range(0, len(deep), 96))

    result = accepted(png(16, 16, 16, 2, lines))

    assert np.array_equal(result.pixels, quarters())


def png(width, height, depth, colour, lines):
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body))
        + kind
        + body
        + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )


def test_a_palette_is_looked_up():
    picture = Image.fromarray(quarters()).convert("P", palette=Image.Palette.ADAPTIVE)

    assert np.array_equal(accepted(saved(picture, "PNG")).pixels, quarters())


def test_black_and_white_of_one_bit_spans_the_whole_range():
    picture = Image.fromarray(quarters()[..., 0]).convert("1")

    result = accepted(saved(picture, "PNG"), spec(channels=1))

    assert set(np.unique(result.pixels)) == {0, 255}


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_shows_the_background(mode):
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:8, :, 3] = 255  # above opaque black, below nothing
    pixels[4:8, :, 3] = 128
    picture = Image.fromarray(pixels).convert(mode)

    result = accepted(saved(picture, "PNG"), spec(background="#ff8000"))

    assert result.pixels[0, 0].tolist() == [0, 0, 0]
    assert result.pixels[5, 0].tolist() == [127, 64, 0]
    assert result.pixels[12, 0].tolist() == [255, 128, 0]


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_colour_of_a_palette_shows_the_background(kind):
    picture = Image.new("P", (16, 16), 1)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.paste(0, (0, 0, 8, 16))

    result = accepted(saved(picture, kind, transparency=0), spec(background="#0000ff"))

    assert result.pixels[8, 2].tolist() == [0, 0, 255]
    assert result.pixels[8, 12].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_counts(kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if kind == "WEBP" else {}

    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)

    assert accepted(data).pixels[8, 8].tolist() == [255, 0, 0]


def test_grey_is_luma_by_itu_r_601():
    result = accepted(saved(quarters(), "PNG"), spec(channels=1))

    assert corners(result.pixels)[:, 0].tolist() == [76, 150, 29, 255]
    assert result.pixels.shape == (16, 16, 1)


def test_a_grey_picture_fills_all_three_channels():
    grey = np.full((32, 32), 77, np.uint8)

    for kind in ("PNG", "JPEG"):
        assert (accepted(saved(grey, kind)).pixels == 77).all()


def test_cover_cuts_the_middle():
    wide = np.zeros((16, 64, 3), np.uint8)
    wide[:, 24:40] = (10, 20, 30)

    result = accepted(saved(wide, "PNG"), spec(fit="cover"))

    assert (result.pixels == (10, 20, 30)).all()
    assert (result.width, result.height) == (64, 16)


@pytest.mark.parametrize("channels", [1, 3])
def test_contain_pads_both_sides_with_the_background(channels):
    wide = np.full((16, 32), 50, np.uint8)

    result = accepted(
        saved(wide, "PNG"), spec(fit="contain", background="#c8c8c8", channels=channels)
    )

    assert (result.pixels[4:12] == 50).all()
    assert (result.pixels[:4] == 200).all()
    assert (result.pixels[12:] == 200).all()


def test_contain_pads_a_grey_picture_with_a_coloured_background():
    for kind in ("PNG", "JPEG"):
        data = saved(np.full((16, 32), 50, np.uint8), kind)
        result = accepted(data, spec(fit="contain", background="#ff0000"))
        assert result.pixels[0, 0].tolist() == [255, 0, 0]


def test_stretch_takes_no_heed_of_proportions():
    result = accepted(saved(quarters(16, 64), "PNG"), spec(8, fit="stretch"))

    assert np.array_equal(result.pixels, quarters(8, 8))


def test_an_axis_that_shrinks_is_averaged_by_area():
    stripes = np.tile(np.array([[0, 100]], np.uint8), (32, 16))

    result = accepted(saved(stripes, "PNG"), spec(channels=1))

    assert (result.pixels == 50).all()


def test_an_axis_that_grows_is_interpolated_after_the_other_has_shrunk():
    stripes = np.tile(np.array([[0, 100]], np.uint8), (8, 16))

    result = accepted(saved(stripes, "PNG"), spec(fit="stretch", channels=1))

    assert (result.pixels == 50).all()


def test_a_large_jpeg_decoded_at_a_reduced_scale_is_nearly_the_same():
    rng = np.random.default_rng(0)
    rough = rng.integers(0, 256, (12, 16, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(rough).resize((640, 480)))
    data = saved(smooth, "JPEG", quality=92)

    scaled = accepted(data, spec(64, scaled_decode=True)).pixels.astype(int)
    whole = accepted(data, spec(64, scaled_decode=False)).pixels.astype(int)

    assert 0 < np.abs(scaled - whole).mean() < 2


def test_the_plain_layout_and_any_other_give_the_same_pixels():
    data = saved(quarters(24, 24), "JPEG", quality=90)
    other = data[:2] + b"\xff\xfe\x00\x04hi" + data[2:]  # a comment comes first

    for settings in (spec(), spec(24), spec(32, channels=1), spec(fit="contain")):
        assert np.array_equal(
            accepted(data, settings).pixels, accepted(other, settings).pixels
        )


def test_a_jpeg_under_another_name_is_a_jpeg():
    assert accepted(saved(quarters(), "JPEG")).format == "jpeg"


def test_checks_come_in_their_order():
    small = spec(max_bytes=100, max_pixels=200, min_side=8)
    jpeg = saved(quarters(), "JPEG")

    assert reason(b"", small) == "empty"
    assert reason(jpeg, small) == "too_many_bytes"
    assert reason(b"hello, world", small) == "not_an_image"
    assert reason(b"8BPS" + bytes(40), small) == "unsupported_format"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
def test_sizes_are_judged_by_the_header(kind):
    data = saved(quarters(), kind)

    assert reason(data, spec(max_pixels=255)) == "too_many_pixels"
    assert reason(data, spec(min_side=17)) == "too_small"
    assert reason(saved(quarters(4, 32), kind), spec(min_side=8)) == "too_small"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
def test_a_picture_cut_in_half_is_truncated(kind):
    rough = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = saved(rough, kind)

    assert reason(data[: len(data) // 2]) == "truncated"


def test_a_header_that_promises_the_sky_is_not_believed():
    assert reason(png(60_000, 60_000, 8, 0, b"")) == "too_many_pixels"


def test_a_gif_whose_frame_leaves_its_screen_is_judged_by_the_frame():
    data = bytearray(saved(quarters(), "GIF"))
    at = data.index(b",\x00\x00\x00\x00\x10\x00\x10\x00")
    data[at + 5 : at + 9] = struct.pack("<HH", 20_000, 20_000)

    assert reason(bytes(data)) == "too_many_pixels"


def test_damaged_data_is_corrupt():
    data = png(16, 16, 8, 0, bytes(16 * 17))
    at = data.index(b"IDAT") + 6

    assert reason(data[:at] + b"\xff" * 8 + data[at + 8 :]) == "corrupt"


def test_samples_without_a_stated_range_are_not_guessed_at():
    floats = saved(np.ones((16, 16), np.float32), "TIFF")

    assert reason(floats) == "unsupported_format"


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"8BPS\x00\x01", "psd"),
        (b"\x00\x00\x00\x1cftypavif", "avif"),
        (b"\x00\x00\x00\x18ftypheic", "heic"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "jp2"),
        (b"\xff\x4f\xff\x51", "jp2"),
        (b"\xff\x0a", "jxl"),
        (b"\x00\x00\x01\x00\x01\x00\x10\x10\x00\x00", "ico"),
        (b"DDS |\x00\x00\x00", "dds"),
        (b"\x0a\x05\x01\x08", "pcx"),
        (b"qoif", "qoi"),
        (b"P7\nWIDTH 8", "pam"),
        (b"<svg xmlns=", "svg"),
    ],
)
def test_a_format_we_do_not_read_is_named(start, name):
    result = canonicalise(start + bytes(64), spec())

    assert result.reason == "unsupported_format"
    assert result.detail.startswith(f"{name};")


def test_a_tga_is_known_by_its_end():
    result = canonicalise(bytes(64) + b"TRUEVISION-XFILE.\x00", spec())

    assert result.reason == "unsupported_format"


def test_a_detail_is_one_short_printable_line():
    result = canonicalise(b"\x1b[2J\n\n" + bytes(300), spec())

    assert result.detail.isprintable()
    assert len(result.detail) <= 200
