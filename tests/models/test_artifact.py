import concurrent.futures
import json
import pathlib

import numpy as np
import pytest

from models import artifact, readout, sums
from models.presets import conv
from models.settings import ConvSettings
from models.transform import digests


@pytest.fixture
def models(shape):
    """An encoder and a decoder of random weights."""
    settings = ConvSettings(latent_dim=5, pooled_share=0.4, widths=(4, 8))
    parts = conv.build(shape, settings)
    rows = np.random.default_rng(0).normal(size=(60, *shape)).astype(np.float32)
    moments = sums.total([readout.Moments(parts.features).terms(rows)], 60)
    return conv.finish(parts, settings, readout.solve(moments, conv.groups(settings)))


@pytest.fixture
def saved(tmp_path, models, make_transform):
    folder = str(tmp_path / "encoders" / "one")
    card = artifact.save(folder, *models, make_transform(), {"seed": 7})
    return folder, card


def test_a_saved_encoder_gives_the_same_latents_when_loaded(saved, models, make_pixels):
    pixels = make_pixels(130)
    loaded = artifact.load(saved[0])

    latents = loaded.encode(pixels)

    encoder, _ = models
    straight = encoder.predict_on_batch(loaded.transform.look_up(pixels))
    np.testing.assert_allclose(latents, straight, rtol=1e-5, atol=1e-5)
    assert latents.dtype == np.float32
    assert latents.shape == (130, loaded.latent_dim)


def test_reconstructions_are_pixels_between_0_and_1(saved, models, make_pixels):
    pixels = make_pixels(5)
    loaded = artifact.load(saved[0])

    latents, painted = loaded.encode_and_reconstruct(pixels)

    np.testing.assert_array_equal(latents, loaded.encode(pixels))
    assert painted.shape == pixels.shape
    assert painted.min() >= 0
    assert painted.max() <= 1
    straight = models[1].predict_on_batch(latents) * 0.25 + 0.5
    np.testing.assert_allclose(painted, np.clip(straight, 0, 1), atol=1e-5)


def test_a_latent_is_decoded_as_when_an_image_is_reconstructed(saved, make_pixels):
    loaded = artifact.load(saved[0])
    latents, painted = loaded.encode_and_reconstruct(make_pixels(140))

    np.testing.assert_allclose(loaded.decode(latents), painted, atol=1e-6)
    with pytest.raises(ValueError, match="this decoder takes 5"):
        loaded.decode(latents[:, :3])


def test_an_image_has_the_same_latent_in_any_company(saved, make_pixels):
    pixels = make_pixels(200)
    loaded = artifact.load(saved[0])

    whole = loaded.encode(pixels)

    np.testing.assert_array_equal(whole[150:], loaded.encode(pixels)[150:])
    np.testing.assert_allclose(whole[150:], loaded.encode(pixels[150:]), atol=1e-5)
    assert loaded.encode(pixels[:0]).shape == (0, 5)


def test_threads_get_what_one_gets(saved, make_pixels):
    pixels = make_pixels(300)
    loaded = artifact.load(saved[0])
    alone = loaded.encode(pixels)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: loaded.encode(pixels), range(8)))

    for one in found:
        np.testing.assert_allclose(one, alone, atol=1e-5)


def test_the_card_says_what_the_encoder_is(saved):
    folder, card = saved

    assert card == artifact.load(folder).card
    assert card["seed"] == 7
    assert card["latent_dim"] == 5
    assert card["image"] == {"height": 16, "width": 12, "channels": 1}
    assert "transform/lookup.npy" in card["files"]


def test_the_space_follows_the_weights_and_not_the_files(
    saved, models, tmp_path, make_pixels
):
    folder, card = saved
    again = artifact.save(
        str(tmp_path / "again"), *models, f"{folder}/transform", {"seed": 8}
    )
    models[0].set_weights([one + 1 for one in models[0].get_weights()])

    other = artifact.save(str(tmp_path / "x"), *models, f"{folder}/transform", {})

    assert again["space_id"] == card["space_id"]
    assert other["space_id"] != card["space_id"]


@pytest.mark.parametrize(
    "name",
    [
        "encoder.keras",
        "decoder.keras",
        "transform/lookup.npy",
        "transform/transform.json",
        "transform/transform_fn/saved_model.pb",
    ],
)
def test_an_altered_file_is_refused_by_name(saved, name):
    path = pathlib.Path(saved[0], name)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(artifact.ArtifactError, match=path.name):
        artifact.load(saved[0])


@pytest.mark.parametrize("name", ["encoder.keras", "card.json"])
def test_a_missing_file_is_refused_by_name(saved, name):
    pathlib.Path(saved[0], name).unlink()

    with pytest.raises(artifact.ArtifactError, match=name):
        artifact.load(saved[0])


def edit_card(folder, **values):
    path = pathlib.Path(folder, "card.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_newer_format_is_refused_by_name(saved):
    edit_card(saved[0], format_version=2)

    with pytest.raises(artifact.ArtifactError, match="format version 2"):
        artifact.load(saved[0])


def test_a_card_of_another_space_is_refused(saved):
    edit_card(saved[0], space_id="0" * 16)

    with pytest.raises(artifact.ArtifactError, match="its card says 0000"):
        artifact.load(saved[0])


def test_a_card_that_names_a_file_outside_is_refused(saved):
    edit_card(saved[0], files={"../one/encoder.keras": "0"})

    with pytest.raises(artifact.ArtifactError, match="outside"):
        artifact.load(saved[0])


def test_images_of_another_shape_are_refused(saved, make_pixels):
    with pytest.raises(ValueError, match="this encoder takes"):
        artifact.load(saved[0]).encode(make_pixels(2)[:, :8])


def test_a_transform_per_pixel_goes_through_its_saved_graph(
    tmp_path, models, make_pixels, shape
):
    import tensorflow as tf

    folder = tmp_path / "per_pixel"
    rng = np.random.default_rng(0)
    mean, std = rng.uniform(0.3, 0.6, shape), rng.uniform(0.1, 0.3, shape)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def graph(images):
        pixels = tf.reshape(tf.io.decode_raw(images, tf.uint8), [-1, *shape])
        return {"image": (tf.cast(pixels, tf.float32) / 255 - mean) / std}

    tf.saved_model.save(tf.Module(), str(folder / "transform_fn"), signatures=graph)
    card = {
        **{"format_version": 1, "transform_id": "p" * 16, "image_spec_id": "i" * 16},
        **{"normalise": "per_pixel", "mean": mean.tolist(), "std": std.tolist()},
        **shape._asdict(),
        "files": digests(str(folder)),
    }
    (folder / "transform.json").write_text(json.dumps(card))
    artifact.save(str(tmp_path / "one"), *models, str(folder), {})
    pixels = make_pixels(6)

    latents = artifact.load(str(tmp_path / "one")).encode(pixels)

    values = ((pixels / 255 - mean) / std).astype(np.float32)
    straight = models[0].predict_on_batch(values)
    np.testing.assert_allclose(latents, straight, rtol=1e-4, atol=1e-4)


def test_health_counts_what_a_latent_carries():
    latents = np.random.default_rng(0).normal(size=(2000, 4)).astype(np.float32)
    latents[:, 3] = 0

    found = artifact.health(latents)

    assert found["dead_dims"] == 1
    assert 2.9 < found["effective_rank"] <= 3
    assert found["norm_range"][0] < found["norm_range"][1]
