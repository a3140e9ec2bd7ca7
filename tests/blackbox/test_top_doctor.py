"""paxosctl top and doctor: a screen that is given back, rates that are true, findings that name what to mend."""
import json
import re
import shutil
import signal
import subprocess
import termios
import unittest

from harness import BIN, ClusterTest, die_with_parent, run, wait_for
from on_terminal import OnTerminal

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


def frames(seen):
    """What was drawn, frame by frame, as lists of lines without escapes."""
    return [[re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", line) for line in frame.split("\r\n")]
            for frame in seen.split("\x1b[H")[1:]]


class Top(ClusterTest):
    def terminal(self, *words, **size):
        terminal = OnTerminal(*words, **size)
        self.addCleanup(terminal.close)
        return terminal

    def test_one_sample_tells_rates_latencies_disk_and_memory(self):
        cluster = self.cluster(f=1)
        load = subprocess.Popen([str(BIN / "paxosctl"), "bench", "--config", str(cluster.config), "--clients", "2", "--warmup", "0s",
                                 "--duration", "60s"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        self.addCleanup(load.wait)
        self.addCleanup(load.kill)

        def sample():
            code, out, err = cluster.ctl("top", "--once", "--json", "--interval", "500ms")
            # Under load a slot may wait for longer than it should, for a moment.
            self.assertIn(code, (0, 3), err)
            top = json.loads(out)
            if top["leader"] is None:
                return None
            leader = top["replicas"][top["leader"]]
            return top if leader["commit"] and leader["slots_per_second"] and "disk_used_bytes" in leader else None
        top = wait_for("a sample under load", sample)
        for replica in top["replicas"]:
            self.assertGreater(replica["resident_bytes"], 1 << 20)
            self.assertGreater(replica["disk_free_bytes"], 0)
            self.assertGreaterEqual(replica["lag"], 0)
        leader = top["replicas"][top["leader"]]
        self.assertGreaterEqual(leader["commit"]["us_p99"], 1)
        self.assertGreater(leader["sync"]["us_mean"], 0)
        load.kill()
        out = wait_for("the load is over", lambda: (said := cluster.ctl("top", "--once"))[0] == 0 and said[1])
        self.assertIn("healthy, replica", out)
        self.assertNotIn("\x1b", out)

    def test_a_dead_replica_stalls_nobody_and_a_lost_quorum_is_told(self):
        cluster = self.cluster(f=1)
        cluster.kill(1)
        cluster.wait_healthy()
        code, out, _ = cluster.ctl("top", "--once", "--json")
        top = json.loads(out)
        self.assertEqual((code, top["replicas"][1]["reachable"]), (0, False))
        self.assertIsNotNone(top["replicas"][0]["slots_per_second"])
        cluster.kill(0)
        wait_for("it is told", lambda: cluster.ctl("top", "--once")[0] == 3)
        code, out, _ = cluster.ctl("top", "--once")
        self.assertEqual(code, 3)
        self.assertRegex(out, r"no quorum for \d+ m?s")
        self.assertIn("replicas 0 and 1 are missing", out)
        self.assertIn("systemctl start paxosd@0", out)

    def test_the_screen_fits_80_by_24_resizes_and_is_given_back(self):
        cluster = self.cluster(f=1)
        top = self.terminal("paxosctl", "top", "--config", cluster.config, "--interval", "200ms")
        top.wait_text("healthy, replica")
        wait_for("a spark", lambda: "▁" in top.read())
        top.key("r")
        for frame in frames(top.read()):
            self.assertLessEqual(len(frame), 24)
            self.assertTrue(all(len(line) < 80 for line in frame), frame)
        top.resize(4, 40)
        top.process.send_signal(signal.SIGWINCH)
        wait_for("a small frame", lambda: len(frames(top.read())[-1]) == 4)
        # The last one may still be under way: the one before is whole.
        wait_for("narrow ones", lambda: all(len(line) < 40 for line in frames(top.read())[-2]) and len(frames(top.seen)[-2]) == 4)
        top.key("q")
        self.assertEqual(top.end(), 0)
        self.assertEqual((top.seen.count(ENTER), top.seen.count(LEAVE)), (1, 1))
        self.assertTrue(top.seen.endswith(LEAVE))
        self.assertEqual(termios.tcgetattr(top.slave), top.before)

    def test_every_end_gives_the_terminal_back(self):
        cluster = self.cluster(f=0)
        for end in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGSEGV, "\x03"):
            with self.subTest(end=end):
                top = self.terminal("paxosctl", "top", "--config", cluster.config, "--interval", "200ms")
                top.wait_text("healthy, replica")
                if isinstance(end, str):
                    # Its control terminal is another one here: the key's signal is sent by hand.
                    self.assertTrue(termios.tcgetattr(top.slave)[3] & termios.ISIG)
                    top.process.send_signal(signal.SIGINT)
                else:
                    top.process.send_signal(end)
                self.assertEqual(top.end(), -end if end == signal.SIGSEGV else 0)
                self.assertIn(LEAVE, top.seen)
                self.assertEqual(termios.tcgetattr(top.slave), top.before)


class Doctor(ClusterTest):
    def doctor(self, cluster, config=None):
        code, out, err = run("paxosctl", "doctor", "--config", config or cluster.config, "--json")
        report = json.loads(out)
        return code, report, {(c["replica"], c["check"]): c for c in report["checks"]}

    def test_a_sound_cluster_has_no_finding_that_is_bad(self):
        cluster = self.cluster(f=1, production=True)
        code, report, checks = self.doctor(cluster)
        self.assertEqual(code, 0, report)
        for replica in range(3):
            for check in ("answer", "clock", "config", "version", "peers", "disk sync", "udp", "faults", "mtu"):
                self.assertIn((replica, check), checks)
            self.assertEqual(checks[replica, "faults"]["verdict"], "ok")
            self.assertIn("probes", checks[replica, "disk sync"]["measured"])
        for check in ("config", "key", "address", "io_uring", "memlock", "open files"):
            self.assertIn((None, check), checks)
        code, out, _ = cluster.ctl("doctor")
        self.assertEqual(code, 0)
        self.assertIn(" 0 bad", out)
        self.assertFalse(list(cluster.folder.rglob("doctor-probe")))

    def test_fault_injection_is_a_warning(self):
        cluster = self.cluster(f=0)
        code, _, checks = self.doctor(cluster)
        self.assertEqual(code, 0)
        self.assertEqual(checks[0, "faults"]["verdict"], "warn")
        self.assertIn("--production", checks[0, "faults"]["advice"])

    def test_what_all_replicas_have_in_common_is_said_once(self):
        cluster = self.cluster(f=1)
        code, _, checks = self.doctor(cluster)
        self.assertEqual(code, 0)
        self.assertEqual([checks[replica, "faults"]["verdict"] for replica in range(3)], ["warn"] * 3)
        code, out, _ = cluster.ctl("doctor")
        self.assertEqual(code, 0)
        told = [row for row in out.splitlines() if "fault injection is on" in row]
        self.assertEqual(len(told), 1, out)
        self.assertRegex(told[0], r"^warn +replicas 0, 1 and 2 +faults ")

    def test_a_dead_replica_is_named_with_what_to_look_at(self):
        cluster = self.cluster(f=1)
        cluster.kill(2)
        wait_for("the others miss it", lambda: cluster.status()["replicas"][0].get("missing") == [2])
        code, _, checks = self.doctor(cluster)
        self.assertEqual(code, 1)
        self.assertEqual(checks[2, "answer"]["verdict"], "bad")
        self.assertIn(f"nothing listens on 127.0.0.1:{cluster.base_port + 2}", checks[2, "answer"]["measured"])
        self.assertIn("systemctl start paxosd@2", checks[2, "answer"]["advice"])
        self.assertEqual(checks[0, "peers"]["verdict"], "warn")
        # One that hangs is silent, as one behind a firewall or with another key is.
        cluster.start(2)
        cluster.wait_all_applied()
        cluster.processes[2].send_signal(signal.SIGSTOP)
        self.addCleanup(cluster.processes[2].send_signal, signal.SIGCONT)
        code, _, checks = self.doctor(cluster)
        self.assertEqual((code, checks[2, "answer"]["verdict"]), (1, "bad"))
        for hint in ("paxosd@2", f"UDP port {cluster.base_port + 2}", "key"):
            self.assertIn(hint, checks[2, "answer"]["advice"])

    def test_a_lost_disk_is_told_apart_from_a_cluster_that_is_not_complete_yet(self):
        cluster = self.cluster(f=1, start=False)
        cluster.start(0)
        wait_for("it waits for the others", lambda: "missing_at_birth" in cluster.status()["replicas"][0])
        _, _, checks = self.doctor(cluster)
        self.assertIn("start the replicas that it waits for", checks[0, "answer"]["advice"])
        cluster.start(1)
        cluster.start(2)
        cluster.wait_healthy()
        victim = next(i for i in range(3) if i != cluster.leader())
        cluster.kill(victim)
        shutil.rmtree(cluster.folder / "data" / str(victim))
        cluster.start(victim)
        wait_for("it answers, and may not vote", lambda: "was born with" in cluster.status()["replicas"][victim].get("reason", ""))
        code, _, checks = self.doctor(cluster)
        self.assertEqual((code, checks[victim, "answer"]["verdict"]), (1, "bad"))
        self.assertIn("was born with", checks[victim, "answer"]["measured"])
        self.assertIn("'A disk is lost' in OPERATIONS.md", checks[victim, "answer"]["advice"])

    def test_a_config_that_differs_is_named(self):
        cluster = self.cluster(f=1)
        other = cluster.folder / "other.yaml"
        text = cluster.config.read_text()
        other.write_text(re.sub(r"election_timeout_ms: \d+", "election_timeout_ms: 999", text))
        code, _, checks = self.doctor(cluster, other)
        self.assertEqual(code, 1)
        self.assertEqual(checks[1, "config"]["verdict"], "bad")
        self.assertIn("election_timeout_ms", checks[1, "config"]["measured"])
        self.assertIn("999", checks[1, "config"]["measured"])
        other.write_text(re.sub(r"(?m)^id: .*$", "id: 11111111-2222-4333-8444-555555555555", text))
        code, _, checks = self.doctor(cluster, other)
        self.assertEqual(code, 1)
        self.assertIn("id is", checks[0, "config"]["measured"])

    def test_a_wrong_key_is_told_apart_from_nothing_else_but_hinted_at(self):
        cluster = self.cluster(f=1)
        elsewhere = cluster.folder / "elsewhere"
        elsewhere.mkdir()
        shutil.copy(cluster.config, elsewhere / "cluster.yaml")
        key = elsewhere / "cluster.key"
        key.write_text("ab" * 32 + "\n")
        key.chmod(0o600)
        code, report, checks = self.doctor(cluster, elsewhere / "cluster.yaml")
        self.assertEqual((code, report["verdict"]), (3, "no answer"))
        self.assertIn("key", checks[0, "answer"]["advice"])
        key.chmod(0o644)
        code, _, checks = self.doctor(cluster, elsewhere / "cluster.yaml")
        self.assertEqual(code, 1)
        self.assertEqual(checks[None, "key"]["verdict"], "bad")
        self.assertIn("chmod 600", checks[None, "key"]["advice"])
        self.assertIn("no replica could be asked", checks[None, "asking"]["measured"])

    def test_datagrams_under_another_key_are_named_where_a_peer_is_missing(self):
        cluster = self.cluster(f=1)
        _, _, checks = self.doctor(cluster)
        self.assertNotIn("key", checks[0, "peers"]["measured"])
        key = cluster.folder / "cluster.key"
        cluster.stop(2)
        right = key.read_text()
        key.write_text("ab" * 32 + "\n")
        cluster.start(2)  # as a machine that got another key

        def told():
            key.write_text(right)
            found = self.doctor(cluster)[2][0, "peers"]
            return found if "under another key" in found["measured"] else None
        wait_for("its log speaks", lambda: "boot 2" in cluster.logs())
        found = wait_for("the other key is named", told)
        self.assertIn("replica 2", found["measured"])
        self.assertIn("sha256sum", found["advice"])

    def test_a_config_that_does_not_load_is_a_finding(self):
        cluster = self.cluster(f=0, start=False)
        broken = cluster.folder / "broken.yaml"
        broken.write_text("cluster: [")
        code, _, checks = self.doctor(cluster, broken)
        self.assertEqual(code, 1)
        self.assertEqual(checks[None, "config"]["verdict"], "bad")


if __name__ == "__main__":
    unittest.main()
