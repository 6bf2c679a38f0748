"""Where the S3 server is: what the environment says, else the profile of ``~/.aws``."""

import functools
import os

from pipelines.errors import ConfigError


def endpoint() -> str | None:
    """Return the address of the S3 server, where it is not Amazon's.

    Raises:
        ConfigError: The profile that is chosen cannot be read.
    """
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if os.environ.get(name):
            return os.environ[name]
    return _of_profile("endpoint_url")


def region() -> str | None:
    """Return the region that is asked for, by any of its names."""
    given = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return given or _of_profile("region")


@functools.lru_cache(maxsize=8)
def _of_profile(key: str) -> str | None:
    """Return a setting of the profile in ``~/.aws/config`` that is chosen."""
    try:
        from botocore import exceptions, session  # type: ignore[import-untyped]
    except ImportError:
        return None  # nothing of ours asks an S3 server then
    try:
        found = session.Session().get_scoped_config().get(key)
    except exceptions.BotoCoreError as error:
        raise ConfigError(
            f"~/.aws/config: {error}. Look at AWS_PROFILE and at the profiles there."
        ) from error
    return str(found) if found else None


def server() -> str:
    """Return the server as an error names it; never raises."""
    try:
        return endpoint() or "the S3 server"
    except ConfigError:
        return "the S3 server"
