"""What every worker of a cluster is asked before a job is sent: who are you?"""

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import socket
import sys
import time
import uuid
from typing import NamedTuple
from urllib.parse import urlsplit

import apache_beam as beam

from pipelines.lake import store

HOLD_S = 0.2
"""So long a slot is kept, that the others get questions as well."""
PACKAGES = ("pipelines", "models")


class Build(NamedTuple):
    """What a worker runs, and must be the same on every host.

    Attributes:
        version: Of this package.
        code: Digest of its files: two checkouts of one version differ here.
        beam: Version of Beam.
        python: Version of Python, without its last number.
    """

    version: str
    code: str
    beam: str
    python: str

    @property
    def words(self) -> str:
        """How people are told of it."""
        return (
            f"latentlake {self.version} (code {self.code}), Beam {self.beam}, Python "
            f"{self.python}"
        )


def build() -> Build:
    """Return what this process runs."""
    return Build(
        version=importlib.metadata.version("latentlake"),
        code=_code(),
        beam=importlib.metadata.version("apache-beam"),
        python=".".join(platform.python_version_tuple()[:2]),
    )


@functools.cache
def _code() -> str:
    digest = hashlib.sha256()
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        for place in (spec.submodule_search_locations or []) if spec else []:
            root = pathlib.Path(place)
            for file in sorted(root.rglob("*.py")):
                digest.update(file.relative_to(root).as_posix().encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


class Ask(beam.DoFn):
    """Answer into a file of the lake: that the worker sees it is asked as well."""

    def __init__(self, folder: str, master: str) -> None:
        self._folder = folder  # plain values only: this is pickled
        self._master = master

    def process(self, element: int) -> None:
        answer = build()._asdict() | {
            "host": own_address(self._master),
            "executable": sys.executable,
            "pid": os.getpid(),
        }
        store.write_json(f"{self._folder}/{uuid.uuid4().hex}.json", answer)
        time.sleep(HOLD_S)


def own_address(master: str) -> str:
    """Return the address under which the master sees this host."""
    place = urlsplit(master)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(
            (place.hostname or "localhost", place.port or 8081)
        )  # sends nothing
        return str(one.getsockname()[0])
