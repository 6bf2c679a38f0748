"""What a Flink of this machine is made of, fetched and built once: jars and Java.

Flink itself is the package ``apache-flink-libraries``, in a folder of its own and
without what it asks for (an older Beam); Maven builds the job server from ``pom.xml``.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import zipfile

from filelock import FileLock

HERE = pathlib.Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
CACHE = CHECKOUT / ".flink" / "cache"
FLINK = "apache-flink-libraries==1.19.3"
JAR = "beam-flink-job-server.jar"
LOCK_PATIENCE_S = 900


class CannotStart(RuntimeError):
    """Something that a cluster needs is not on this machine."""


def lacking() -> str | None:
    """Return what a cluster needs and this machine has not, or ``None``."""
    if shutil.which("java") is None:
        return "there is no Java (17 is what is tried): apt-get install openjdk-17-jre"
    built = cache() / JAR
    if not built.exists() and shutil.which("mvn") is None:
        return f"there is no Maven to build {JAR} with: apt-get install maven"
    return None


def require() -> None:
    """Raise :class:`CannotStart` where this machine lacks something."""
    found = lacking()
    if found:
        raise CannotStart(found)


def cache() -> pathlib.Path:
    """Return where the jars are kept (else where ``LATENTLAKE_FLINK_CACHE`` says)."""
    return pathlib.Path(os.environ.get("LATENTLAKE_FLINK_CACHE") or CACHE)


def job_server_jar() -> pathlib.Path:
    """Return Beam's job server for Flink, built by Maven the first time."""
    require()
    built = cache() / JAR
    with _alone():
        if not built.exists():
            _run("the job server's jar", *_maven(cache() / "target"))
            (cache() / "target" / JAR).rename(built)
            shutil.rmtree(cache() / "target")
    return built


def libraries() -> pathlib.Path:
    """Return the folder of Flink's own jars, installed the first time."""
    place = cache() / "environment"
    folder = place / "pyflink" / "lib"
    with _alone():
        if not any(folder.glob("flink-dist-*.jar")):
            shutil.rmtree(place, ignore_errors=True)
            _run("the Flink distribution", *_installer(), "--target", str(place), FLINK)
    return folder


def nothing() -> pathlib.Path:
    """Return an empty jar, for jobs to bring along: what they need is on the hosts.

    Else every job carries the job server's 157 MB to every host.
    """
    place = cache() / "nothing.jar"
    with _alone():
        if not place.exists():
            with zipfile.ZipFile(place, "w") as jar:
                jar.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n\n")
    return place


def _maven(folder: pathlib.Path) -> list[str]:
    pom = str(HERE / "pom.xml")
    return ["mvn", "-q", "-B", "-f", pom, f"-Dbuilt={folder}", "package"]


def _installer() -> list[str]:
    """Return the command that installs a distribution, without what it depends on."""
    uv = pathlib.Path(sysconfig.get_path("scripts"), "uv")
    if uv.exists():
        return [str(uv), "pip", "install", "--quiet", "--no-deps"]
    return [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]


def _alone() -> FileLock:
    cache().mkdir(parents=True, exist_ok=True)
    return FileLock(cache() / "lock", timeout=LOCK_PATIENCE_S)


def _run(what: str, *command: str) -> None:
    print(f"Making {what}: once, about half a minute", flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise CannotStart(f"{' '.join(command)} failed:\n{said}")
