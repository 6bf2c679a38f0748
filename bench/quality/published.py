"""Figures that others published: frozen features, no labels used to learn them."""

from typing import NamedTuple


class Figure(NamedTuple):
    """One published figure.

    Attributes:
        dataset: Whose test images.
        method: What made the features.
        linear: Accuracy of a linear classifier, in percent, as published.
        knn: Accuracy of nearest neighbours, in percent.
        size: Numbers in a feature vector.
        source: Where the figure stands.
        seen: Whether it was read there; else it is from memory of the paper.
    """

    dataset: str
    method: str
    linear: str
    knn: str
    size: str
    source: str
    seen: bool = True


_SOLO = "README of solo-learn (da Costa et al. 2022)"
_HIP = "model card HugoPlanchat/self-supervised-to-jepa"

PUBLISHED = (
    Figure("cifar10", "raw pixels", "37.3", "", "3,072",
           "Coates, Ng and Lee 2011, table 1", seen=False),
    Figure("cifar10", "sparse autoencoder, one layer, 1,600 units, whitened patches",
           "73.4", "", "6,400", "Coates, Ng and Lee 2011, table 1", seen=False),
    Figure("cifar10", "k-means patches, one layer, 4,000 units, whitened",
           "79.6", "", "16,000", "Coates, Ng and Lee 2011"),
    Figure("cifar10", "whitened random patches of the data, 2k / 16k / 64k",
           "82.3 / 85.6 / 86.2", "", "about 10⁵",
           "README of louity/patches (Thiry et al. 2021)"),
    Figure("cifar10", "sparse manifold transform, one pass, no augmentation / grey",
           "", "81.1 / 83.2", "10³–10⁴", "Chen et al. 2022, arXiv 2209.15261"),
    Figure("cifar10", "convolutional autoencoder / VAE, 64 numbers (MLP probe)",
           "54 / 55", "", "64", "Hjelm et al. 2019, table 1", seen=False),
    Figure("cifar10", "masked autoencoder, ViT, 100 epochs", "44.3–49.3", "", "128",
           "keras.io example; README of ariG23498/mae-scalable-vision-learners"),
    Figure("cifar10", "masked autoencoder, ViT-Tiny, STL-10's unlabelled images",
           "49.1", "46.8", "128", _HIP),
    Figure("cifar10", "SimCLR, in the same comparison", "72.9", "74.2", "128", _HIP),
    Figure("cifar10", "EMP-SSL, ResNet-18, 1 epoch / under 10 epochs", "85.1 / 91.5",
           "", "", "Tong et al. 2023, arXiv 2304.03977"),
    Figure("cifar10", "VICReg, ResNet-18, 500 epochs, one GPU", "85.5", "", "512",
           "README of augustwester/vicreg"),
    Figure("cifar10", "SimCLR / VICReg / BYOL, ResNet-18, 1,000 epochs (online probe)",
           "90.7 / 92.1 / 92.6", "", "512", _SOLO),
    Figure("cifar10", "Mixed Barlow Twins, ResNet-18", "92.6", "90.5", "512",
           "model card wgcban/mix-bt"),
    Figure("cifar10", "denoising diffusion autoencoder (EDM), 36–56 M parameters",
           "95.9", "", "", "Xiang et al. 2023, arXiv 2303.09769, and its README"),
    Figure("fashion", "raw pixels, logistic regression", "about 84", "", "784",
           "benchmark of zalandoresearch/fashion-mnist", seen=False),
    Figure("fashion", "raw pixels, SVM with RBF kernel (not linear)", "89.7", "", "784",
           "benchmark of zalandoresearch/fashion-mnist", seen=False),
)  # fmt: skip
