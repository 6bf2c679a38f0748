"""What the first bytes of a file say: its format, and whether we want to decode it."""

import re

from pipelines.config import ImageSettings
from pipelines.records import Reason

SUPPORTED = ("jpeg", "png", "gif", "webp", "bmp", "tiff", "pnm")
"""The formats that are decoded, by the names the image table gives them."""

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
    (b"8BPS", "psd"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "jxl"),
    (b"\xff\x0a", "jxl"),
    (b"DDS ", "dds"),
    (b"qoif", "qoi"),
    (b"\x76\x2f\x31\x01", "exr"),
    (b"#?RADIANCE", "hdr"),
    (b"#?RGBE", "hdr"),
    (b"gimp xcf", "xcf"),
    (b"icns", "icns"),
    (b"\x01\xda", "sgi"),
    (b"\x59\xa6\x6a\x95", "sun raster"),
    (b"SIMPLE  =", "fits"),
    (b"II\xbc", "jpeg xr"),
    (b"P7\n", "pam"),
    (b"PF\n", "pfm"),
    (b"Pf\n", "pfm"),
    (b"/* XPM */", "xpm"),
    (b"FLIF", "flif"),
    (b"BPG\xfb", "bpg"),
    (b"AT&TFORM", "djvu"),
    (b"\x8aMNG\r\n\x1a\n", "mng"),
    (b"\x8bJNG\r\n\x1a\n", "jng"),
    (b"farbfeld", "farbfeld"),
    (b"<svg", "svg"),
    (b"%!PS", "eps"),
    (b"%PDF", "pdf"),
)
_PATTERNS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"RIFF....WEBP", re.S), "webp"),
    (re.compile(rb"P[1-6][\s#]"), "pnm"),
    (
        re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00", re.S),
        "bmp",
    ),
    (re.compile(rb"....ftypavi[fs]", re.S), "avif"),
    (re.compile(rb"....ftyp(hei|hev|mif1|msf1)", re.S), "heic"),
    (re.compile(rb"\x00\x00[\x01\x02]\x00[^\x00]\x00.{3}\x00", re.S), "ico"),
    (re.compile(rb"\x0a[\x00\x02-\x05][\x00\x01][\x01\x02\x04\x08]", re.S), "pcx"),
    (re.compile(rb"\s*<\?xml[^\x00]{0,1000}?<svg", re.S), "svg"),
)
_TGA_END = b"TRUEVISION-XFILE.\x00"


class Refused(Exception):
    """The bytes at hand are left out; never leaves :mod:`pipelines.media`.

    Attributes:
        reason: Why, from the short list.
        detail: What was found.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail


def sniff(data: bytes) -> str | None:
    """Return the name of the image format that ``data`` is in, by its signature."""
    for start, name in _STARTS:
        if data.startswith(start):
            return name
    for pattern, name in _PATTERNS:
        if pattern.match(data):
            return name
    return "tga" if data.endswith(_TGA_END) else None


def supported_format(data: bytes, spec: ImageSettings) -> str:
    """Return the format of ``data``, or refuse it before anything else is read."""
    if not data:
        raise Refused("empty", "0 bytes")
    if len(data) > spec.max_bytes:
        raise Refused("too_many_bytes", f"{len(data)} bytes, at most {spec.max_bytes}")
    name = sniff(data)
    if name is None:
        raise Refused("not_an_image", f"no image signature: {data[:8].hex(' ')}")
    if name not in SUPPORTED:
        raise Refused("unsupported_format", f"{name}; we read {', '.join(SUPPORTED)}")
    return name


def check_size(width: int, height: int, spec: ImageSettings) -> None:
    """Refuse an image whose header promises too much, or too little."""
    if width * height > spec.max_pixels:
        raise Refused(
            "too_many_pixels",
            f"{width}x{height} is {width * height} pixels, at most {spec.max_pixels}",
        )
    if width < spec.min_side or height < spec.min_side:
        raise Refused("too_small", f"{width}x{height}, sides at least {spec.min_side}")
