"""Open the Iceberg catalog of a lake."""

import functools
import os
import re
from typing import TYPE_CHECKING

from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import (
    RESTError,
    ServerError,
    ServiceUnavailableError,
    TooManyRequestsError,
)
from pyiceberg.utils.config import Config

from pipelines.errors import ConfigError, LatentlakeError, Unreachable
from pipelines.lake import bucket, database, s3_address, store
from pipelines.lake.layout import Lake

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

VARIABLE = "LATENTLAKE_CATALOG"
NAME = "latentlake"
"""The name that our tables have in a shared SQL catalog, and in `.pyiceberg.yaml`."""
BUSY = (ServerError, ServiceUnavailableError, TooManyRequestsError)
"""What PyIceberg makes of a REST server's answers that another try may mend."""
_SECRET = re.compile(
    r"((?:password|passwd|pwd|secret|token|credential|apikey|api_key)=)[^&\s)'\"]+",
    re.I,
)


def open_catalog(lake: Lake) -> "Catalog":
    """Return the catalog of ``lake``: the SQLite file in it, or the one named.

    ``LATENTLAKE_CATALOG`` is the URI of a catalog (``postgresql+psycopg2://…``,
    ``https://…`` for REST) or the name of one that ``.pyiceberg.yaml`` describes.

    Raises:
        ConfigError: The catalog or the bucket does not open, or there is no catalog
            for a lake in a bucket.
        Unreachable: A server does not answer.
    """
    given = os.environ.get(VARIABLE, "")
    name, properties = _named(given) if given else _own(lake)
    if not store.is_local(lake.root):
        bucket.require(lake.root)  # PyArrow would take wrong keys for a missing file
        properties = _of_server(name) | properties
    try:
        return _open(
            name,
            tuple({**properties, "warehouse": lake.warehouse}.items()),
            os.getpid(),
        )
    except Exception as error:
        # Any driver may raise here; the caller cannot know which catalog was meant.
        meant = explain(error)
        if meant is not None:
            raise meant from error
        shown = _without_password(given or properties["uri"])
        raise ConfigError(
            f"catalog {shown}: does not open ({type(error).__name__}: "
            f"{_first_line(error)}). Set {VARIABLE} to the URI of a catalog that "
            "PyIceberg opens, or to the name of one in .pyiceberg.yaml; unset it for "
            "the SQLite file of a local lake."
        ) from error


def explain(error: BaseException) -> LatentlakeError | None:
    """Return what ``error`` of a catalog's server means, where that is known."""
    meant = database.explain(error)
    if meant is not None or not _no_answer(error):
        return meant
    return Unreachable(
        f"the catalog {_without_password(os.environ.get(VARIABLE, NAME))} does not "
        f"answer ({type(error).__name__}: {_first_line(error)}). Look whether it is up "
        f"and whether {VARIABLE} is right, then run the same command again."
    )


def _no_answer(error: BaseException) -> bool:
    """Return whether a REST catalog was not reached, was lost, or is not well."""
    if isinstance(error, RESTError):
        return isinstance(error, BUSY)
    from requests import exceptions as http  # PyIceberg's client for REST

    if isinstance(error, http.SSLError):
        return False  # a certificate does not mend itself
    return isinstance(error, http.ConnectionError | http.Timeout)


def is_there(lake: Lake) -> bool:
    """Return whether :func:`open_catalog` would find a catalog, and make none."""
    given = bool(os.environ.get(VARIABLE)) or not store.is_local(lake.root)
    return given or os.path.exists(lake.catalog_file)


@functools.lru_cache(maxsize=8)
def _open(name: str, properties: tuple[tuple[str, str], ...], pid: int) -> "Catalog":
    """Return one catalog, opened once in each process: a forked one opens its own."""
    wanted = dict(properties)
    if wanted.get("type") == "sql":
        wanted |= {"uri": database.patient(wanted["uri"]), "pool_pre_ping": "true"}
    for again in (True, True, False):
        try:
            catalog = load_catalog(name, **wanted)
        except Exception as error:
            if not (again and database.lost_a_race(error)):
                raise
        else:
            break
    database.watch(catalog)
    return catalog


def _own(lake: Lake) -> tuple[str, dict[str, str]]:
    if not store.is_local(lake.root):
        raise ConfigError(
            f"lake {lake.root}: a bucket holds no SQLite catalog. Set {VARIABLE} to "
            "the URI of a Postgres or REST catalog that every host reaches, or, for "
            "one machine only, to a file of it: sqlite:////var/lib/nights.db"
        )
    os.makedirs(lake.root, exist_ok=True)
    return NAME, {"type": "sql", "uri": f"sqlite:///{lake.catalog_file}"}


def _of_server(name: str) -> dict[str, str]:
    """Return what PyIceberg is told of the S3 server: all but the keys.

    PyArrow finds these as we do, in the environment and the AWS files; the address and
    the region of a profile it does not look for. ``.pyiceberg.yaml`` wins.
    """
    known = Config().get_catalog_config(name) or {}
    endpoint = s3_address.endpoint()
    found = {
        "s3.endpoint": endpoint,
        "s3.region": s3_address.region() or (endpoint and bucket.ANY_REGION),
        "s3.connect-timeout": str(bucket.CONNECT_S),
        "s3.request-timeout": str(bucket.READ_S),
    }
    return {key: value for key, value in found.items() if value and key not in known}


def _named(given: str) -> tuple[str, dict[str, str]]:
    if "://" not in given:
        return given, {}
    kind = "rest" if given.startswith(("http://", "https://")) else "sql"
    return NAME, {"type": kind, "uri": given}


def _first_line(error: BaseException) -> str:
    lines = _without_password(str(error)).splitlines()
    return lines[0] if lines else "no message"


def _without_password(text: str) -> str:
    """Return ``text`` with the secrets of its URI masked.

    They stand between ``://user:`` and ``@``, or in a query such as ``?password=…``.
    """
    text = _SECRET.sub(r"\1***", text)
    scheme, mark, rest = text.partition("://")
    user, at, host = rest.rpartition("@")
    if not (mark and at and ":" in user):
        return text
    return f"{scheme}://{user.partition(':')[0]}:***@{host}"
