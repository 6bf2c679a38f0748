import numpy as np
import pytest

from pipelines.pages import latent_map


def clouds(count=120, seed=0):
    rng = np.random.default_rng(seed)
    which = rng.integers(3, size=count)
    latents = rng.normal(size=(count, 6)) * 0.2 + np.eye(3, 6)[which]
    return latents.astype(np.float32), which


def test_like_latents_lie_together_on_the_map():
    latents, which = clouds()

    places = latent_map.place(latents)

    centres = np.stack([places[which == one].mean(axis=0) for one in range(3)])
    nearest = np.linalg.norm(places[:, None] - centres, axis=2).argmin(axis=1)
    assert (nearest == which).mean() > 0.95


def test_latents_that_are_not_numbers_are_placed_all_the_same():
    latents, _ = clouds(40)
    latents[3] = np.nan

    assert np.isfinite(latent_map.place(latents)).all()


def test_many_labels_leave_the_rarest_grey():
    labels = [f"{number:02}" for number in range(20) for _ in range(20 - number)]

    found = latent_map.colours_of([*labels, ""])

    assert len(found) == 20
    assert found["00"] != latent_map.OTHER
    assert found["19"] == latent_map.OTHER


@pytest.mark.parametrize("labels", [["a", "b", ""], ["", "", ""]])
def test_every_image_is_a_point_of_the_map(labels):
    count = 60
    rng = np.random.default_rng(0)
    thumbnails = rng.integers(0, 255, (count, 8, 8, 3), dtype=np.uint8)

    chart = latent_map.plot(
        rng.normal(size=(count, 2)),
        (labels * count)[:count],
        rng.random(count),
        [f"/a/{number}.png" for number in range(count)],
        thumbnails,
    )

    sources = [renderer.data_source.data for renderer in chart.renderers]
    assert sum(len(source["x"]) for source in sources) == count
    assert all(uri.startswith("data:image") for uri in sources[0]["thumbnail"])


@pytest.mark.parametrize(
    ("count", "size"), [(480, (12, 40)), (1500, (12, 40)), (200, (7, 23))]
)
def test_a_banner_uses_each_image_once(count, size):
    rng = np.random.default_rng(0)
    places = rng.normal(size=(count, 2))
    shades = np.linspace(1, 255, count).astype(np.uint8)
    thumbnails = np.broadcast_to(shades[:, None, None, None], (count, 8, 8, 1))

    found = latent_map.banner(places, [""] * count, np.ascontiguousarray(thumbnails))

    tile = latent_map.TILE
    assert found.shape == (size[0] * tile, size[1] * tile, 3)
    assert (found > 0).all()


def test_a_handful_of_images_gives_no_banner():
    places = np.random.default_rng(0).normal(size=(20, 2))

    assert (
        latent_map.banner(places, [""] * 20, np.zeros((20, 8, 8, 1), np.uint8)) is None
    )
