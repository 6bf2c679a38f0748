"""What a preset gives: the parts that are trained, and how the latent is shared."""

from typing import NamedTuple, Self

import keras


class Halves(NamedTuple):
    """How many numbers of a latent come from where.

    Attributes:
        bottleneck: From the bottleneck, which the decoder reads.
        pooled: From the pooled activations.
    """

    bottleneck: int
    pooled: int

    @property
    def total(self) -> int:
        """The numbers of the whole latent."""
        return self.bottleneck + self.pooled

    @classmethod
    def of(cls, latent_dim: int, pooled_share: float, available: int) -> Self:
        """Return the halves nearest to ``pooled_share``; the bottleneck has one."""
        pooled = min(round(latent_dim * pooled_share), available, latent_dim - 1)
        return cls(latent_dim - pooled, pooled)


class Parts(NamedTuple):
    """An autoencoder that can be trained, and what is later made of it.

    Attributes:
        autoencoder: Image to image; this is trained.
        features: Image to bottleneck and pooled activations, side by side.
        decoder: Bottleneck to image.
        halves: How the latent is shared between the two.
    """

    autoencoder: keras.Model
    features: keras.Model
    decoder: keras.Model
    halves: Halves
