"""Directories that were copied or rolled back: they never vote where a peer knows better, say so, and shut nobody out."""
import os
import shutil
import signal
import subprocess
import unittest

from harness import BIN, ClusterTest, die_with_parent, free_ports, wait_for


class Copies(ClusterTest):
    def setUp(self):
        self.run_cluster = self.cluster(f=1)
        wait_for("rules 2", lambda: all(r.get("rules") == 2 for r in self.run_cluster.status()["replicas"]))
        self.post("before", 10)
        self.victim = next(i for i in self.run_cluster.processes if i != self.run_cluster.leader())
        self.directory = self.run_cluster.folder / "data" / str(self.victim)
        self.copy = self.run_cluster.folder / "copy"
        self.shelf = self.run_cluster.folder / "shelf"

    def post(self, text, count):
        code, out, err = self.run_cluster.chat("send", "--room", "ops", "-", text="".join(f"{text} {n}\n" for n in range(count)))
        self.assertEqual(code, 0, err)

    def one(self):
        return next(r for r in self.run_cluster.status()["replicas"] if r["id"] == self.victim)

    def wait_voting(self):
        return wait_for("it votes", lambda: (lambda r: r if r["reachable"] and r["voting"] else None)(self.one()))

    def wait_refused(self):
        """It says why, the others go on, and a restart changes nothing."""
        def refused():
            one = self.one()
            return one if one["reachable"] and not one["voting"] and "older copy" in one.get("reason", "") else None
        one = wait_for("it is refused", refused)
        self.assertEqual(one["role"], "dormant")
        return one

    def swap(self):
        """The copy takes the place of the directory."""
        self.directory.rename(self.shelf)
        shutil.copytree(self.copy, self.directory)

    def back(self):
        self.run_cluster.stop(self.victim)
        shutil.rmtree(self.directory)
        self.shelf.rename(self.directory)
        self.run_cluster.start(self.victim)
        self.wait_voting()
        self.post("after", 10)
        self.assert_consistent(self.run_cluster)

    def test_the_second_start_of_a_copied_directory_is_refused(self):
        cluster = self.run_cluster
        cluster.stop(self.victim)
        shutil.copytree(self.directory, self.copy)
        cluster.start(self.victim)
        boot = self.wait_voting()["boot"]
        self.post("meanwhile", 10)
        cluster.stop(self.victim)
        self.swap()
        cluster.start(self.victim)
        self.assertEqual(self.wait_refused()["boot"], boot, "a start of the same number, under another name")
        self.post("with two", 10)
        # Some starts later its number is one that nobody has heard of.
        for _ in range(3):
            cluster.stop(self.victim)
            cluster.start(self.victim)
            self.assertGreater(self.wait_refused()["boot"], boot)
        log = (cluster.folder / f"replica{self.victim}.log").read_text()
        self.assertIn("older copy", log)
        self.assertIn("'An older copy of a directory' in OPERATIONS.md", log)
        self.back()

    def test_a_directory_from_before_a_crash_is_refused_by_its_log(self):
        cluster = self.run_cluster
        process = cluster.processes[self.victim]
        # As a snapshot of the machine's disk: at one moment, while it runs.
        os.kill(process.pid, signal.SIGSTOP)
        shutil.copytree(self.directory, self.copy)
        os.kill(process.pid, signal.SIGCONT)
        cluster.wait_healthy()
        self.post("forgotten", 100)
        cluster.wait_all_applied()
        cluster.kill(self.victim)
        self.swap()
        cluster.start(self.victim)
        self.wait_refused()
        self.post("with two", 10)
        self.back()

    def test_a_copy_that_runs_beside_the_original_shuts_nobody_out(self):
        cluster = self.run_cluster
        cluster.stop(self.victim)
        shutil.copytree(self.directory, self.copy)
        cluster.start(self.victim)
        self.wait_voting()
        # The same replica at another address.
        port, other = cluster.base_port + self.victim, free_ports(1)
        config = cluster.folder / "copy.yaml"
        config.write_text(cluster.config.read_text().replace(f":{port}\"", f":{other}\""))
        self.assertIn(str(other), config.read_text())
        with open(cluster.folder / "copy.log", "wb") as log:
            copy = subprocess.Popen([str(BIN / "paxosd"), "--config", str(config), "--id", str(self.victim),
                                     "--data-dir", str(self.copy)],
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)
        try:
            wait_for("the copy says what it is", lambda: "older copy" in (cluster.folder / "copy.log").read_text())
            # Two of three, one of them the original: what is acknowledged needs its vote.
            third = next(i for i in cluster.processes if i not in (self.victim, cluster.leader()))
            cluster.kill(third)
            self.post("with the original's vote", 20)
            cluster.start(third)
            self.assertTrue(self.wait_voting())
        finally:
            copy.kill()
            copy.wait()
        cluster.wait_healthy()
        self.assert_consistent(cluster)


if __name__ == "__main__":
    unittest.main()
