"""Where things are in the lake: the only module that joins paths."""

import dataclasses
import os
import re

from pipelines.errors import ConfigError

_OF_A_BUCKET = re.compile(r"(s3|s3a|gs|gcs|az|abfs):")
_WITH_A_NAME = re.compile(r"\w+://[^/]+")


def absolute(root: str) -> str:
    """Return ``root`` as an absolute path, or as it is where it is a URL.

    Raises:
        ConfigError: It is the mistyped URL of a bucket, and means no folder.
    """
    if _OF_A_BUCKET.match(root) and not _WITH_A_NAME.match(root):
        raise ConfigError(f"{root}: names no bucket. Give s3://BUCKET/PREFIX.")
    place = root.removeprefix("file://")
    return place.rstrip("/") if "://" in place else os.path.abspath(place)


@dataclasses.dataclass(frozen=True)
class Lake:
    """The places of one dataset in the lake at ``root``.

    Attributes:
        root: Folder or bucket prefix, absolute.
        dataset: The dataset's name.
    """

    root: str
    dataset: str

    def join(self, *parts: str) -> str:
        """Return the path of ``parts`` below the root."""
        return "/".join((self.root, *parts))

    def own(self, *parts: str) -> str:
        """Return the path of ``parts`` below the dataset's folder."""
        return self.join(self.dataset, *parts)

    @property
    def catalog_file(self) -> str:
        """The SQLite catalog."""
        return self.join("catalog.db")

    @property
    def warehouse(self) -> str:
        """The Iceberg warehouse."""
        return self.join("warehouse")

    def table(self, name: str, *parts: str) -> str:
        """Return a place of one Iceberg table."""
        return self.join("warehouse", self.dataset, name, *parts)

    @property
    def accepted(self) -> str:
        """The pointer to the accepted encoder."""
        return self.own("accepted.json")

    @property
    def lease(self) -> str:
        """The lock file that keeps two publishes of the dataset apart."""
        return self.own("lease.lock")

    @property
    def lease_holder(self) -> str:
        """Who holds the lease: read by those who are refused."""
        return self.own("lease.json")

    @property
    def runs(self) -> str:
        """The folder of all runs."""
        return self.own("runs")

    def run(self, run_id: str, *parts: str) -> str:
        """Return a place of one run."""
        return self.own("runs", run_id, *parts)

    def manifest(self, run_id: str, stage: str) -> str:
        """Return the manifest of ``stage``."""
        return self.run(run_id, f"{stage}.json")

    def shards(self, image_spec_id: str, night: str) -> str:
        """Return the folder of one night's shards under one image spec."""
        return self.own("shards", image_spec_id, night)

    def shard_file(self, shard: str) -> str:
        """Return the path of ``shard``, as the image table names it.

        The image table holds ``<image_spec_id>/<night>/<digest>.tfrecord``.
        """
        return self.own("shards", shard)

    def transform(self, transform_id: str, *parts: str) -> str:
        """Return a place of one fitted transform."""
        return self.own("transforms", transform_id, *parts)

    def analyzer_cache(self, image_spec_id: str, *parts: str) -> str:
        """Return a place of the transform's analyzer cache under one image spec."""
        return self.own("transforms", "cache", image_spec_id, *parts)

    def examples(self, transform_id: str, split: str) -> str:
        """Return the folder of the normalised examples of one split."""
        return self.own("examples", transform_id, split)

    def encoder(self, space_id: str, *parts: str) -> str:
        """Return a place of one encoder."""
        return self.own("encoders", space_id, *parts)

    def tuning(self, *parts: str) -> str:
        """Return a place of what ``tune`` keeps between its calls."""
        return self.own("tuning", *parts)

    def latents(self, space_id: str, *parts: str) -> str:
        """Return a place of the staged latents of one space."""
        return self.own("latents", space_id, *parts)
