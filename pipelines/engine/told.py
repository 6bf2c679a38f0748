"""What a Beam worker in this process says of an error of ours: nothing.

The error itself comes out of the pipeline, and the stage says it in words; Beam would
print its traceback and log it twice beside that.
"""

import logging
from typing import Any

from apache_beam.runners.worker import sdk_worker

from pipelines.errors import LatentlakeError

LOGGERS = ("apache_beam.runners.common", "apache_beam.runners.worker.sdk_worker")
OURS = "pipelines.errors."


def once() -> None:
    """Leave errors of ours to those who catch them; others are told as ever."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_is_news)  # the same one is added once
    vars(sdk_worker)["print"] = _print  # it prints what it logs in the next line


def _is_news(record: logging.LogRecord) -> bool:
    kind = record.exc_info[0] if record.exc_info else None
    ours = kind is not None and issubclass(kind, LatentlakeError)
    return not ours and OURS not in record.getMessage()


def _print(*words: object, **options: Any) -> None:
    if not any(OURS in str(word) for word in words):
        print(*words, **options)
