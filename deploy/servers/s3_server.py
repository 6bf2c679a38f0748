"""A real S3 server on this machine, for trials and tests: versitygw, or moto's.

    python deploy/servers/s3_server.py FOLDER [--bucket NAME] [--host ADDRESS]

Serves what lies in the folder until Ctrl-C and prints the variables to export. It is
versitygw, built by Go the first time (two minutes) into ``.servers/`` of this checkout;
where there is no Go it is moto's server, which checks no keys and forgets everything
when it stops. ``make_bucket`` and the keys are for this machine's own use.
"""

import argparse
import contextlib
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from filelock import FileLock
from processes import CannotStart, end_with_us, free_port

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
MODULE = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
REGION = "us-east-1"
BUILD_PATIENCE_S = 1200
START_PATIENCE_S = 60.0
STOP_PATIENCE_S = 10.0


class Server:
    """An S3 server that serves the folders of ``folder`` as buckets.

    Attributes:
        endpoint: Its URL.
        key: The access key.
        secret: The secret key.
        is_real: Whether it refuses wrong keys, and keeps what it holds over a stop:
            versitygw does, moto does not.
    """

    def __init__(self, folder: pathlib.Path, host: str, port: int) -> None:
        self._folder = folder
        self._host, self._port = host, port or free_port(host)
        self._process: subprocess.Popen | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open while it serves
        self.key = secrets.token_hex(10)
        self.secret = secrets.token_hex(20)
        self.endpoint = f"http://{host}:{self._port}"
        self.is_real = go() is not None or binary().exists()

    def environment(self) -> dict[str, str]:
        """Return the variables that lead any S3 client here."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def make_bucket(self, name: str) -> str:
        """Make a bucket, unless it stands, and return its URL."""
        client = self.client()
        known = {one["Name"] for one in client.list_buckets()["Buckets"]}
        if name not in known:
            client.create_bucket(Bucket=name)
        return f"s3://{name}"

    def client(self):
        """Return botocore's own client of this server, whatever the environment."""
        from botocore import session

        return session.Session().create_client(
            "s3",
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
        )

    def start(self) -> None:
        """Start to serve, on the same address as before, and wait until it answers."""
        command, env = self._versitygw() if self.is_real else self._moto()
        self._process = subprocess.Popen(
            command,
            env=os.environ | env,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us: we stop it
            preexec_fn=end_with_us(),
        )
        deadline = time.monotonic() + START_PATIENCE_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise CannotStart(
                    f"{' '.join(command)}: does not serve.\n{self._said()}"
                )
            time.sleep(0.05)

    def stop(self, signum: int = signal.SIGTERM) -> None:
        """Stop to serve at once; what was stored stands (with versitygw)."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signum)
        try:
            process.wait(STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection((self._host, self._port), timeout=1.0),
        ):
            return True
        return False

    def _versitygw(self) -> tuple[list[str], dict[str, str]]:
        self._folder.mkdir(parents=True, exist_ok=True)
        address = f"{self._host}:{self._port}"
        command = [str(built()), "--port", address, "--region", REGION]
        # Without --keep-alive: with it, one of PyArrow's uploads in 100 is refused.
        command += ["--quiet", "posix"]
        if not _keeps_attributes(self._folder):
            aside = self._folder.with_name(f"{self._folder.name}.attributes")
            aside.mkdir(exist_ok=True)
            command += ["--sidecar", str(aside)]
        keys = {"ROOT_ACCESS_KEY": self.key, "ROOT_SECRET_KEY": self.secret}
        return [*command, str(self._folder)], keys

    def _moto(self) -> tuple[list[str], dict[str, str]]:
        where = ["-H", self._host, "-p", str(self._port)]
        return [sys.executable, "-m", "moto.server", *where], {}

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read()[-2000:].decode("utf-8", "replace")


@contextlib.contextmanager
def serving(
    folder: str | os.PathLike[str], host: str = "127.0.0.1", port: int = 0
) -> Iterator[Server]:
    """Yield a server of what lies in ``folder``; it ends with the block.

    Args:
        folder: Where the buckets lie, each a folder.
        host: The address to listen on; another than the default is reached by other
            machines and network namespaces.
        port: The port; a free one by default.
    """
    server = Server(pathlib.Path(folder).resolve(), host, port)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def cache() -> pathlib.Path:
    """Return where the server is kept; ``LATENTLAKE_SERVERS`` names another place."""
    return pathlib.Path(os.environ.get("LATENTLAKE_SERVERS") or CHECKOUT / ".servers")


def binary() -> pathlib.Path:
    """Return the place of versitygw, built or not."""
    return cache() / "versitygw"


def go() -> str | None:
    """Return Go's command, if there is one."""
    return shutil.which("go") or shutil.which("/usr/local/go/bin/go")


def built() -> pathlib.Path:
    """Return versitygw, built the first time."""
    cache().mkdir(parents=True, exist_ok=True)
    with FileLock(cache() / "versitygw.lock", timeout=BUILD_PATIENCE_S):
        if not binary().exists():
            print(f"Building {MODULE}: once, some two minutes", file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=cache()) as made:
                _build(made)
                os.replace(pathlib.Path(made, "versitygw"), binary())
    return binary()


def _build(folder: str) -> None:
    done = subprocess.run(
        [go() or "go", "install", MODULE],
        env=os.environ | {"GOBIN": folder, "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotStart(f"go install {MODULE} failed:\n{done.stderr[-2000:]}")


def _keeps_attributes(folder: pathlib.Path) -> bool:
    """Return whether files there can carry what S3 knows of an object."""
    with tempfile.NamedTemporaryFile(dir=folder) as probe:
        try:
            os.setxattr(probe.name, "user.latentlake", b"1")
        except (OSError, AttributeError):
            return False
    return True


def main(arguments: list[str]) -> int:
    """Serve until Ctrl-C; print what to export."""
    parser = argparse.ArgumentParser(
        prog="s3_server.py", description="An S3 server on this machine, until Ctrl-C."
    )
    parser.add_argument("folder", help="where the buckets lie, each a folder")
    parser.add_argument("--bucket", default="lake", help="made where it is missing")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=0, help="a free one by default")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with serving(given.folder, given.host, given.port) as server:
            for name, value in server.environment().items():
                print(f"export {name}={value}")
            lake = f"{server.make_bucket(given.bucket)}/nights"
            print(f"# a lake: --lake {lake}", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        pass
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
