"""What is not well is told: a cluster that can lose nobody any more, one in which nothing moves, a replica that takes no part; by
`status`, `top` and `doctor` alike, and by the replica itself."""
import json
import os
import re
import shutil
import signal
import subprocess
import unittest

from harness import BIN, ClusterTest, Rolling, die_with_parent, free_ports, run, wait_for


class Standstill(ClusterTest):
    def whole(self, cluster):
        wait_for("the cluster is whole", lambda: cluster.ctl("status", "--strict")[0] == 0)

    def attention(self, cluster, replica):
        return {a["what"]: a for a in cluster.status()["attention"] if a["replica"] == replica}

    def test_one_of_three_dead_is_degraded(self):
        cluster = self.cluster(f=1)
        self.whole(cluster)
        status = cluster.status()
        self.assertEqual((status["healthy"], status["degraded"], status["whole"], status["can_lose"]), (True, False, True, 1))
        leader = cluster.leader()
        victim = next(i for i in range(3) if i != leader)
        cluster.kill(victim)
        wait_for("the others miss it", lambda: "unheard" in self.attention(cluster, victim))
        status = wait_for("a leader", lambda: (s := cluster.status())["healthy"] and s)
        self.assertEqual((status["degraded"], status["whole"], status["can_lose"]), (True, False, 0))
        code, out, _ = cluster.ctl("status")
        self.assertEqual(code, 0, "it is healthy still")
        self.assertIn("degraded, can lose 0 more, replica", out)
        self.assertRegex(out, rf"replica {victim} is not heard by replicas \d and \d for \d+ (ms|s)")
        self.assertEqual(cluster.ctl("status", "--strict")[0], 3)
        self.assertIn("degraded, can lose 0 more", cluster.ctl("top", "--once")[1])
        self.assertIn("degraded, can lose 0 more", cluster.ctl("doctor")[1])
        cluster.start(victim)
        self.whole(cluster)

    def test_a_hole_that_holds_everything_up_is_not_healthy(self):
        cluster = self.cluster(f=1)
        self.assertEqual(cluster.chat("send", "--room", "ops", "before")[0], 0)
        code, out, err = cluster.ctl("skip", "--next", 1, "--json")
        self.assertEqual(code, 0, err)
        hole, leader = json.loads(out)["skipped"][0], json.loads(out)["leader"]
        code, out, _ = cluster.ctl("status", "--json")
        status = json.loads(out)
        self.assertEqual((code, status["healthy"], status["leader"]), (3, False, leader))
        self.assertEqual(status["stuck"], f"slot {hole} was skipped, and holds up everything above it")
        self.assertEqual(status["replicas"][leader]["waiting_slot"], hole)
        before = status["replicas"][leader]["waiting_ms"]
        wait_for("its age grows", lambda: cluster.status()["replicas"][leader]["waiting_ms"] > before + 500)
        code, out, _ = cluster.ctl("status")
        self.assertIn("NOT HEALTHY: nothing moves", out)
        self.assertRegex(out, rf"nothing moves for \d+ (ms|s): slot {hole} was skipped")
        self.assertRegex(out, r"applied  +waits  hash\n")
        code, out, _ = cluster.ctl("top", "--once")
        self.assertEqual(code, 3)
        self.assertRegex(out, r"nothing moves for \d+ (ms|s)")
        code, out, _ = cluster.ctl("doctor", "--json")
        self.assertEqual(code, 1)
        self.assertEqual([c["verdict"] for c in json.loads(out)["checks"] if c["check"] == "progress" and c["replica"] == leader], ["bad"])
        # It says so itself, and what is waited for, to whom sits before it.
        log = cluster.folder / f"replica{leader}.log"
        wait_for("its log tells", lambda: f"slot {hole} waits, and nothing is applied" in log.read_text())
        # Somebody who sends is told, too, and served once another leads.
        sender = subprocess.Popen([str(BIN / "paxoschat"), "send", "--config", str(cluster.config), "--room", "ops", "--timeout", "120s", "-"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        self.addCleanup(sender.kill)
        sender.stdin.write(b"above\n")
        sender.stdin.flush()
        self.assertEqual(cluster.ctl("kill", "leader")[0], 0)
        cluster.processes.pop(leader).wait()
        out, err = sender.communicate(timeout=120)
        self.assertEqual(sender.returncode, 0, err)
        status = cluster.wait_healthy()
        self.assertNotIn("stuck", status)
        self.assertNotEqual(status["leader"], leader)

    def test_pause_isolate_and_loss_have_a_line_while_they_last(self):
        cluster = self.cluster(f=1)
        leader = cluster.leader()
        paused, isolated = (i for i in range(3) if i != leader)
        self.assertEqual(cluster.ctl("loss", "1%", "--replica", leader)[0], 0)
        cluster.ctl_done("pause", paused, "--for", "60s")
        cluster.ctl_done("isolate", isolated, "--for", "60s")
        lines = {paused: "stands still by `paxosctl pause`, for", isolated: "is cut off by `paxosctl isolate`, for", leader: "drops 1 % of what it receives"}
        for verb in (("status",), ("top", "--once")):
            out = cluster.ctl(*verb)[1]
            for replica, line in lines.items():
                self.assertIn(f"replica {replica} {line}", out)
        code, out, _ = cluster.ctl("doctor", "--json")
        said = {c["replica"]: "" for c in json.loads(out)["checks"]}
        for check in json.loads(out)["checks"]:
            said[check["replica"]] += check["measured"]
        self.assertIn("stands still by `paxosctl pause`", said[paused])
        self.assertIn("cut off by `paxosctl isolate`", said[isolated])
        self.assertIn("drops 1 %", said[leader])
        status = cluster.status()
        self.assertFalse(status["replicas"][paused]["voting"], "nobody may count on it")
        self.assertIn("paxosctl pause", status["replicas"][paused]["reason"])
        wait_for("without these two there is no quorum", lambda: not cluster.status()["healthy"])
        # It is a hung process to everybody but operators: and one of those can end it.
        self.assertEqual(cluster.ctl("kill", paused)[0], 0)
        cluster.processes.pop(paused).wait()
        cluster.start(paused)
        cluster.wait_healthy()

    def test_a_paused_replica_goes_on_where_it_was(self):
        cluster = self.cluster(f=1)
        leader = cluster.leader()
        victim = next(i for i in range(3) if i != leader)
        cluster.ctl_done("pause", victim, "--for", "3s")
        code, _, err = cluster.chat("send", "--room", "ops", "-", text="".join(f"line {i}\n" for i in range(50)))
        self.assertEqual(code, 0, err)
        self.assertIn("paused", self.attention(cluster, victim))
        behind = cluster.status()["replicas"][victim]
        self.assertTrue(behind["reachable"])
        self.assert_consistent(cluster)
        self.whole(cluster)
        self.assertNotIn("paused_ms", cluster.status()["replicas"][victim])

    def test_a_moved_replica_that_hears_nobody_is_no_healthy_follower(self):
        cluster = self.cluster(f=1)
        self.assertEqual(cluster.chat("send", "--room", "ops", "one")[0], 0)
        moved = next(i for i in range(3) if i != cluster.leader())
        cluster.stop(moved)
        # It runs at another address, and believes the others elsewhere, too, so that neither side can follow the other;
        # its operator knows where it is.
        text = cluster.config.read_text()
        ports = free_ports(3)
        elsewhere, mine = cluster.folder / "elsewhere.yaml", cluster.folder / "mine.yaml"

        def with_moved(who):
            out = text
            for i in who:
                out = out.replace(f"127.0.0.1:{cluster.base_port + i}", f"127.0.0.1:{ports + i}")
            return out
        elsewhere.write_text(with_moved(range(3)))
        mine.write_text(with_moved([moved]))
        log = open(cluster.folder / f"replica{moved}.log", "ab")
        cluster.processes[moved] = subprocess.Popen([str(BIN / "paxosd"), "--config", str(elsewhere), "--id", str(moved)],
                                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)
        log.close()
        line = rf"replica {moved} hears nobody for \d+ (ms|s), and follows nobody: it takes no part"
        wait_for("it is told", lambda: re.search(line, run("paxosctl", "status", "--config", mine)[1]))
        status = json.loads(run("paxosctl", "status", "--config", mine, "--json")[1])
        self.assertTrue(status["healthy"])
        self.assertEqual((status["can_lose"], status["whole"]), (0, False))
        advice = [a["advice"] for a in status["attention"] if (a["replica"], a["what"]) == (moved, "unheard")]
        self.assertIn("if it was moved", advice[0])
        self.assertRegex(run("paxosctl", "top", "--once", "--config", mine)[1], line)
        self.assertIn("hears nobody", run("paxosctl", "doctor", "--config", mine)[1])

    def test_a_wiped_majority_is_told_with_what_is_left_to_read(self):
        cluster = self.cluster(f=1)
        for text in ("one", "two"):
            self.assertEqual(cluster.chat("send", "--room", "ops", text)[0], 0)
        slot, _ = cluster.wait_all_applied()
        for replica in (1, 2):
            cluster.kill(replica)
            shutil.rmtree(cluster.folder / "data" / str(replica))
            cluster.start(replica)
        wait_for("it is told", lambda: cluster.status().get("outage", {}).get("what") == "a majority has lost its data")
        status = cluster.status()
        self.assertEqual([status["replicas"][i]["role"] for i in (1, 2)], ["dormant", "dormant"])
        self.assertEqual(status["outage"]["readable"], [{"replica": 0, "applied": slot}])
        code, out, _ = cluster.ctl("status")
        self.assertEqual(code, 3)
        self.assertNotIn("not born yet", out)
        for part in ("replicas 1 and 2 came back with other data directories", f"replica 0 still has everything up to slot {slot}",
                     "paxoschat history --local --replica 0", "paxosctl log 0"):
            self.assertIn(part, out)
        # What it says to do works.
        self.assertEqual([m["text"] for m in cluster.history("ops", "--local", "--replica", 0)], ["one", "two"])
        self.assertTrue(cluster.log(0))
        self.assertIn("a majority has lost its data", cluster.ctl("doctor")[1])
        self.assertIn("a majority has lost its data", cluster.ctl("top", "--once")[1])
        # And it says so on its terminal.
        log = cluster.folder / "replica1.log"
        wait_for("its log tells", lambda: "does not vote: this data directory is not one that the cluster was born with" in log.read_text())

    def test_a_replica_that_waits_for_its_birth_says_for_whom(self):
        cluster = self.cluster(f=1, start=False)
        cluster.start(0)
        log = cluster.folder / "replica0.log"
        wait_for("it says whom it waits for", lambda: "its first start needs every replica once; waiting for replicas 1 and 2" in log.read_text())
        cluster.start(1)
        wait_for("and who is left", lambda: "waiting for replica 2\n" in log.read_text())
        cluster.start(2)
        cluster.wait_healthy()


class RollingRestart(ClusterTest):
    def test_goes_on_without_a_dead_one_that_is_named(self):
        cluster = self.cluster(f=2)
        cluster.kill(2)
        wait_for("it is missed", lambda: cluster.status()["degraded"])
        boots = {r["id"]: r.get("boot") for r in cluster.status()["replicas"]}
        asked = cluster.folder / "asked"
        asked.mkdir()
        command = f"touch {asked}/{{id}}"
        code, _, err = cluster.ctl("rolling-restart", "--command", command, "--timeout", "2s")
        self.assertEqual(code, 1)
        self.assertIn("replica 2 does not answer (to go on without it: --without 2)", err)
        self.assertEqual(os.listdir(asked), [], "nothing was restarted")
        rolling = Rolling(cluster, "--without", "2")
        self.addCleanup(rolling.process.kill)
        code, out, err = rolling.finish()
        self.assertEqual(code, 0, err)
        self.assertEqual(sorted(rolling.restarted), [0, 1, 3, 4])
        self.assertIn("all 4 are back", out)
        self.assertIn("replica 2", out.splitlines()[-1], "what is left to do for it")
        for r in cluster.status()["replicas"]:
            if r["id"] != 2:
                self.assertEqual(r["boot"], boots[r["id"]] + 1)

    def test_refuses_to_stop_the_cluster_and_wrong_ids(self):
        cluster = self.cluster(f=1, start=False)
        code, _, err = cluster.ctl("rolling-restart", "--without", "2")
        self.assertEqual(code, 1)
        self.assertIn("without replica 2 there are 2 left, and with one more away no quorum of 2", err)
        for words, says in ((("--without", "7"), "'7' is no replica"), (("--without", "1,x"), "'x' is no replica"),
                            (("--without", "1", "1"), "to be restarted and to be missing")):
            code, _, err = cluster.ctl("rolling-restart", *words)
            self.assertEqual(code, 2, err)
            self.assertIn(says, err)

    def test_one_that_is_named_and_is_there_is_left_alone(self):
        cluster = self.cluster(f=2)
        wait_for("all follow", lambda: cluster.status()["can_lose"] == 2)
        code, _, err = cluster.ctl("rolling-restart", "--command", "false", "--without", "2")
        self.assertEqual(code, 1)
        self.assertIn("replica 2 is there and votes, though --without names it", err)


class NewKey(ClusterTest):
    """The steps under 'A new key' in OPERATIONS.md."""

    def test_a_reload_says_that_a_changed_key_is_not_taken(self):
        cluster = self.cluster(f=0)
        key, log = cluster.folder / "cluster.key", cluster.folder / "replica0.log"
        cluster.processes[0].send_signal(signal.SIGHUP)
        wait_for("it reloads", lambda: "reloaded" in log.read_text())
        self.assertNotIn("another key", log.read_text())
        key.write_text("ab" * 32 + "\n")
        cluster.processes[0].send_signal(signal.SIGHUP)
        wait_for("it says so", lambda: "holds another key than the one that this replica was started with: it is not taken while running" in log.read_text())
        self.assertIn("paxosctl key rotate", log.read_text())

    def test_all_stop_all_get_it_all_start(self):
        cluster = self.cluster(f=1)
        state = cluster.folder / "ann.state"
        self.assertEqual(cluster.chat("send", "--room", "ops", "--state", state, "before")[0], 0)
        old = cluster.folder / "old"
        old.mkdir()
        shutil.copy(cluster.config, old / "cluster.yaml")
        shutil.copy(cluster.folder / "cluster.key", old / "cluster.key")
        for replica in range(3):
            self.assertEqual(cluster.stop(replica), 0)
        # A new key is what `config generate` makes beside a config that nobody needs.
        code, _, err = run("paxosctl", "config", "generate", "-f", 1, "-o", cluster.folder / "fresh.yaml")
        self.assertEqual(code, 0, err)
        (cluster.folder / "fresh.key").rename(cluster.folder / "cluster.key")
        for replica in range(3):
            cluster.start(replica)
        cluster.wait_healthy()
        code, _, err = cluster.chat("send", "--room", "ops", "--state", state, "after")
        self.assertEqual(code, 0, err)
        self.assertEqual([m["text"] for m in cluster.history("ops")], ["before", "after"])
        self.assert_consistent(cluster)
        code, out, _ = run("paxosctl", "status", "--config", old / "cluster.yaml")
        self.assertEqual(code, 3, "who has the old key only is a stranger")
        self.assertIn("no replica answers", out)


if __name__ == "__main__":
    unittest.main()
