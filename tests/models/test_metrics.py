import numpy as np
import pytest

from models import metrics
from models.metrics import Labelled


def blobs(count, seed, classes=3, width=5, apart=6.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    centres = np.eye(classes, width) * apart
    return Labelled(centres[labels] + rng.normal(size=(count, width)), labels)


def test_squared_error_is_one_value_per_image():
    images = np.zeros((2, 4, 4, 1), np.float32)
    reconstructions = np.stack([images[0], np.full_like(images[0], 0.5)])

    errors = metrics.squared_error(images, reconstructions)

    np.testing.assert_allclose(errors, [0.0, 0.25])


def test_psnr_of_a_tenth_off_is_twenty_decibels_and_of_nothing_off_a_hundred():
    decibels = metrics.psnr(np.array([0.01, 0.0]))

    np.testing.assert_allclose(decibels, [20.0, 100.0])


@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 16, 3), (33, 21, 3)])
def test_ssim_equals_scikit_image(shape):
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(1)
    images = rng.random((4, *shape)).astype(np.float32)
    noisy = np.clip(images + rng.normal(0, 0.1, images.shape), 0, 1).astype(np.float32)

    found = metrics.ssim(images, noisy)

    expected = [
        structural_similarity(
            a.astype(float), b.astype(float), data_range=1.0, channel_axis=-1
        )
        for a, b in zip(images, noisy, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_effective_rank_counts_the_dimensions_that_carry():
    rng = np.random.default_rng(0)
    latents = np.zeros((5000, 8))
    latents[:, :3] = rng.normal(size=(5000, 3))

    assert metrics.effective_rank(latents) == pytest.approx(3.0, abs=0.01)
    assert metrics.effective_rank(np.ones((10, 4))) == 0.0


def test_a_constant_dimension_is_dead():
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(100, 4)).astype(np.float32)
    latents[:, 2] = 7.0

    assert metrics.dead_dimensions(latents) == 1
    assert metrics.dead_dimensions(np.ones((10, 4))) == 4


@pytest.mark.parametrize("judge", [metrics.linear_probe, metrics.knn])
def test_labels_far_apart_are_named_rightly_and_shuffled_ones_by_chance(judge):
    train, held_out = blobs(600, seed=1), blobs(300, seed=2)
    shuffled = np.random.default_rng(3).permutation(train.labels)

    right = judge(train, held_out)
    lost = judge(Labelled(train.features, shuffled), held_out)

    assert right.shape == (300,)
    assert right.mean() > 0.97
    assert lost.mean() < 0.6


@pytest.mark.parametrize("judge", [metrics.linear_probe, metrics.knn])
def test_a_label_never_trained_on_is_not_named_rightly(judge):
    train, held_out = blobs(200, seed=1, classes=2), blobs(50, seed=2, classes=2)
    strange = Labelled(held_out.features, np.full(50, 9))

    assert not judge(train, strange).any()


def test_neighbours_found_in_batches_are_those_found_at_once():
    train, held_out = blobs(300, 1, apart=1.5), blobs(101, 2, apart=1.5)

    at_once = metrics.knn(train, held_out)
    in_batches = metrics.knn(train, held_out, batch=16)

    np.testing.assert_array_equal(at_once, in_batches)


def test_neighbours_agree_with_scikit_learn_where_votes_do_not_tie():
    from sklearn.neighbors import KNeighborsClassifier

    train = blobs(400, 1, classes=2, apart=2.0)
    held_out = blobs(200, 2, classes=2, apart=2.0)
    reference = KNeighborsClassifier(10, metric="cosine", algorithm="brute")
    shares = reference.fit(*train).predict_proba(held_out.features)
    clear = shares.max(axis=1) > 0.5

    found = metrics.knn(train, held_out)

    expected = shares.argmax(axis=1) == held_out.labels
    np.testing.assert_array_equal(found[clear], expected[clear])


def test_the_interval_holds_the_true_mean_about_ninety_five_times_in_a_hundred():
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        low, high = metrics.bootstrap_interval(rng.normal(1.0, 2.0, 200), seed=trial)
        held += low <= 1.0 <= high

    assert 180 <= held <= 198


def test_the_interval_of_equal_differences_is_that_difference():
    assert metrics.bootstrap_interval(np.full(300, 0.25)) == (0.25, 0.25)


def test_the_interval_is_the_same_for_the_same_seed():
    differences = np.random.default_rng(0).normal(size=500)

    first = metrics.bootstrap_interval(differences, seed=4)

    assert first == metrics.bootstrap_interval(differences, seed=4)
    assert first != metrics.bootstrap_interval(differences, seed=5)
