"""A cluster grows, shrinks and moves while it is used: learners, voters, removals, addresses, by `paxosctl member`; and who began with a
config of one address goes on through all of it."""
import json
import re
import subprocess
import threading
import unittest

from harness import BIN, Cluster, ClusterTest, die_with_parent, free_ports, run, wait_for
from test_members import member, voting, wait_rules


class Growing(Cluster):
    """Begins with 2f+1 replicas; each machine that comes later has a config of its own, which names it beside those before it."""

    def __init__(self, f=0, more=6):
        super().__init__(f=f, start=False)
        ports = free_ports(more)
        self.ports = {self.replicas + n: ports + n for n in range(more)}
        for replica in range(self.replicas):
            self.start(replica)
        self.wait_healthy()

    def address(self, replica):
        return f"127.0.0.1:{self.ports[replica]}"

    def config_of(self, replica, moved=()):
        """The cluster's config with all machines up to this one."""
        text = self.config.read_text()
        lines = [f"  - {{id: {i}, address: \"{self.address(i)}\", data_dir: data/{i}}}\n" for i in sorted(self.ports) if self.replicas <= i <= replica]
        at = max(m.end() for m in re.finditer(r"^ *- \{id: .*\n", text, re.M))
        text = text[:at] + "".join(lines) + text[at:]
        for one, address in moved:
            text = re.sub(rf"(id: {one}, address: )\"[^\"]*\"", rf'\1"{address}"', text)
        path = self.folder / f"machine{replica}.yaml"
        path.write_text(text)
        return path

    def start_new(self, replica, **options):
        config = self.config_of(replica, **options)
        with open(self.folder / f"replica{replica}.log", "ab") as log:
            self.processes[replica] = subprocess.Popen([str(BIN / "paxosd"), "--config", str(config), "--id", str(replica)],
                                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)

    def one(self, replica):
        return next((r for r in self.status()["replicas"] if r["id"] == replica), None)


class Feeder:
    """One paxoschat that is given a line every few milliseconds, for as long as the cluster changes."""

    def __init__(self, cluster, name):
        self.receipts = cluster.folder / f"receipts-{name}"
        with open(self.receipts, "w") as out:
            self.process = subprocess.Popen([str(BIN / "paxoschat"), "send", "--config", str(cluster.config), "--room", "ops", "--timeout", "120s", "--json", "-"],
                                            text=True, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        self.lines = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._feed, args=(name,), daemon=True)
        self.thread.start()

    def _feed(self, name):
        while not self.over.wait(0.005):
            print(f"{name} line {self.lines}", file=self.process.stdin, flush=True)
            self.lines += 1

    def finish(self):
        """Its exit code and receipts, once all that it was given is acknowledged."""
        self.over.set()
        self.thread.join()
        self.process.stdin.close()
        code = self.process.wait(timeout=180)
        return code, [json.loads(line) for line in self.receipts.read_text().splitlines()]


class Growth(ClusterTest):
    def growing(self, **options):
        cluster = Growing(**options)
        self.addCleanup(self._finish, cluster)
        wait_rules(cluster)
        return cluster

    def done(self, cluster, *words):
        code, out, err = member(cluster, *words, "--json", "--timeout", "120s", timeout=180)
        self.assertEqual(code, 0, err + out)
        told = json.loads(out)
        self.assertIs(told["done"], True)
        return told

    def refused(self, cluster, *words):
        code, out, err = member(cluster, *words, "--json", timeout=60)
        self.assertEqual(code, 1, err + out)
        self.assertIs(json.loads(out)["done"], False)
        return json.loads(out)["refused"]

    def test_from_one_to_seven_and_back_to_one_under_load(self):
        cluster = self.growing()
        feeders = [Feeder(cluster, name) for name in ("a", "b")]
        for feeder in feeders:
            self.addCleanup(feeder.process.kill)
        with open(cluster.folder / "followed", "w") as out:
            follower = subprocess.Popen([str(BIN / "paxoschat"), "follow", "--config", str(cluster.config), "--room", "ops", "--from", "1", "--json"],
                                        stdout=out, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        self.addCleanup(follower.wait)
        self.addCleanup(follower.kill)
        for replica in range(1, 7):
            cluster.start_new(replica)
            told = self.done(cluster, "add", replica, "--address", cluster.address(replica))
            self.assertEqual(told["replica"], replica)
            self.assertTrue(voting(cluster, replica))
        status = cluster.status()
        self.assertEqual((len(status["replicas"]), status["quorum"], status["can_lose"]), (7, 4, 3))
        # Three may go, and come back: those that the senders' config names are among them.
        for replica in (0, 1, 2):
            cluster.kill(replica)
        self.assertEqual(run("paxoschat", "send", "--config", cluster.config_of(6), "--room", "last", "without three", timeout=60)[0], 0)
        cluster.start(0)
        for replica in (1, 2):
            cluster.start_new(replica)
        wait_for("all seven vote", lambda: all(r["reachable"] and r["voting"] for r in cluster.status()["replicas"]))
        # Whoever leads is taken out, too: another one does first.
        leader = cluster.leader()
        if leader == 0:
            self.assertEqual(cluster.ctl("transfer-leader", 3)[0], 0)
            leader = 3
        for replica in sorted(range(1, 7), key=lambda r: r != leader):
            self.done(cluster, "remove", replica)
            self.assertEqual(cluster.processes.pop(replica).wait(timeout=60), 0, "it ends by itself, and its unit does not start it again")
            log = (cluster.folder / f"replica{replica}.log").read_text()
            self.assertIn("taken out of the cluster", log)
        status = cluster.status()
        self.assertEqual(([r["id"] for r in status["replicas"]], status["quorum"], status["leader"]), ([0], 1, 0))
        receipts = []
        for feeder in feeders:
            code, told = feeder.finish()
            self.assertEqual((code, len(told)), (0, feeder.lines))
            receipts += told
        history = self.assert_exactly_once(cluster, "ops", receipts)
        self.assertEqual(len(history), len(receipts))

        def followed():
            return [json.loads(line)["seq"] for line in (cluster.folder / "followed").read_text().splitlines(keepends=True) if line.endswith("\n")]
        wait_for("the follower has seen all", lambda: len(followed()) >= len(history))
        self.assertEqual(followed(), list(range(1, len(history) + 1)), "without a gap or a repeat")
        gaps = [b["time_ms"] - a["time_ms"] for a, b in zip(history, history[1:])]
        print(f"# the longest time without a message through 12 changes and 3 deaths: {max(gaps)} ms")

    def test_a_learner_follows_is_promoted_by_hand_and_is_refused_what_makes_no_sense(self):
        cluster = self.growing(f=1, more=3)
        self.assertEqual(cluster.chat("send", "--room", "ops", "first")[0], 0)
        self.assertIn("has not announced itself", self.refused(cluster, "add", 3, "--address", cluster.address(3)))
        self.assertIn("a member already", self.refused(cluster, "add", 1, "--address", cluster.address(3)))
        self.assertIn("no member", self.refused(cluster, "remove", 7))
        self.assertIn("no member", self.refused(cluster, "promote", 3))
        # Of two that are up neither can be missed.
        down, goes = (i for i in range(3) if i != cluster.leader())
        cluster.kill(down)
        self.assertIn("would leave no quorum", self.refused(cluster, "remove", goes))
        cluster.start(down)
        wait_for("all are there", lambda: cluster.status()["whole"])
        for words in (["add", 3], ["add", 3, "--address", "nowhere"], ["add", "x", "--address", "h:1"], ["remove"], ["set-address", 1], ["bring", 3]):
            self.assertEqual(member(cluster, *words)[0], 2, words)
        cluster.start_new(3)
        wait_for("it waits outside", lambda: json.loads(member(cluster, "list", "--json")[1])["waiting"] == [3])
        self.assertIn("replica 0 has the address", self.refused(cluster, "add", 3, "--address", f"127.0.0.1:{cluster.base_port}"))
        told = self.done(cluster, "add", 3, "--address", cluster.address(3), "--manual")
        self.assertEqual(told["configuration"], 2)
        self.assertEqual(cluster.chat("send", "--room", "ops", "second")[0], 0)

        def local():
            code, out, _ = cluster.chat("history", "--room", "ops", "--local", "--replica", 3, "--json")
            return code == 0 and [json.loads(line)["text"] for line in out.splitlines()] == ["first", "second"]
        wait_for("the learner has both", local)
        follower = cluster.chat("follow", "--room", "ops", "--from", "1", "--count", "2", "--replica", 3, "--json", timeout=60)
        self.assertEqual((follower[0], len(follower[1].splitlines())), (0, 2), follower[2])
        learner = cluster.one(3)
        self.assertEqual((learner["role"], learner["voting"], learner["voter"]), ("learner", False, False))
        status = cluster.status()
        self.assertEqual((status["quorum"], status["can_lose"], status["whole"]), (2, 1, True), "a learner counts nowhere")
        # Two of three voters are needed, whatever the learner does.
        for replica in (1, 2):
            cluster.kill(replica)
        self.assertEqual(cluster.chat("send", "--room", "ops", "--timeout", "2s", "third")[0], 3)
        for replica in (1, 2):
            cluster.start(replica)
        cluster.wait_healthy()
        self.assertEqual(self.done(cluster, "promote", 3)["configuration"], 3)
        wait_for("it votes", lambda: voting(cluster, 3))
        self.assertEqual(cluster.status()["quorum"], 3)
        self.assertIs(self.done(cluster, "promote", 3)["already"], True)

    def test_a_removed_directory_stays_out_and_an_empty_one_comes_back(self):
        cluster = self.growing(f=1, more=1)
        gone = next(i for i in range(3) if i != cluster.leader())
        self.done(cluster, "remove", gone)
        self.assertEqual(cluster.processes.pop(gone).wait(timeout=60), 0)
        self.assertEqual([r["id"] for r in cluster.status()["replicas"]], [i for i in range(3) if i != gone])
        code, out, _ = member(cluster, "list", "--json")
        self.assertEqual((code, [m["id"] for m in json.loads(out)["members"]]), (0, [i for i in range(3) if i != gone]))
        # Started again, it ends again: exit 0 is no failure that a unit would restart.
        cluster.start(gone)
        self.assertEqual(cluster.processes.pop(gone).wait(timeout=60), 0)
        (cluster.folder / "data" / str(gone)).rename(cluster.folder / "old")
        cluster.start(gone)
        self.done(cluster, "add", gone, "--address", f"127.0.0.1:{cluster.base_port + gone}")
        self.assertTrue(voting(cluster, gone))
        self.assertTrue(cluster.status()["whole"])
        # One more, which no file but its own names: that is worth a word, and nothing that is wrong.
        cluster.start_new(3)
        self.done(cluster, "add", 3, "--address", cluster.address(3))
        code, out, err = cluster.ctl("doctor", "--json")
        checks = [c for c in json.loads(out)["checks"] if c["check"] == "config" and c["replica"] is not None]
        self.assertEqual({c["replica"]: c["verdict"] for c in checks}, {0: "warn", 1: "warn", 2: "warn", 3: "ok"}, checks)

    def test_an_address_moves_by_the_log(self):
        cluster = self.growing(f=1, more=1)
        moves = next(i for i in range(3) if i != cluster.leader())
        cluster.stop(moves)
        address = f"127.0.0.1:{free_ports(1)}"
        path = cluster.folder / "moved.yaml"
        path.write_text(cluster.config.read_text().replace(f"127.0.0.1:{cluster.base_port + moves}\"", f"{address}\""))
        with open(cluster.folder / f"replica{moves}.log", "ab") as log:
            cluster.processes[moves] = subprocess.Popen([str(BIN / "paxosd"), "--config", str(path), "--id", str(moves)],
                                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)
        self.assertFalse(cluster.one(moves)["reachable"], "nobody has said yet where it is")
        self.done(cluster, "set-address", moves, address)
        # Whoever comes with the old config is told by any of the others.
        one = wait_for("it answers there", lambda: (lambda r: r if r["reachable"] and r["voting"] else None)(cluster.one(moves)))
        self.assertEqual(one["address"], address)
        self.assertIn(address, member(cluster, "list")[1])


if __name__ == "__main__":
    unittest.main()
