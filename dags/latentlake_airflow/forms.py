"""The form of a night: what may be asked of one run, typed; and what it becomes."""

from collections.abc import Iterable, Mapping
from typing import Any

from airflow.sdk import Param

FLAGS = {
    "source": "--source.path",
    "retrain": "--retrain",
    "preset": "--encoder.preset",
    "epochs": "--train.epochs",
    "latent_dim": "--encoder.latent-dim",
}
"""The flag of the first stage for each field that has one."""
OWN = "own"
"""Chosen where the dataset's own encoder is wanted."""
PRESETS = {
    "instance": "instance: a network that knows every image; the default",
    "patch": "patch: patches in closed form; a minute on one core",
    "conv": "conv: the textbook autoencoder",
    "resnet": "resnet: a residual network that knows two views as one; for GPUs",
    "vit": "vit: a masked autoencoder with attention; for GPUs",
    "fusion": "fusion: several encoders, whitened together",
}
"""The encoders there are; a DAG file cannot ask the package, which may not be here."""


def night_form(source: str) -> dict[str, Param]:
    """Return the fields of a nightly DAG whose dataset reads ``source``."""
    return {
        "night": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Night",
            description="The date this run stands for. Empty: the date it is due.",
        ),
        "source": Param(
            None,
            type=["null", "string"],
            minLength=1,
            title="Source",
            description="Folder, file or glob to read in place of the dataset's own "
            f"({source}). What lies elsewhere is not taken for gone.",
        ),
        "retrain": Param(
            "auto",
            type="string",
            enum=["auto", "always", "never"],
            values_display={
                "auto": "When it is due (calendar, drift, changed settings)",
                "always": "Yes, tonight",
                "never": "No, keep the accepted encoder",
            },
            title="Train anew?",
            description="Where no encoder was ever accepted, one is trained anyway.",
        ),
        "preset": Param(
            OWN,
            type="string",
            enum=[OWN, *PRESETS],
            values_display={OWN: "As the dataset says", **PRESETS},
            title="Encoder",
            description="The preset. Another than the dataset's has settings of its "
            "own, and makes training due.",
        ),
        "epochs": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=10_000,
            title="Epochs",
            description="Passes over the training images, if it trains. "
            "Empty: as the dataset says.",
        ),
        "latent_dim": Param(
            None,
            type=["null", "integer"],
            minimum=2,
            maximum=4096,
            title="Latent size",
            description="Numbers in a latent. Another size than the accepted "
            "encoder's makes training due. Empty: as the dataset says.",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Only say what would be done; decode and write nothing.",
        ),
    }


def flags_of(params: Mapping[str, Any]) -> list[str]:
    """Return the first stage's arguments for the values of the form."""
    asked = {field: params.get(field) for field in FLAGS}
    if asked["preset"] == OWN:
        asked["preset"] = None
    words = []
    for field, value in asked.items():
        if value is not None:
            words += [FLAGS[field], str(value)]
    return [*words, "--dry-run"] if params.get("dry_run") else words


def unknown(conf: Mapping[str, Any] | None, known: Iterable[str]) -> list[str]:
    """Return the keys of a run's ``conf`` that the form does not have."""
    return sorted(set(conf or {}) - set(known))
