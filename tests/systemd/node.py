"""A machine of a test: namespaces of its own with a real systemd as their first process.

Needs root, a cgroup2 mount and overlayfs; `why_not()` says what is missing. Everything ends with the node."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def cgroup2():
    """Where the unified hierarchy is mounted, or None."""
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        _, where, kind, options = line.split()[:4]
        if kind == "cgroup2" and "ro" not in options.split(","):
            return pathlib.Path(where)
    return None


def why_not():
    """Why no node can be booted here, one sentence; empty when it can."""
    if os.geteuid() != 0:
        return "booting a systemd in namespaces needs root"
    if not pathlib.Path("/lib/systemd/systemd").exists():
        return "there is no /lib/systemd/systemd (package systemd)"
    for tool, package in (("dbus-daemon", "dbus"), ("nsenter", "util-linux"), ("ip", "iproute2")):
        if shutil.which(tool) is None:
            return f"there is no {tool} (package {package})"
    if cgroup2() is None:
        return "no writable cgroup2 is mounted"
    if "overlay" not in pathlib.Path("/proc/filesystems").read_text():
        return "this kernel has no overlayfs"
    tried = subprocess.run(["unshare", "--pid", "--mount", "--uts", "--ipc", "--cgroup", "--net", "--fork", "mount", "--make-rprivate", "/"],
                           capture_output=True, text=True)
    if tried.returncode != 0:
        return f"no new namespaces here: {tried.stderr.strip()}"
    mounted = {line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()}
    if "/" not in mounted:
        return "this is a chroot: a root can't be pivoted in here"
    return ""


class Node:
    def __init__(self, name, shared, disk=None):
        """`shared`: a folder that the node sees read-only as /node. `disk`: one that it has as /var/lib/paxosd."""
        self.name = name
        self.work = pathlib.Path(tempfile.mkdtemp(prefix=f"paxosd-node-{name}-"))
        self.cgroup = cgroup2() / f"paxosd-test-{os.getpid()}-{name}"
        self.cgroup.mkdir()
        environment = dict(os.environ, NODE_SHARED=str(shared))
        if disk:
            environment["NODE_DISK"] = str(disk)
        # Into its cgroup first, so that the cgroup namespace begins there.
        self.outer = subprocess.Popen(
            ["bash", "-c", 'echo $$ >"$0/cgroup.procs"; exec unshare --pid --mount --uts --ipc --cgroup --net --fork '
             '--kill-child "$@"', str(self.cgroup), str(HERE / "boot"), str(self.work), name],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(self.work.with_suffix(".err"), "w"))
        self.pid = self._first_process()
        self._wait_running()

    def _first_process(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.outer.poll() is not None:
                raise RuntimeError(f"node {self.name} did not boot: {self.work.with_suffix('.err').read_text()}")
            children = pathlib.Path(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children").read_text().split()
            for child in children:
                try:
                    if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                        return int(child)
                except OSError:
                    pass
            time.sleep(0.02)
        raise RuntimeError(f"node {self.name}: no systemd after 30 s: {self.work.with_suffix('.err').read_text()}")

    def _wait_running(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
            if state in ("running", "degraded"):
                return
            time.sleep(0.1)
        raise RuntimeError(f"node {self.name}: systemd is '{state}' after 60 s")

    def argv(self, *command, user=None):
        enter = ["nsenter", "-t", str(self.pid), "-a", "-r", "-w"]
        clean = ["env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"]
        return [*enter, *clean, *map(str, command)]

    def run(self, *command, check=True, timeout=60, text=None):
        """Runs a command inside; a failure tells what it printed."""
        done = subprocess.run(self.argv(*command), capture_output=True, text=True, timeout=timeout, input=text)
        if check and done.returncode != 0:
            raise AssertionError(f"{self.name}: {' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def popen(self, *command, **options):
        return subprocess.Popen(self.argv(*command), **options)

    def show(self, unit, *properties):
        """Properties of a unit, as `systemctl show` has them."""
        out = self.run("systemctl", "show", unit, *(f"-p{p}" for p in properties)).stdout
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def journal(self, *arguments):
        return self.run("journalctl", "--no-pager", "-q", *arguments, check=False).stdout

    def kill(self):
        """As if the machine's power failed: nothing inside gets another step."""
        if self.outer.poll() is None:
            self.outer.kill()  # --kill-child takes the node's first process with it, and so all of it
        self.outer.wait()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                for child in sorted(self.cgroup.rglob("*/"), reverse=True):
                    child.rmdir()
                self.cgroup.rmdir()
                break
            except OSError:
                time.sleep(0.05)
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.with_suffix(".err").unlink(missing_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
