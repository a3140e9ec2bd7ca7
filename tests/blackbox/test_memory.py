"""A replica whose disk does not keep up: with a sync that hangs, with a state's disk that hangs, and catching up over a network that
is faster than its disk, it stays within its memory, answers, and is there again afterwards."""
import os
import pathlib
import subprocess
import threading
import time
import unittest

from harness import BIN, ClusterTest, die_with_parent, run, wait_for

MIB = 1 << 20
LIMIT_MIB = 300
SLOW_SYNC = os.environ.get("SLOW_SYNC")
LOAD_MIB = 160  # far more than all that may wait: 32 MiB of decrees, 64 MiB of rows


def resident_mib(pid, what):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no {what} of {pid}")


class Load:
    """Keeps posting long lines from several clients, until stopped."""

    def __init__(self, cluster, streams=8):
        self.cluster = cluster
        self.stopped = threading.Event()
        self.sent = 0
        self.lock = threading.Lock()
        self.text = "".join(f"{n:05d} " + "x" * 15_900 + "\n" for n in range(60)).encode()
        self.threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(streams)]
        for thread in self.threads:
            thread.start()

    def _run(self, n):
        while not self.stopped.is_set():
            done = subprocess.run([str(BIN / "paxoschat"), "send", "--config", str(self.cluster.config), "--room", f"load{n}", "-"],
                                  input=self.text, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=die_with_parent,
                                  timeout=300)
            with self.lock:
                self.sent += len(self.text) if done.returncode == 0 else 0

    def wait_for(self, mib):
        wait_for(f"{mib} MiB are delivered", lambda: self.sent >= mib * MIB or None, 400)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()


class Memory(ClusterTest):
    def slow_replica(self, cluster, replica, part):
        """Starts it anew, with a disk that hangs while the returned file exists."""
        flag = cluster.folder / "hangs"
        cluster.stop(replica)
        environment = {"LD_PRELOAD": SLOW_SYNC, "SLOW_SYNC_WHILE": str(flag), "SLOW_SYNC_PART": part}
        os.environ.update(environment)
        try:
            cluster.start(replica)
        finally:
            for name in environment:
                os.environ.pop(name)
        cluster.wait_healthy()
        return flag

    def follower(self, cluster):
        leader = cluster.leader()
        return next(r for r in range(3) if r != leader)

    def answers(self, cluster, replica):
        """It says how it is, itself."""
        return next(r for r in cluster.status()["replicas"] if r["id"] == replica)["reachable"]

    def hung(self, part):
        if not SLOW_SYNC:
            self.skipTest("SLOW_SYNC names no library to preload: run it from the build (meson test)")
        cluster = self.cluster()
        replica = self.follower(cluster)
        flag = self.slow_replica(cluster, replica, part)
        pid = cluster.processes[replica].pid
        # Its disk hangs while it runs, not while it starts.
        self.assertTrue(wait_for("it has started", lambda: self.answers(cluster, replica), 60))
        flag.touch()
        load = Load(cluster)
        try:
            load.wait_for(LOAD_MIB)
            self.assertTrue(wait_for("it answers", lambda: self.answers(cluster, replica), 60))
            held = resident_mib(pid, "VmHWM")
            print(f"# {part}: {held:.0f} MiB at most, {load.sent // MIB} MiB delivered by the others", flush=True)
            self.assertLess(held, LIMIT_MIB)
        finally:
            load.stop()
            flag.unlink()
        wait_for("it has caught up", lambda: len(set(r.get("applied") for r in cluster.status()["replicas"])) == 1, 300)
        print(f"# {part}: {resident_mib(pid, 'VmHWM'):.0f} MiB at most once it went on", flush=True)
        self.assertLess(resident_mib(pid, "VmHWM"), LIMIT_MIB)
        self.assert_consistent(cluster)

    def test_a_sync_of_the_log_that_hangs(self):
        self.hung("/log/")

    def test_a_disk_of_the_state_that_hangs(self):
        self.hung("/state/")

    def test_catching_up_faster_than_the_disk(self):
        cluster = self.cluster()
        replica = self.follower(cluster)
        cluster.stop(replica)
        load = Load(cluster)
        try:
            load.wait_for(LOAD_MIB)
        finally:
            load.stop()
        cluster.start(replica)
        pid = cluster.processes[replica].pid
        wait_for("it has caught up", lambda: len(set(r.get("applied") for r in cluster.status()["replicas"])) == 1, 300)
        print(f"# catching up: {resident_mib(pid, 'VmHWM'):.0f} MiB at most", flush=True)
        self.assertLess(resident_mib(pid, "VmHWM"), LIMIT_MIB)
        self.assert_consistent(cluster)

    def test_a_new_leader_finishes_what_stands_above_a_hole(self):
        """16 MiB above a skipped slot fill the window; whoever leads next fills the hole, and all of it is delivered."""
        cluster = self.cluster()
        cluster.ctl_done("skip", "--next", 1)
        load = Load(cluster, streams=25)
        try:
            def window_full():
                states = [r for r in cluster.status()["replicas"] if r["reachable"]]
                before = max(r["chosen_max"] for r in states) if states and "chosen_max" in states[0] else None
                time.sleep(1)
                states = [r for r in cluster.status()["replicas"] if r["reachable"]]
                return before is not None and before > 60 and before == max(r["chosen_max"] for r in states)
            wait_for("the window is full", window_full, 120)
            cluster.kill(cluster.leader())
            wait_for("something is acknowledged", lambda: load.sent > 0 or None, 120)
        finally:
            load.stop()


if __name__ == "__main__":
    unittest.main()
