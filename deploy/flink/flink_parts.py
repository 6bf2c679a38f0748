"""The processes of a cluster: how each is started, found again and ended.

Every process carries the cluster's home in its environment, and so do the ones it
starts: whatever became of the rest, they are found by it and by nothing else.
"""

import os
import pathlib
import signal
import string
import subprocess
import sys
from typing import NamedTuple

import flink_install
import psutil

CONF = pathlib.Path(__file__).resolve().parent / "conf"
HOME_MARK = "LATENTLAKE_FLINK_HOME"
PART_MARK = "LATENTLAKE_FLINK_PART"
GRACE_S = 20.0
OPENED = (
    "java.base/java.lang",
    "java.base/java.lang.invoke",
    "java.base/java.lang.reflect",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.net",
    "java.base/java.io",
    "java.base/java.nio",
    "java.base/java.text",
    "java.base/java.time",
    "java.base/sun.nio.ch",
    "java.base/sun.net.util",
)
"""What Flink 1.19 and Kryo look into, and Java 17 keeps shut."""
MASTER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
WORKER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
POOL = "apache_beam.runners.worker.worker_pool_main"


class Part(NamedTuple):
    """One process of a cluster.

    Attributes:
        name: What it is known by: ``jobmanager``, ``taskmanager-1``, ``pool-1`` …
        command: What is run.
        namespace: The host that it runs on, ``None`` for this machine itself.
        core: The only core it may use, ``None`` for all.
    """

    name: str
    command: list[str]
    namespace: str | None = None
    core: int | None = None


def java(kind: str, folder: pathlib.Path, values: dict[str, object]) -> list[str]:
    """Return the command of a ``master`` or ``worker``; its settings go to ``folder``.

    ``values`` fill in what ``conf/<kind>.yaml`` leaves open.
    """
    for inside in (folder / "tmp", folder / "upload"):
        inside.mkdir(parents=True, exist_ok=True)
    template = string.Template((CONF / f"{kind}.yaml").read_text())
    filled = template.substitute(values, folder=folder)
    (folder / "config.yaml").write_text(filled)
    heap = "512m" if kind == "master" else "896m"
    return [
        "java",
        f"-Xmx{heap}",
        f"-Dlog4j.configurationFile=file:{CONF / 'log4j.properties'}",
        *(f"--add-opens={one}=ALL-UNNAMED" for one in OPENED),
        "-cp",
        # the job server's jar holds what Beam does on the hosts; Flink's own come first
        f"{flink_install.libraries()}/*:{flink_install.job_server_jar()}",
        MASTER if kind == "master" else WORKER,
        "--configDir",
        str(folder),
    ]


def pool(port: int) -> list[str]:
    """Return the command of a Beam worker pool."""
    return [sys.executable, "-m", POOL, f"--service_port={port}"]


def job_server(master: str, port: int) -> list[str]:
    """Return the command of Beam's job server, which hands jobs to ``master``."""
    return [
        "java",
        "-Xmx512m",
        "-jar",
        str(flink_install.job_server_jar()),
        "--flink-master",
        master,
        "--job-host",
        "127.0.0.1",
        "--job-port",
        str(port),
        "--artifact-port",
        "0",
        "--expansion-port",
        "0",
    ]


def start(home: pathlib.Path, part: Part, env: dict[str, str]) -> None:
    """Start ``part``, unless it runs; its words go to a file in ``home``.

    ``env`` is added to the environment; the interpreter that runs this is the first
    ``python`` on the path, since that name is what a worker pool starts.
    """
    if part.name in leaders(home):
        return
    command = part.command
    if part.core is not None:
        command = ["taskset", "-c", str(part.core), *command]
    if part.namespace is not None:
        command = ["ip", "netns", "exec", part.namespace, *command]
    path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    marks = {HOME_MARK: str(home), PART_MARK: part.name}
    with (home / f"{part.name}.log").open("ab") as log:
        subprocess.Popen(
            command,
            cwd=home,
            env=os.environ | {"PATH": path} | env | marks,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def processes(home: pathlib.Path) -> list[psutil.Process]:
    """Return every living process of the cluster in ``home``."""
    return [one for one in psutil.process_iter() if _mark(one, HOME_MARK) == str(home)]


def leaders(home: pathlib.Path) -> dict[str, psutil.Process]:
    """Return the process of each part that runs."""
    return {
        _mark(one, PART_MARK): one
        for one in processes(home)
        if os.getsid(one.pid) == one.pid
    }


def _mark(process: psutil.Process, name: str) -> str:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return process.environ().get(name, "")
    except (psutil.Error, OSError):
        return ""


def end(found: list[psutil.Process]) -> None:
    """End these processes: asked to first, then killed."""
    for process in found:
        _tell(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(found, timeout=GRACE_S)
    for process in alive:
        _tell(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=GRACE_S)


def _tell(process: psutil.Process, signum: int) -> None:
    try:
        process.send_signal(signum)
    except psutil.NoSuchProcess:
        return
