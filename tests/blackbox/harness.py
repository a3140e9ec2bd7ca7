"""Real processes, judged through paxosctl and paxoschat alone. Every cluster lives in a folder and on ports of its own, and
is gone at the end, whatever happens. Conditions are waited for with deadlines; nothing sleeps for luck."""
import collections
import ctypes
import fcntl
import functools
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

BIN = pathlib.Path(os.environ.get("PAXOSD_BIN", pathlib.Path(__file__).resolve().parents[2] / "build/bin")).resolve()
DEADLINE = 60.0  # generous: a condition that holds is seen at once, however slow the machine
PR_SET_PDEATHSIG = 1


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_for(what, condition, deadline=DEADLINE):
    """The first true value of condition(); fails the test after the deadline."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline:.0f} s: {what}")
        time.sleep(0.02)


PORTS, LANE = 10000, 200  # the first port, below those that the kernel hands out by itself, and how many of them are one process's
LANES = 100  # more test programs than a machine of ours has cores


@functools.lru_cache(maxsize=None)
def port_range():
    """The ports of this process: tests that run beside it take others, also while a replica of this one is down and its port is free.
    The lock goes with the process."""
    for lane in range(LANES):
        lock = open(pathlib.Path(tempfile.gettempdir()) / f"paxosd-test-ports-{os.getuid()}-{lane}", "a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return range(PORTS + lane * LANE, PORTS + (lane + 1) * LANE), lock
    raise AssertionError(f"{LANES} test programs run at once: there are no ports for one more")


# What this program was given last: nobody may have bound it yet.
GIVEN = collections.deque(maxlen=LANE // 3)


def free_ports(count, kind=socket.SOCK_DGRAM):
    """The first of `count` consecutive free ports, UDP ones unless told; none of those that were given lately."""
    ours, _ = port_range()
    while True:
        base = random.randrange(ours.start, ours.stop - count)
        if any(port in GIVEN for port in range(base, base + count)):
            continue
        held = []
        try:
            for port in range(base, base + count):
                s = socket.socket(socket.AF_INET, kind)
                held.append(s)
                s.bind(("127.0.0.1", port))
            GIVEN.extend(range(base, base + count))
            return base
        except OSError:
            continue
        finally:
            for s in held:
                s.close()


def run(program, *arguments, text="", timeout=120, cwd=None, env=None):
    """Runs one of our programs to its end: (exit code, standard output, standard error)."""
    done = subprocess.run([str(BIN / program), *map(str, arguments)], input=text.encode() if isinstance(text, str) else text,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, cwd=cwd,
                          env={**os.environ, **(env or {})}, preexec_fn=die_with_parent)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


class Cluster:
    def __init__(self, f=1, loss=0.0, start=True, production=False, metrics=False):
        self.place(f)
        words = ["config", "generate", "-f", f, "-o", self.config, "--base-port", self.base_port]
        if loss:
            words += ["--loss", loss]
        if production:
            words += ["--production"]
        if metrics:
            self.metrics_port = free_ports(self.replicas, socket.SOCK_STREAM)
            words += ["--metrics-base-port", self.metrics_port]
        code, out, err = run("paxosctl", *words)
        assert code == 0, err
        if start:
            for replica in range(self.replicas):
                self.start(replica)
            self.wait_healthy()

    def place(self, f):
        """A folder and ports of its own for 2f+1 replicas, and nothing in it yet."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="paxosd-test-"))
        self.config = self.folder / "cluster.yaml"
        self.replicas = 2 * f + 1
        self.f = f
        self.processes = {}
        self.base_port = free_ports(self.replicas)

    def start(self, replica):
        log = open(self.folder / f"replica{replica}.log", "ab")
        self.processes[replica] = subprocess.Popen(
            [str(BIN / "paxosd"), "--config", str(self.config), "--id", str(replica)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)
        log.close()

    def kill(self, replica):
        """kill -9, from outside."""
        self.processes[replica].kill()
        self.processes.pop(replica).wait()

    def stop(self, replica):
        process = self.processes.pop(replica)
        process.terminate()
        return process.wait(timeout=30)

    def close(self):
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ctl(self, verb, *arguments, **options):
        return run("paxosctl", verb, "--config", self.config, *arguments, **options)

    def ctl_done(self, verb, *arguments):
        """For commands that may be repeated: exit 3 means perhaps done (a machine under load answers late), so again."""
        def done():
            code, out, err = self.ctl(verb, *arguments)
            assert code in (0, 3), f"paxosctl {verb}: {code} {err}"
            return code == 0
        wait_for(f"paxosctl {verb} is acknowledged", done)

    def chat(self, verb, *arguments, **options):
        return run("paxoschat", verb, "--config", self.config, *arguments, **options)

    def status(self):
        _, out, _ = self.ctl("status", "--json")
        return json.loads(out)

    def wait_healthy(self):
        """A leader that answers itself, and under whom things move."""
        def healthy():
            status = self.status()
            return status if status["healthy"] and status["replicas"][status["leader"]]["reachable"] else None
        return wait_for("the cluster is healthy", healthy)

    def leader(self):
        """Whom a quorum follows and who answers itself; whether things move under it or not (a skipped slot)."""
        def leads():
            status = self.status()
            leader = status["leader"]
            return status if leader is not None and status["replicas"][leader]["reachable"] else None
        return wait_for("the cluster has a leader", leads)["leader"]

    def wait_all_applied(self):
        """All living replicas stand at the same slot with the same hash; returns it."""
        def equal():
            states = [(r["applied"], r["hash"]) for r in self.status()["replicas"]
                      if r["id"] in self.processes and r["reachable"]]
            return states[0] if len(states) == len(self.processes) and len(set(states)) == 1 else None
        return wait_for("all living replicas have applied the same", equal)

    def verify(self, *arguments):
        code, out, err = self.ctl("verify", "--json", *arguments)
        return code, json.loads(out) if out.strip() else {}, err

    def history(self, room, *arguments):
        code, out, err = self.chat("history", "--room", room, "--json", *arguments)
        assert code == 0, f"history: {code} {err}"
        return [json.loads(line) for line in out.splitlines()]

    def log(self, replica, *arguments):
        code, out, err = self.ctl("log", replica, "--json", *arguments)
        assert code == 0, f"log: {code} {err}"
        return [json.loads(line) for line in out.splitlines()]

    def logs(self):
        return "\n".join(f"--- {p.name}\n{p.read_text(errors='replace')[-3000:]}" for p in sorted(self.folder.glob("*.log")))


class Sender:
    """One paxoschat that sends lines from a file in the background."""

    def __init__(self, cluster, room, lines, *arguments):
        self.input = cluster.folder / f"lines-{room}-{random.randrange(1 << 30)}"
        self.input.write_text("".join(line + "\n" for line in lines))
        self.stdin = open(self.input, "rb")
        self.process = subprocess.Popen(
            [str(BIN / "paxoschat"), "send", "--config", str(cluster.config), "--room", room, "--json", *map(str, arguments), "-"],
            stdin=self.stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=die_with_parent)

    def finish(self, timeout=180):
        out, err = self.process.communicate(timeout=timeout)
        self.stdin.close()
        return self.process.returncode, [json.loads(line) for line in out.decode().splitlines()], err.decode()


class Rolling:
    """`paxosctl rolling-restart` of a cluster without a service manager: serve() starts again whom it asks for."""

    def __init__(self, cluster, *arguments):
        self.cluster = cluster
        self.asked = pathlib.Path(tempfile.mkdtemp(prefix="asked-", dir=cluster.folder))
        self.restarted = []  # in order
        self.process = subprocess.Popen(
            [str(BIN / "paxosctl"), "rolling-restart", "--config", str(cluster.config), "--command", f"touch {self.asked}/{{id}}",
             *map(str, arguments), "--timeout", "120s"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        self.said = {}
        self.reader = threading.Thread(target=lambda: self.said.update(zip(("out", "err"), self.process.communicate())), daemon=True)
        self.reader.start()

    def serve(self):
        for name in os.listdir(self.asked):
            (self.asked / name).unlink()
            self.restarted.append(int(name))
            self.cluster.stop(int(name))
            self.cluster.start(int(name))
        return self.process.poll() is not None

    def finish(self):
        """Serves until it ends: (exit code, standard output, standard error)."""
        wait_for("the rolling restart is through", self.serve, deadline=300)
        self.reader.join(timeout=30)
        return self.process.returncode, self.said["out"].decode(), self.said["err"].decode()


class ClusterTest(unittest.TestCase):
    """A test with clusters that go away at its end, and whose logs are shown when it fails."""

    def cluster(self, **options):
        cluster = Cluster(**options)
        self.addCleanup(self._finish, cluster)
        return cluster

    def _finish(self, cluster):
        outcome = getattr(self, "_outcome", None)
        result = getattr(outcome, "result", None)
        bad = [] if result is None else [t for t, _ in result.failures + result.errors if t is self]
        if bad:
            print("".join(f"# {row}\n" for row in cluster.logs().splitlines()), end="", flush=True)
        cluster.close()

    def assert_exactly_once(self, cluster, room, receipts):
        """Every acknowledged message stands once, where its receipt says, in sequence without a hole."""
        history = cluster.history(room)
        self.assertEqual([m["seq"] for m in history], list(range(1, len(history) + 1)))
        places = {(m["session"], m["client_seq"]): m for m in history}
        self.assertEqual(len(places), len(history), "a command stands twice")
        for receipt in receipts:
            found = places[(receipt["session"], receipt["client_seq"])]
            self.assertEqual((found["seq"], found["slot"], found["index"], found["text"]),
                             (receipt["seq"], receipt["slot"], receipt["index"], receipt["text"]))
        return history

    def assert_consistent(self, cluster):
        slot, _ = cluster.wait_all_applied()
        code, verdict, err = cluster.verify()
        self.assertEqual(code, 0, err)
        self.assertTrue(verdict["consistent"])
        self.assertEqual(len({r["hash"] for r in verdict["replicas"]}), 1)
        return slot
