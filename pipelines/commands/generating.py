"""How generate works: latents are drawn, decoded, written, and held against images."""

import json
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from models import critic, density, frechet, objectives
from models.artifact import Artifact
from models.critic import Critic
from models.density import Density
from pipelines.commands.generate import REPORT, SHEET, Wish
from pipelines.commands.telling import telling
from pipelines.errors import ConfigError
from pipelines.lake import inventory, tables
from pipelines.lake.layout import Lake
from pipelines.pages import contact_sheet
from pipelines.stages.sample import Sample, choose, ranks

FORMAT_VERSION = 1
TRAINING = 10_000
"""Training images whose latents the density is fitted on, at most (by hash)."""
HELD_OUT = 10_000
"""Held-out images that distances are measured to, at most (by hash)."""
LEAST = 50
"""Fewer images than this, of either split, say nothing of a distribution."""
AT_ONCE = 500
"""Latents that are drawn and decoded at once."""
NEIGHBOURS = 1000
"""Images whose nearest training image is looked for, at most."""
LIMIT = 0.9
"""Nearer to training images than this share of what is usual: learned by heart."""


class Images(NamedTuple):
    """The images of a dataset that an encoder can be asked about."""

    train: Sample
    held_out: Sample


class Seen(NamedTuple):
    """What was seen of some images.

    Attributes:
        latents: Of shape ``(n, d)``.
        real: Features of the images, ``(n, f)``.
        painted: Features of their reconstructions, ``(n, f)``.
    """

    latents: np.ndarray
    real: np.ndarray
    painted: np.ndarray


class Prior(NamedTuple):
    """What a variational encoder was trained towards: codes like N(0, 1).

    Attributes:
        encoder: The encoder; its latents are its codes whitened.
    """

    encoder: Artifact

    def sample(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return ``count`` latents, float32, ``(count, d)``."""
        return objectives.prior(self.encoder.decoder, count, rng)

    def describe(self) -> dict[str, Any]:
        """Return what it is, as JSON can hold it."""
        return density.prior(self.encoder.latent_dim).describe()


def make(lake: Lake, encoder: Artifact, wish: Wish, folder: str) -> dict[str, Any]:
    """Fill ``folder`` with new images, a sheet and their figures; return these."""
    images = images_of(lake, encoder)
    total = max(wish.count, len(images.train))
    with telling(6) as tell:
        tell("fitting the features that judge")
        judge = critic.fit(images.train.batches)
        tell(f"encoding {len(images.train):,} training images")
        train = look(encoder, judge, images.train)
        tell(f"encoding {len(images.held_out):,} held-out images")
        held_out = look(encoder, judge, images.held_out)
        tell("fitting the density of their latents")
        found = choose_density(encoder, train.latents, wish)
        tell(f"drawing and decoding {total:,} latents")
        drawn = draw(encoder, judge, found, wish, (total, folder))
        tell("decoding noise, and comparing")
        noise = judge.features(encoder.decode(noise_like(train.latents, wish.seed)))
    apart = distances(train, held_out, drawn, noise)
    figures = {
        "format_version": FORMAT_VERSION,
        "dataset": lake.dataset,
        "space_id": encoder.space_id,
        "preset": encoder.card.get("preset"),
        "count": wish.count,
        "seed": wish.seed,
        "density": found.describe(),
        "judged_by": judge.describe(),
        "images": {"training": len(train.real), "held_out": len(held_out.real)},
        "frechet": apart,
        "neighbours": neighbours(train, held_out, drawn),
    }
    sheet = contact_sheet.draw(_shown(images.held_out), _first(folder), figures)
    with open(os.path.join(folder, SHEET), "wb") as file:
        file.write(sheet)
    with open(os.path.join(folder, REPORT), "w", encoding="utf-8") as file:
        json.dump(figures, file, indent=1)
    return figures


def images_of(lake: Lake, encoder: Artifact) -> Images:
    """Return the images that have the shape that ``encoder`` was trained on.

    Raises:
        ConfigError: There are too few of them.
    """
    snapshot = tables.main_ids(lake).images
    corpus = inventory.corpus_of(tables.read_images(lake, snapshot), None)
    spec = f"{encoder.card['image_spec_id']}/"
    same = [str(shard).startswith(spec) for shard in corpus["shard"].to_pylist()]
    corpus = corpus.filter(np.array(same, dtype=bool))
    found = Images(
        Sample(lake, choose(corpus, "train", TRAINING)),
        Sample(lake, choose(corpus, "eval", HELD_OUT)),
    )
    for name, sample in zip(("training", "held-out"), found, strict=True):
        if len(sample) < LEAST:
            raise ConfigError(
                f"{lake.dataset}: has {len(sample)} published {name} images of the "
                f"image spec of space {encoder.space_id}, and {LEAST} are the fewest "
                "that a density can be fitted to and judged by. Add images and run a "
                "night, or choose another --space."
            )
    return found


def look(encoder: Artifact, judge: Critic, images: Sample) -> Seen:
    """Return the latents of ``images``, and the features before and after coding."""
    parts = []
    for pixels in images.batches():
        latents, painted = encoder.encode_and_reconstruct(pixels)
        parts.append(Seen(latents, judge.features(pixels), judge.features(painted)))
    return Seen(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def choose_density(
    encoder: Artifact, latents: np.ndarray, wish: Wish
) -> Density | Prior:
    """Return the density that is wished for; of a variational encoder, its prior."""
    variational = encoder.card.get("encoder", {}).get("kl", 0.0) > 0.0
    name = wish.density
    if name == "auto":
        name = "prior" if variational else "mixture"
    if name == "prior":
        numbers = encoder.latent_dim
        return Prior(encoder) if variational else density.prior(numbers)
    weights = reach(encoder, latents)
    if name == "gaussian":
        return density.gaussian(latents, weights)
    return density.mixture(latents, weights)


def reach(encoder: Artifact, latents: np.ndarray) -> np.ndarray:
    """Return how much a decoded image changes with each number of its latent, (d,)."""
    mean, spread = latents.mean(axis=0), latents.std(axis=0)
    moved = []
    for start in range(0, len(mean), AT_ONCE):
        steps = np.diag(spread)[start : start + AT_ONCE]
        up, down = encoder.decode(mean + steps), encoder.decode(mean - steps)
        moved.append(np.sqrt(np.mean((up - down) ** 2, axis=(1, 2, 3))))
    per_unit = np.concatenate(moved) / np.maximum(spread, 1e-12)
    return np.where(spread > 0.0, per_unit, 0.0) if per_unit.any() else spread + 1.0


def draw(
    encoder: Artifact,
    judge: Critic,
    found: Density | Prior,
    wish: Wish,
    where: tuple[int, str],
) -> np.ndarray:
    """Write the first images that are drawn; return the features of all of them."""
    total, folder = where
    os.makedirs(os.path.join(folder, "images"))
    features = []
    for start in range(0, total, AT_ONCE):
        rng = np.random.default_rng([wish.seed, start])
        painted = encoder.decode(found.sample(AT_ONCE, rng)[: total - start])
        features.append(judge.features(painted))
        for number, image in enumerate(painted[: max(0, wish.count - start)], start):
            path = os.path.join(folder, "images", f"{number:06}.png")
            Image.fromarray(_bytes(image)).save(path)
    return np.concatenate(features)


def noise_like(latents: np.ndarray, seed: int) -> np.ndarray:
    """Return as much normal noise with the variance of each number, and no more."""
    rng = np.random.default_rng([seed, len(latents), 1])
    noise = rng.standard_normal(latents.shape)
    return (latents.mean(axis=0) + noise * latents.std(axis=0)).astype(np.float32)


def distances(
    train: Seen, held_out: Seen, drawn: np.ndarray, noise: np.ndarray
) -> dict[str, float]:
    """Return how far each kind of image is from held-out images."""
    real = frechet.gaussian_of(held_out.real)
    return {
        name: frechet.distance(frechet.gaussian_of(features), real)
        for name, features in (
            ("training", train.real),
            ("reconstructions", held_out.painted),
            ("generated", drawn[: len(train.real)]),
            ("noise", noise),
        )
    }


def neighbours(train: Seen, held_out: Seen, drawn: np.ndarray) -> dict[str, Any]:
    """Return how much nearer to training images new ones are than unseen ones.

    All as the decoder paints them, else what it blurs would count as nearness.
    """
    new, usual = (
        float(np.median(_nearest(each[:NEIGHBOURS], train.painted)))
        for each in (drawn, held_out.painted)
    )
    ratio = new / max(usual, 1e-12)
    return {"ratio": round(ratio, 4), "limit": LIMIT, "ok": ratio >= LIMIT}


def _nearest(rows: np.ndarray, known: np.ndarray) -> np.ndarray:
    from sklearn.neighbors import NearestNeighbors

    found, _ = NearestNeighbors(n_neighbors=1).fit(known).kneighbors(rows)
    return np.asarray(found[:, 0])


def _shown(held_out: Sample) -> np.ndarray:
    """Return some held-out images, whatever order their source has."""
    places = np.argsort(ranks(held_out.rows))[: contact_sheet.TILES]
    return held_out.pick([int(place) for place in places])


def _first(folder: str) -> np.ndarray:
    found = list(_images(os.path.join(folder, "images")))
    return np.stack(found)


def _images(folder: str) -> Iterator[np.ndarray]:
    for name in sorted(os.listdir(folder))[: contact_sheet.TILES]:
        with Image.open(os.path.join(folder, name)) as image:
            pixels = np.asarray(image)
            yield pixels.reshape(*pixels.shape[:2], -1)


def _bytes(image: np.ndarray) -> np.ndarray:
    """Return an image in [0, 1], ``(h, w, c)``, as Pillow takes it."""
    whole = np.rint(image * 255.0).astype(np.uint8)
    return whole[:, :, 0] if whole.shape[2] == 1 else whole
