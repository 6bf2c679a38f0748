"""Hosts on one machine: network namespaces on a bridge, named after a home."""

import contextlib
import hashlib
import ipaddress
import json
import os
import pathlib
import shutil
import subprocess
import uuid

HOSTS = ipaddress.ip_network("10.96.0.0/12")
"""A bridge takes 256 addresses somewhere in here, by the name of its home."""
RESOLVERS = pathlib.Path("/etc/netns")
NO_RESOLVER = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
"""A host reaches no name server; so it is told at once, in place of after seconds."""
MASTER = 10
FIRST_WORKER = 11


class Network:
    """The bridge of one home, and the hosts on it.

    Attributes:
        bridge: Its name; hosts are named after it.
        gateway: This machine's own address on it, which every host reaches.
    """

    def __init__(self, home: pathlib.Path) -> None:
        digest = hashlib.sha256(str(home).encode()).hexdigest()
        self.bridge = f"ll{digest[:8]}"  # at most 15 characters, with a host's number
        nets = HOSTS.num_addresses // 256
        first = int(HOSTS.network_address) + int(digest[8:16], 16) % nets * 256
        self._net = ipaddress.ip_network((first, 24))
        self.gateway = self.address(1)

    def address(self, number: int) -> str:
        """Return the address of the host of this number."""
        return str(self._net[number])

    def host(self, number: int) -> str:
        """Return the name of its namespace."""
        return f"{self.bridge}-{number}"

    def make(self, numbers: list[int]) -> None:
        """Make the bridge and these hosts, those that are missing."""
        if self.bridge not in links():
            _ip("link", "add", self.bridge, "type", "bridge")
            _ip("addr", "add", f"{self.gateway}/24", "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")
        standing = set(namespaces())
        for number in numbers:
            if self.host(number) not in standing:
                self._make_host(number)

    def _make_host(self, number: int) -> None:
        name = self.host(number)
        inside = f"{name}i"
        (RESOLVERS / name).mkdir(parents=True, exist_ok=True)
        (RESOLVERS / name / "resolv.conf").write_text(NO_RESOLVER)
        _ip("netns", "add", name)
        _ip("link", "add", name, "type", "veth", "peer", "name", inside)
        _ip("link", "set", inside, "netns", name)
        _ip("link", "set", name, "master", self.bridge, "up")
        _ip("-n", name, "link", "set", inside, "name", "eth0")
        _ip("-n", name, "addr", "add", f"{self.address(number)}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "route", "add", "default", "via", self.gateway)

    def remove(self) -> None:
        """Remove the bridge and every host on it; what is missing is no error."""
        for name in self.leftovers():
            if name in namespaces():
                _ip("netns", "del", name)
        for name in self.leftovers():
            with contextlib.suppress(subprocess.CalledProcessError):  # went by itself
                _ip("link", "del", name)

        for folder in RESOLVERS.glob(f"{self.bridge}-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def leftovers(self) -> list[str]:
        """Return the names of the hosts and links of this network that stand."""
        found = {*namespaces(), *links()}
        return sorted(name for name in found if name.startswith(self.bridge))


def refused() -> str | None:
    """Return why there can be no hosts on this machine, ``None`` if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"ll-try-{uuid.uuid4().hex[:6]}"
    try:
        _ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        return f"this machine allows no network namespaces ({said.strip()})"
    _ip("netns", "del", name)
    return None


def namespaces() -> list[str]:
    """Return the names of this machine's network namespaces."""
    return [line.split()[0] for line in _ip("netns", "list").splitlines()]


def links() -> list[str]:
    """Return the names of this machine's network links."""
    return [one["ifname"] for one in json.loads(_ip("-j", "link", "show") or "[]")]


def _ip(*arguments: str) -> str:
    done = subprocess.run(
        ["ip", *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout
