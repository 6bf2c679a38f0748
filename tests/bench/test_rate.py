import io

import numpy as np
import pytest
from PIL import Image
from quality import card, coders, datasets, jpeg, rate
from quality.card import Curve


@pytest.fixture(scope="module")
def smooth() -> np.ndarray:
    """Images with more power in coarse than in fine detail, as photographs have."""
    rng = np.random.default_rng(1)
    field = rng.normal(size=(300, 16, 16))
    decay = (1 + np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(16) * 16]))) ** -2.0
    made = np.fft.ifft2(np.fft.fft2(field) * decay).real
    made = 128 + 50 * made / made.std()
    return np.clip(made, 0, 255).astype(np.uint8)[..., None]


@pytest.fixture(scope="module")
def points(smooth):
    labels = np.zeros(200, int)
    held_out = np.arange(200) < 20
    images = datasets.Images(smooth[:200], labels, held_out, smooth[200:], labels[:100])
    coder = coders.Pca(images, 32, 0)
    learned, test = coder.encode(images.train), coder.encode(images.test)
    return rate.curve(coder, learned, test, images.test)


def test_more_bytes_never_show_less(points):
    sizes, payloads, psnr = (
        [getattr(point, name) for point in points]
        for name in ("bytes", "payload", "psnr")
    )

    assert sizes == sorted(sizes)
    assert payloads == sorted(payloads)
    assert psnr == sorted(psnr)
    assert psnr[-1] > psnr[0] + 3


def test_real_bytes_are_no_fewer_than_an_ideal_coder_needs():
    rng = np.random.default_rng(0)
    numbers = np.rint(rng.normal(0, 2, (4000, 8))).astype(np.int16)

    packed, ideal = rate.packed(numbers), rate.ideal(numbers, numbers)

    shares = [np.unique(column, return_counts=True)[1] / 4000 for column in numbers.T]
    entropy = sum(-(share * np.log2(share)).sum() for share in shares) * 4000 / 8
    assert entropy <= ideal < 1.02 * entropy
    assert ideal < packed < 1.2 * ideal


def test_large_numbers_are_packed_without_loss_of_order():
    wide = np.arange(-2000, 2000, dtype=np.int16).reshape(-1, 2)

    assert rate.packed(wide) < 2 * wide.size


def test_numbers_that_the_picture_does_not_depend_on_are_not_sent(smooth):
    class Deaf:
        def encode(self, pixels):
            return pixels.reshape(len(pixels), -1)[:, :4].astype(np.float32)

        def decode(self, latents):
            shown = np.tile(latents[:, :2].mean(axis=1), (4, 4, 1))
            return np.moveaxis(shown, -1, 0)[..., None] / 255

    steps = rate.find_steps(Deaf(), Deaf().encode(smooth))

    assert steps.sent.tolist() == [0, 1]
    latents = Deaf().encode(smooth)
    restored = steps.restored(steps.rounded(latents, 0.01), 0.01)
    assert np.abs(restored[:, :2] - latents[:, :2]).max() < 1
    assert np.allclose(restored[:, 2:], latents[:, 2:].mean(axis=0))


def test_a_scan_is_what_is_left_of_a_file_without_its_tables(smooth):
    file = jpeg.written(smooth[0], 50, optimize=False)
    finer = jpeg.written(smooth[0], 95, optimize=False)

    assert 0 < jpeg.scan_bytes(file) < jpeg.scan_bytes(finer)
    rest = len(file) - jpeg.scan_bytes(file)
    assert rest == len(finer) - jpeg.scan_bytes(finer)  # the same tables in both
    start = rest - 2
    assert Image.open(io.BytesIO(file)).size == (16, 16)
    broken = file[:start] + bytes(jpeg.scan_bytes(file)) + file[-2:]
    assert (jpeg.read(broken) != jpeg.read(file)).any()


def test_jpeg_shows_more_with_more_bytes(smooth):
    points = jpeg.curve(smooth[:12])

    (curve,) = [one for one in card.curves({"jpeg": points}) if one.name == card.SCAN]
    assert len(curve.sizes) >= 8
    assert (np.diff(curve.sizes) > 0).all()
    assert (np.diff(curve.psnr) > 0).all()
    assert all(point.payload < point.bytes for point in points)


def test_the_card_compares_at_equal_bytes_and_stays_silent_elsewhere():
    line = Curve("a", np.array([8.0, 32.0]), np.array([20.0, 24.0]), np.array([0, 1]))

    assert line.at(16) == pytest.approx((22.0, 0.5))
    assert line.at(7) is None
    assert line.at(33) is None
    assert "| 16 | 22.0 / 0.50 |" in card.table([line])
    assert "| 64 |  |" in card.table([line])
