import numpy as np
import pyarrow as pa
import pytest

from models import pca
from pipelines.config import GateSettings
from pipelines.stages import keep, measure
from pipelines.stages.sample import Sample

SMALL = GateSettings(min_images=20)


class InMemory(Sample):
    """A sample whose images are given."""

    def __init__(self, pixels, labels):
        count = len(pixels)
        super().__init__(
            None,
            pa.table(
                {
                    "image_id": [f"{number:064x}" for number in range(count)],
                    "source_uri": [f"/a/{number}.png" for number in range(count)],
                    "label": pa.array(labels, pa.string()),
                }
            ),
        )
        self._held = [pixels[:30], pixels[30:]]


def pictures(count, seed, labels=("left", "right")):
    """Return noisy images that are bright on the side their label names."""
    rng = np.random.default_rng(seed)
    which = rng.integers(len(labels), size=count)
    pixels = rng.integers(0, 120, (count, 8, 8, 1))
    for number, label in enumerate(which):
        pixels[number, :, 4 * int(label) : 4 * int(label) + 4] += 100
    return InMemory(pixels.astype(np.uint8), [labels[one] for one in which])


def exam(settings=SMALL):
    return measure.set_exam(pictures(120, 1), pictures(60, 2), settings)


def test_a_model_is_judged_on_every_held_out_image():
    found = exam()
    fitted = pca.fit(found.train.batches, 6)

    shown = measure.examine(fitted, found)

    assert shown.latents.shape == (60, 6)
    assert shown.errors.shape == shown.ssim.shape == (60,)
    assert shown.linear.shape == shown.knn.shape == (60,)
    figures = shown.figures()
    assert figures.linear > 95.0
    assert figures.psnr == pytest.approx(np.mean(-10 * np.log10(shown.errors)))
    assert figures.dead_dims == 0


def test_structural_similarity_is_judged_on_some_images_only(monkeypatch):
    monkeypatch.setattr(measure, "SSIM_IMAGES", 10)
    found = exam()

    shown = measure.examine(pca.fit(found.train.batches, 6), found)

    assert shown.ssim.shape == (10,)


def test_a_model_against_itself_gains_nothing():
    found = exam()
    shown = measure.examine(pca.fit(found.train.batches, 6), found)

    bounds = measure.intervals(shown, shown, SMALL)

    assert set(bounds) == {"linear", "knn", "psnr"}
    assert all(one == (0.0, 0.0) for one in bounds.values())


def test_a_larger_pca_gains_psnr_beyond_chance():
    found = exam()
    small, large = (
        measure.examine(pca.fit(found.train.batches, size), found) for size in (2, 30)
    )

    bounds = measure.intervals(large, small, SMALL)

    assert bounds["psnr"].low > 0.0


def test_few_images_give_no_interval_and_no_labels_to_judge_by():
    found = exam(GateSettings(min_images=200))

    shown = measure.examine(pca.fit(found.train.batches, 4), found)

    assert found.labels is None
    assert found.labelled == 0
    assert shown.linear is None
    assert measure.intervals(shown, shown, GateSettings(min_images=200)) == {}


def test_few_labelled_images_count_where_that_is_asked_for():
    assert exam(GateSettings(min_images=200, allow_small=True)).labelled == 60


def test_one_single_label_is_as_good_as_none():
    one = ("only",)

    found = measure.set_exam(pictures(50, 1, one), pictures(50, 2, one), SMALL)

    assert found.labels is None


def test_a_model_of_broken_latents_names_nothing_rightly():
    found = exam()

    class Broken:
        def encode(self, pixels):
            return np.full((len(pixels), 3), np.nan, np.float32)

        def encode_and_reconstruct(self, pixels):
            return self.encode(pixels), np.full(pixels.shape, np.nan, np.float32)

    shown = measure.examine(Broken(), found)

    assert not shown.linear.any()
    assert np.isnan(shown.figures().psnr)


def test_a_keepsake_shows_each_label_and_the_worst():
    found = exam()
    fitted = pca.fit(found.train.batches, 6)
    shown = measure.examine(fitted, found)

    kept = keep.make(found.held_out, shown, fitted, fitted)

    selected = kept.shown[: int(kept.selected)]
    assert list(kept.labels[selected]) == ["left"] * 20 + ["right"] * 20
    worst = kept.shown[int(kept.selected) :]
    np.testing.assert_array_equal(worst, np.argsort(-shown.errors, kind="stable")[:20])
    assert kept.originals.shape == kept.reconstructions.shape == (60, 8, 8, 1)
    assert kept.thumbnails.shape == (60, 8, 8, 1)
