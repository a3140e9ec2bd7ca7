"""One or several booted machines (node.py) with paxosd installed as `meson install` puts it there."""
import fcntl
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import time

import harness
from node import Node

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
SHUTDOWN_NO_LOG_FLUSH = 2


def installed():
    """A folder with what `meson install` installs, below root/."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="paxosd-install-"))
    tree = harness.BIN.parent / "release"
    subprocess.run(["meson", "install", "-C", tree, "--no-rebuild", "--quiet", "--destdir", folder / "root"], check=True,
                   stdout=subprocess.DEVNULL)
    # The next version, for those who upgrade.
    shutil.copy2(tree / "tests/systemd/paxosd-rehearsal", folder / "paxosd-next")
    return folder


def set_up(node):
    """What an administrator types after the install."""
    node.run("cp", "-r", "/node/root/.", "/")
    node.run("systemd-sysusers")
    node.run("systemd-tmpfiles", "--create", "paxosd.conf")
    node.run("systemctl", "daemon-reload")
    node.run("ip", "link", "set", "lo", "up")


def service(replica):
    return f"paxosd@{replica}"


def status(node):
    done = node.run("paxosctl", "status", "--json", check=False)
    return json.loads(done.stdout) if done.stdout else {"healthy": False, "replicas": []}


def wait_healthy(node, replicas):
    """All of them are up, and a quorum follows one leader."""
    def healthy():
        now = status(node)
        return now if now["healthy"] and sum(r["reachable"] for r in now["replicas"]) == replicas else None
    return harness.wait_for("a healthy cluster", healthy)


def verify(node):
    """Once everybody has applied everything: the verdict."""
    def equal():
        reached = [r for r in status(node)["replicas"] if r["reachable"]]
        return len({r["applied"] for r in reached}) == 1 and all(r["applied"] == r["chosen"] for r in reached)
    harness.wait_for("all applied", equal)
    return json.loads(node.run("paxosctl", "verify", "--full", "--json").stdout)


def history(node, room, *arguments):
    out = node.run("paxoschat", "history", "--room", room, "--json", *arguments).stdout
    return [json.loads(line) for line in out.splitlines()]


class Writer:
    """A client of a node that sends numbered lines until it is told to stop; each is acknowledged before the next."""

    def __init__(self, node, room):
        self.room = room
        self.process = node.popen(
            "sh", "-c", 'i=0; while [ ! -e "/run/stop-$0" ]; do i=$((i + 1)); echo "$0 $i"; done |'
            ' paxoschat send --room "$0" --timeout 60s --json -', room, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.node = node
        self.receipts = []
        self.rest = b""

    def poll(self):
        """Takes what was acknowledged until now; their number."""
        try:
            while chunk := os.read(self.process.stdout.fileno(), 1 << 16):
                self.rest += chunk
        except BlockingIOError:
            pass
        *lines, self.rest = self.rest.split(b"\n")
        self.receipts += [json.loads(line) for line in lines]
        return len(self.receipts)

    def wait_more(self, count):
        wanted = self.poll() + count
        harness.wait_for(f"{count} more messages", lambda: self.poll() >= wanted)

    def finish(self):
        self.node.run("touch", f"/run/stop-{self.room}")
        harness.wait_for("the writer ends", lambda: self.poll() >= 0 and self.process.poll() is not None, 90)
        self.poll()
        error = self.process.stderr.read().decode()
        assert self.process.returncode == 0, error
        return self.receipts


class Disk:
    """An ext4 of its own in a file, so that its power can be cut: what was synced survives, nothing else does."""

    def __init__(self, name):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"paxosd-disk-{name}-"))
        self.image = self.folder / "image"
        self.mounted = self.folder / "mounted"
        self.mounted.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(1 << 30)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", self.image], check=True)
        self.mount()

    def mount(self):
        subprocess.run(["mount", "-o", "loop", self.image, self.mounted], check=True)

    def cut_power(self):
        fd = os.open(self.mounted, os.O_RDONLY)
        fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", SHUTDOWN_NO_LOG_FLUSH))
        os.close(fd)

    def freeze(self):
        """From now on no write to it ends."""
        subprocess.run(["fsfreeze", "-f", self.mounted], check=True)

    def thaw(self):
        subprocess.run(["fsfreeze", "-u", self.mounted], check=True)

    def unmount(self):
        deadline = time.monotonic() + 30
        while subprocess.run(["umount", self.mounted], capture_output=True).returncode != 0:
            if time.monotonic() > deadline:
                subprocess.run(["umount", "-l", self.mounted], check=False)
                return
            time.sleep(0.05)

    def close(self):
        self.unmount()
        shutil.rmtree(self.folder, ignore_errors=True)


class OneMachine:
    """All replicas of the cluster on one node."""

    def __init__(self, f=1, settings=""):
        self.shared = installed()
        self.replicas = 2 * f + 1
        self.node = Node("chat", self.shared)
        set_up(self.node)
        self.node.run("paxosctl", "config", "generate", "-f", f, "-o", "/etc/paxosd/cluster.yaml",
                      "--metrics-base-port", 9480)
        if settings:
            self.node.run("sh", "-c", settings)

    def start(self):
        self.node.run("systemctl", "start", *map(service, range(self.replicas)))
        return wait_healthy(self.node, self.replicas)

    def close(self):
        self.node.kill()
        shutil.rmtree(self.shared, ignore_errors=True)


class SeveralMachines:
    """One replica a node, each with its own disk, on one switch. Clients run on the nodes."""

    def __init__(self, f=1):
        self.shared = installed()
        self.replicas = 2 * f + 1
        self.switch = f"paxosd-switch-{os.getpid()}"
        self.nodes = {}
        self.disks = {}
        self.ip("netns", "add", self.switch)
        self.ip("-n", self.switch, "link", "add", "b0", "type", "bridge")
        self.ip("-n", self.switch, "link", "set", "b0", "up")
        hosts = [word for i in range(self.replicas) for word in ("--host", self.address(i))]
        harness.run("paxosctl", "config", "generate", "-f", f, "-o", self.shared / "cluster.yaml", *hosts)
        for i in range(self.replicas):
            self.disks[i] = Disk(f"m{i}")
            self.boot(i)

    @staticmethod
    def ip(*arguments):
        subprocess.run(["ip", *map(str, arguments)], check=True)

    @staticmethod
    def address(i):
        return f"10.78.0.{i + 1}"

    def boot(self, i):
        node = Node(f"m{i}", self.shared, self.disks[i].mounted)
        self.nodes[i] = node
        port = f"p{os.getpid() % 10000}m{i}"
        self.ip("-n", self.switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", node.pid)
        self.ip("-n", self.switch, "link", "set", port, "master", "b0", "up")
        set_up(node)
        node.run("sh", "-c", f"ip addr add {self.address(i)}/24 dev eth0; ip link set eth0 up")
        # As the README has it: config and key are copied to every machine.
        node.run("install", "-m", "644", "/node/cluster.yaml", "/etc/paxosd/cluster.yaml")
        node.run("install", "-m", "600", "/node/cluster.key", "/etc/paxosd/cluster.key")
        return node

    def start(self):
        for i, node in self.nodes.items():
            node.run("systemctl", "start", service(i))
        return wait_healthy(self.nodes[0], self.replicas)

    def lose_power(self, i):
        """The machine and its disk in the same moment."""
        self.disks[i].cut_power()
        self.nodes.pop(i).kill()
        self.disks[i].unmount()

    def get_power(self, i):
        self.disks[i].mount()
        return self.boot(i)

    def close(self):
        for node in self.nodes.values():
            node.kill()
        for disk in self.disks.values():
            disk.close()
        subprocess.run(["ip", "netns", "del", self.switch], check=False)
        shutil.rmtree(self.shared, ignore_errors=True)
