"""What the far side meant: errors of object stores in words of ours.

Clients of S3 raise what they like: s3fs raises Python's own errors, botocore and
aiohttp their own, PyArrow (which reads tables for PyIceberg) an OSError with a text.
They are told apart here, by the code that the server gave; wrong keys are a setting,
a lost connection is an accident.
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterator

from pipelines.errors import AccessRefused, ConfigError, LatentlakeError, Unreachable
from pipelines.lake.s3_address import server

WRONG_KEYS = {
    "invalidaccesskeyid", "signaturedoesnotmatch", "xadminusernotfound", "expiredtoken",
    "invalidtoken", "invalidclienttokenid", "tokenrefreshrequired", "notsignedup",
    "expiredtokenexception", "unrecognizedclient", "unrecognizedclientexception",
    "missingauthenticationtoken", "missingsecurityheader", "invalidsecurity",
    "invalidsignature",
}  # fmt: skip
"""Codes of S3 in small letters without ``_``: botocore and PyArrow write them apart."""
REFUSED = {"accessdenied", "403", "forbidden", "allaccessdisabled", "accountproblem"}
NO_BUCKET = {"nosuchbucket"}
ELSEWHERE = {
    "permanentredirect", "301", "authorizationheadermalformed",
    "illegallocationconstraintexception", "invalidregion",
}  # fmt: skip
BUSY = {
    "slowdown", "serviceunavailable", "internalerror", "internalfailure", "throttling",
    "requesttimeout", "networkconnection", "toomanyrequests", "requestthrottled",
    "429", "500", "502", "503", "504",
}  # fmt: skip
SKEWED = {"requesttimetooskewed"}

NO_KEYS = {
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError",
    "ProfileNotFound", "ConfigParseError", "NoAuthTokenError",
    "UnauthorizedSSOTokenError", "TokenRetrievalError", "SSOTokenLoadError",
}  # fmt: skip
NO_ANSWER = {
    "EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError",
    "HTTPClientError", "ClientPayloadError", "ClientConnectionError", "FSTimeoutError",
    "ProxyConnectionError", "IncompleteRead", "IncompleteReadError",
    "ResponseParserError", "ConnectionError", "TimeoutError",
}  # fmt: skip
"""Classes of botocore, aiohttp, fsspec and Python that mean a lost connection."""

_PYARROW = re.compile(r"AWS Error (\w+)")
_UNPARSED = re.compile(r"ExceptionName: (\w+)")
_MISTYPED = re.compile(r"Invalid (endpoint|bucket name)|Parameter validation failed")


@contextlib.contextmanager
def explained(path: str) -> Iterator[None]:
    """Raise what the far side refuses of ``path`` as an error of ours.

    Raises:
        ConfigError: The keys, the bucket or the region are wrong.
        Unreachable: The server does not answer, or not just now.
        FileNotFoundError: There is nothing at ``path``, which it names.
    """
    try:
        yield
    except LatentlakeError:
        raise
    except Exception as error:
        if _of_a_disk(error):
            raise
        meant = meaning(error, path)
        if meant is not None:
            raise meant from error
        if isinstance(error, FileNotFoundError):
            said = os.strerror(errno.ENOENT)
            raise FileNotFoundError(errno.ENOENT, said, path) from error
        raise


def _of_a_disk(error: Exception) -> bool:
    """Return whether ``error`` names a file of this machine: S3's names have no /."""
    name = getattr(error, "filename", None)
    return isinstance(name, str) and os.path.isabs(name)


def meaning(
    error: BaseException, where: str, *, sure: bool = True
) -> LatentlakeError | None:
    """Return what ``error`` means, where it is of a bucket, or ``None``.

    Args:
        error: What a library raised.
        where: The path or lake that it is about.
        sure: Whether it came of asking for ``where``. If not, a lost connection is
            taken for the bucket's only where S3's own client says so.
    """
    for one in _chain(error):
        found = _of_bucket(one, where, sure)
        if found is not None:
            return found
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def _of_bucket(error: BaseException, where: str, sure: bool) -> LatentlakeError | None:
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & NO_KEYS:
        return ConfigError(
            f"{where}: no keys to use ({_first_line(error)}). Set AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE for one of ~/.aws."
        )
    if _MISTYPED.match(str(error)):
        return ConfigError(
            f"{where}: {_first_line(error)}. Look at the path and at AWS_ENDPOINT_URL "
            f"({server()}): http://HOST:PORT, and s3://BUCKET/PREFIX."
        )
    code = _code(error)
    if code is None:
        own = sure or type(error).__module__.startswith(("botocore", "aiobotocore"))
        lost = own and names & NO_ANSWER and "://" in where
        return _no_answer(error, where) if lost else None
    return _by_code(code, error, where)


def _by_code(code: str, error: BaseException, where: str) -> LatentlakeError | None:
    said = _first_line(error)
    if code in WRONG_KEYS:
        return ConfigError(
            f"{where}: {server()} refuses the keys ({code}). Look at "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE), and whether "
            "they are of this server and still valid."
        )
    if code in REFUSED:
        return AccessRefused(
            f"{where}: {server()} refuses this to the keys that were found ({said}). "
            "They are wrong, or lack a right: s3:ListBucket on the bucket, and on its "
            "objects s3:GetObject, s3:PutObject, s3:DeleteObject and "
            "s3:AbortMultipartUpload."
        )
    if code in NO_BUCKET:
        return no_bucket(where)
    if code in ELSEWHERE:
        return ConfigError(
            f"{where}: the bucket is of another region ({said}). Set AWS_REGION to it."
        )
    if code in SKEWED:
        return ConfigError(
            f"{where}: {server()} finds the clock of this machine wrong. Set it."
        )
    return _no_answer(error, where) if code in BUSY else None


def no_bucket(where: str) -> ConfigError:
    """Return the error of a bucket that does not exist."""
    name = where.partition("://")[2].partition("/")[0]
    bucket = f"bucket {name!r}" if name else "such bucket"
    return ConfigError(
        f"{where}: there is no {bucket} at {server()}. Make it, or look at "
        "the path (--lake, source.path) and at AWS_ENDPOINT_URL."
    )


def _no_answer(error: BaseException, where: str) -> Unreachable:
    said = f"{type(error).__name__}: {_first_line(error)}"
    return Unreachable(
        f"{where}: {server()} does not answer ({said[:200]}). Look whether it is up "
        "and whether AWS_ENDPOINT_URL is right, then run the same command again; it "
        "goes on with what stands."
    )


def _code(error: BaseException) -> str | None:
    """Return the code that an S3 server gave, plain, where there is one."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return _plain(str(response.get("Error", {}).get("Code", "")))
    if isinstance(error, OSError):
        text = str(error)
        found = _UNPARSED.search(text) or _PYARROW.search(text)
        return _plain(found[1]) if found else None
    return None


def _plain(code: str) -> str:
    return code.replace("_", "").lower()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
