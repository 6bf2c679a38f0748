"""The files of TFT's analyzer cache: one small file for each part of a night.

TFT's own files come from Beam's sinks, each of which adds seconds to a job; a cache of
many nights would then cost more than the analysis that it saves.
"""

import glob
import hashlib
import pathlib

import apache_beam as beam


class WriteCache(beam.PTransform):
    """Put each element, which is bytes, into a file of its own beside ``path``."""

    def __init__(self, path: str) -> None:
        self._path = path

    def expand(self, parts: beam.PCollection) -> beam.PCollection:
        return parts | "Write" >> beam.Map(_write, self._path)


class ReadCache(beam.PTransform):
    """Read the files that :class:`WriteCache` made, by TFT's pattern of their names."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        files = sorted(glob.glob(self._pattern))
        return pipeline | beam.Create([pathlib.Path(one).read_bytes() for one in files])


def _write(data: bytes, path: str) -> str:
    digest = hashlib.sha256(data).hexdigest()[:16]
    file = pathlib.Path(f"{path}-{digest}-of-1")  # TFT looks for PATH-*-of-*
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return str(file)
