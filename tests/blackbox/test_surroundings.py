"""What stands around a replica: whoever takes its log, the service manager that started it, the modes of its files. None of
them may stop it, and it leaves nothing open to others."""
import fcntl
import os
import pathlib
import signal
import socket
import stat
import subprocess
import time
import unittest

from harness import BIN, ClusterTest, die_with_parent, wait_for

F_SETPIPE_SZ = 1031


class FullPipe:
    """A pipe that nobody reads, until somebody does."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, F_SETPIPE_SZ, 4096)
        os.set_blocking(self.writer, False)
        try:
            while os.write(self.writer, b"x" * 512):
                pass
        except BlockingIOError:
            pass
        os.set_blocking(self.writer, True)
        os.set_blocking(self.reader, False)

    def read(self):
        text = b""
        try:
            while chunk := os.read(self.reader, 65536):
                text += chunk
        except BlockingIOError:
            pass
        return text.decode(errors="replace")

    def close(self):
        for end in (self.reader, self.writer):
            os.close(end)


def start(cluster, replica, stderr, env=None):
    cluster.processes[replica] = subprocess.Popen(
        [str(BIN / "paxosd"), "--config", str(cluster.config), "--id", str(replica)], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=stderr, preexec_fn=die_with_parent, env={**os.environ, **(env or {})})


class Surroundings(ClusterTest):
    def test_a_log_that_nobody_takes_stops_no_replica(self):
        cluster = self.cluster(start=False)
        pipes = [FullPipe() for _ in range(3)]
        for pipe in pipes:
            self.addCleanup(pipe.close)
        for replica, pipe in enumerate(pipes):
            start(cluster, replica, pipe.writer)
        leader = cluster.leader()
        code, _, err = cluster.chat("send", "--room", "ops", "with full pipes")
        self.assertEqual(code, 0, err)

        # Errors are not limited: each of these is a line of some 4 KB.
        good = cluster.config.read_text()
        cluster.config.write_text(good + "log_level: " + "x" * 4000 + "\n")
        victim = cluster.processes[leader]
        deadline = time.monotonic() + 60
        for _ in range(400):
            victim.send_signal(signal.SIGHUP)
            time.sleep(0.002)
            if time.monotonic() > deadline:
                break
        cluster.config.write_text(good)
        lost = wait_for("lines are lost and counted", lambda: cluster.status()["replicas"][leader].get("log_lines_lost"))
        code, _, err = cluster.chat("send", "--room", "ops", "with lines lost")
        self.assertEqual(code, 0, err)
        shown = cluster.status()["replicas"][leader]
        self.assertGreaterEqual(shown["log_stuck_ms"], 1000)
        table = cluster.ctl("status")[1]
        self.assertRegex(table, rf"replica {leader} can't get rid of its log .*{lost} lines are lost")

        # Somebody reads again.
        said = []
        wait_for("the replica says how many lines are lost",
                 lambda: said.append(pipes[leader].read()) or f"{lost} log lines are lost here" in "".join(said))
        wait_for("nothing is stuck any more", lambda: "log_stuck_ms" not in cluster.status()["replicas"][leader])
        self.assertEqual(cluster.status()["replicas"][leader]["log_lines_lost"], lost)
        for pipe in pipes:
            self.assertTrue(os.get_blocking(pipe.writer), "the pipe is shared: its flags are not the replica's to set")

        for replica in range(3):
            if replica != leader:
                self.assertEqual(cluster.stop(replica), 0, "with its pipe full")
        self.assertEqual(cluster.stop(leader), 0)

    def test_a_service_manager_that_hangs_stops_no_replica(self):
        cluster = self.cluster(start=False)
        path = str(cluster.folder / "notify")
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(path)
        manager.setblocking(False)
        filler = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(filler.close)
        filler.setblocking(False)
        try:
            while True:
                filler.sendto(b"full", path)
        except BlockingIOError:
            pass
        for replica in range(3):
            with open(cluster.folder / f"replica{replica}.log", "ab") as log:
                start(cluster, replica, log, {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"})
        cluster.wait_healthy()
        self.assertEqual(cluster.chat("send", "--room", "ops", "nobody hears that we are ready")[0], 0)
        # It goes on: what matters is said then.
        heard = []

        def ready():
            try:
                while True:
                    heard.append(manager.recv(4096))
            except BlockingIOError:
                pass
            return heard.count(b"READY=1") == 3 and any(h.startswith(b"STATUS=") for h in heard) and b"WATCHDOG=1" in heard
        wait_for("the manager hears it all the same", ready)
        for replica in range(3):
            self.assertEqual(cluster.stop(replica), 0)
        wait_for("and of their end", lambda: ready() or heard.count(b"STOPPING=1") == 3)


if __name__ == "__main__":
    unittest.main()
