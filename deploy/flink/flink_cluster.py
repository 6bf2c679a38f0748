"""A Flink cluster of this machine: ``deploy/flink/flink_cluster.py up|down|network``.

A job manager and task managers, each on a host of its own (a network namespace on a
bridge, as root), a Beam worker pool beside each task manager, and Beam's job server.
``network`` makes the bridge alone, for servers that the hosts are to find there.
Where there may be no namespaces, it is one task manager with two slots on this machine.
Tests and benchmarks take one for themselves: ``with flink_cluster.serving(home) as c``.
"""

import argparse
import contextlib
import json
import pathlib
import shutil
import socket
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import flink_install
import flink_network
import flink_parts
import flink_ready
from flink_install import CannotStart
from flink_network import FIRST_WORKER, MASTER, Network
from flink_parts import Part

HOME = flink_install.CHECKOUT / ".flink" / "home"
PATIENCE_S = 180.0
END_ROUNDS = 5
PORTS = {"rpc": 6123, "rest": 8081, "pool": 50000}
"""On hosts of their own; on this machine itself free ones are taken."""


class CannotStop(RuntimeError):
    """Something of a cluster goes on, whatever it is told."""


class Cluster(NamedTuple):
    """A cluster that is up.

    Attributes:
        home: Its folder: settings, logs, state.
        master: Address of the job manager; its dashboard is there too.
        jobs: Address of Beam's job server.
        gateway: The address under which the hosts reach servers of this machine.
        workers: Address of each task manager.
        slots: Slots of each.
        pool_port: Where the worker pool beside each listens.
        apart: Whether each host has a network namespace of its own.
    """

    home: pathlib.Path
    master: str
    jobs: str
    gateway: str
    workers: list[str]
    slots: int
    pool_port: int
    apart: bool

    def engine(self) -> dict[str, Any]:
        """Return the section ``[engine]`` of a dataset that uses this cluster."""
        return {
            "runner": "flink",
            "master": self.master,
            "job_server": self.jobs,
            "parallelism": len(self.workers) * self.slots,
            "worker_pool": f"localhost:{self.pool_port}",
            "work": str(self.home / "work"),
            "flags": [f"--files_to_stage={flink_install.nothing()}"],
        }

    def kill(self, name: str) -> None:
        """Kill (SIGKILL) the part of this name, such as ``taskmanager-1``."""
        process = flink_parts.leaders(self.home)[name]
        process.kill()
        process.wait(PATIENCE_S)


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["up", "down", "network"])
    parser.add_argument("--home", type=pathlib.Path, default=HOME)
    parser.add_argument("--hosts", type=int, help="task managers (2)")
    parser.add_argument("--slots", type=int, help="slots of each (1)")
    given = parser.parse_args()
    try:
        if given.verb == "down":
            down(given.home)
            print("Flink is down.")
        elif given.verb == "network":
            print(network(given.home))
        else:
            cluster = up(given.home, given.hosts or 2, given.slots or 1)
            _tell(cluster, given.hosts, given.slots)
    except (CannotStart, CannotStop) as error:
        done = "stopped" if isinstance(error, CannotStop) else "started"
        sys.exit(f"Flink cannot be {done}: {error}")


def _tell(cluster: Cluster, hosts: int | None, slots: int | None) -> None:
    """Say what is up, and where it is not what was asked for."""
    print(f"Flink is up:  {cluster.master}   (the dashboard; no login)")
    print(f"Hosts:        {', '.join(cluster.workers)}, {cluster.slots} slots each")
    if cluster.apart:
        print(f"They reach servers of this machine at {cluster.gateway}.")
    else:
        print(
            f"Warning: the worker pool listens at port {cluster.pool_port} on every "
            "address of this machine, and runs what whoever reaches it sends. Close "
            "that port to others."
        )
    if (hosts or len(cluster.workers), slots or cluster.slots) != (
        len(cluster.workers),
        cluster.slots,
    ):
        print(f"That is not the size asked for: {_other_size(cluster)}")
    print("In a dataset's settings:\n\n[engine]")
    for key, value in cluster.engine().items():
        print(f"{key} = {json.dumps(value)}")


def _other_size(cluster: Cluster) -> str:
    if not cluster.apart:
        return "without namespaces it is one host with two slots."
    return f"it was up already. For another size, first: {_stopping(cluster.home)}"


def _stopping(home: pathlib.Path) -> str:
    """Return the command that stops the cluster in ``home``."""
    if home == HOME:
        return "make flink-down"
    return f"python {pathlib.Path(__file__).resolve()} down --home {home}"


@contextlib.contextmanager
def serving(
    home: pathlib.Path,
    hosts: int = 2,
    slots: int = 1,
    env: dict[str, str] | None = None,
    cores: bool = False,
) -> Iterator[Cluster]:
    """Yield a cluster in ``home``; the end of the block stops it."""
    try:
        yield up(home, hosts, slots, env, cores)
    finally:
        down(home)


def up(
    home: pathlib.Path,
    hosts: int = 2,
    slots: int = 1,
    env: dict[str, str] | None = None,
    cores: bool = False,
) -> Cluster:
    """Start what does not run of the cluster in ``home``, and wait until it is ready.

    ``env`` is added to the environment of the workers. With ``cores`` each host has one
    core of this machine for itself.

    Raises:
        CannotStart: Something is missing on this machine, or did not start.
    """
    home = home.absolute()
    flink_install.require()
    cluster, ports = _plan(home, hosts, slots)
    (home / "hosts").mkdir(exist_ok=True)
    if cluster.apart:
        numbers = [MASTER, *range(FIRST_WORKER, FIRST_WORKER + len(cluster.workers))]
        Network(home).make(numbers)
    names = set()
    try:
        for part in _parts(cluster, ports, cores):
            flink_parts.start(home, part, env or {})
            names.add(part.name)
        started = flink_ready.Started(home, names)
        slots = len(cluster.workers) * cluster.slots
        started.wait_for_slots(cluster.master, slots)
        for address in cluster.workers:
            started.wait_for("a worker pool", f"{address}:{cluster.pool_port}")
        started.wait_for("the job server", cluster.jobs)
    except CannotStart as error:
        raise CannotStart(
            f"{error}. What did start goes on; to stop it: {_stopping(home)}"
        ) from error
    return cluster


def network(home: pathlib.Path) -> str:
    """Make the bridge of ``home`` alone; return this machine's address on it.

    Raises:
        CannotStart: This machine can have none.
    """
    why = flink_network.refused()
    if why:
        raise CannotStart(f"{why}; without, all is on this machine: 127.0.0.1")
    made = Network(home.absolute())
    made.make([])
    return made.gateway


def down(home: pathlib.Path) -> None:
    """Stop whatever runs of the cluster in ``home``; its logs stay.

    Raises:
        CannotStop: Something of it goes on all the same.
    """
    home = home.absolute()
    rounds = 0
    while found := flink_parts.processes(home):  # one may start another meanwhile
        if rounds == END_ROUNDS:
            pids = ", ".join(str(one.pid) for one in found)
            raise CannotStop(f"of {home}, these processes go on when killed: {pids}")
        flink_parts.end(found)
        rounds += 1
    if shutil.which("ip"):
        Network(home).remove()
    (home / "state.json").unlink(missing_ok=True)
    shutil.rmtree(home / "hosts", ignore_errors=True)


def _plan(home: pathlib.Path, hosts: int, slots: int) -> tuple[Cluster, dict[str, int]]:
    """Return what is to run: as before where it was up, else as it is asked for now."""
    home.mkdir(parents=True, exist_ok=True)
    file = home / "state.json"
    if not (file.exists() and flink_parts.processes(home)):
        why = flink_network.refused()
        if why:
            print(f"One host with two slots, since {why}.", flush=True)
        ports = {name: _free_port() for name in PORTS} if why else dict(PORTS)
        ports["jobs"] = _free_port()
        state = {"hosts": 1 if why else hosts, "slots": 2 if why else slots}
        file.write_text(json.dumps(state | {"apart": not why, "ports": ports}))
    state = json.loads(file.read_text())
    net, ports, apart = Network(home), state["ports"], state["apart"]
    numbers = range(FIRST_WORKER, FIRST_WORKER + state["hosts"])
    here = "127.0.0.1"
    cluster = Cluster(
        home=home,
        master=f"http://{net.address(MASTER) if apart else here}:{ports['rest']}",
        jobs=f"{here}:{ports['jobs']}",
        gateway=net.gateway if apart else here,
        workers=[net.address(number) if apart else here for number in numbers],
        slots=state["slots"],
        pool_port=ports["pool"],
        apart=apart,
    )
    return cluster, ports


def _parts(cluster: Cluster, ports: dict[str, int], cores: bool) -> Iterator[Part]:
    net = Network(cluster.home)
    master = cluster.master.removeprefix("http://").rpartition(":")[0]
    values = {"rpc_port": ports["rpc"], "rest_port": ports["rest"], "master": master}
    hosts = cluster.home / "hosts"
    bind = "0.0.0.0" if cluster.apart else master
    mine = {"address": master, "bind": bind}
    java = flink_parts.java("master", hosts / "master", values | mine)
    yield Part("jobmanager", java, net.host(MASTER) if cluster.apart else None)
    for number, address in enumerate(cluster.workers):
        place = net.host(FIRST_WORKER + number) if cluster.apart else None
        core = number if cores else None
        name = f"host-{number + 1}"
        one = {"address": address, "name": name, "slots": cluster.slots}
        java = flink_parts.java("worker", hosts / name, values | one)
        yield Part(f"taskmanager-{number + 1}", java, place, core)
        yield Part(f"pool-{number + 1}", flink_parts.pool(ports["pool"]), place, core)
    yield Part("jobserver", flink_parts.job_server(cluster.master, ports["jobs"]))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


if __name__ == "__main__":
    main()
