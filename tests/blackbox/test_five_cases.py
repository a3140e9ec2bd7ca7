"""The five cases of the teaching project, over real processes: normal operation, the primary dies, it dies f times, a
skipped slot becomes a no-op, messages are lost. Each ends by comparing hashes, finding every acknowledged message
exactly once, and restarting and verifying the dead."""
import json
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from harness import BIN, ClusterTest, Sender, run, wait_for


class FiveCases(ClusterTest):
    def send_from(self, cluster, clients, messages, room="ops"):
        return [Sender(cluster, room, [f"client {c} message {m}" for m in range(messages)], "--name", f"c{c}",
                       "--timeout", "60s") for c in range(clients)]

    def receipts_of(self, senders, messages):
        receipts = []
        for sender in senders:
            code, lines, err = sender.finish()
            self.assertEqual(code, 0, err)
            self.assertEqual(len(lines), messages)
            self.assertEqual([r["client_seq"] for r in lines], sorted(r["client_seq"] for r in lines))
            receipts += lines
        return receipts

    def restart_all_dead(self, cluster):
        for replica in range(cluster.replicas):
            if replica not in cluster.processes:
                cluster.start(replica)
        cluster.wait_healthy()
        self.assert_consistent(cluster)

    def normal(self, f, clients, messages):
        cluster = self.cluster(f=f)
        receipts = self.receipts_of(self.send_from(cluster, clients, messages), messages)
        history = self.assert_exactly_once(cluster, "ops", receipts)
        self.assertEqual(len(history), clients * messages)
        self.assert_consistent(cluster)

    def test_normal_operation_f0_1_client(self):
        self.normal(0, 1, 20)

    def test_normal_operation_f1_10_clients(self):
        self.normal(1, 10, 20)

    def test_normal_operation_f2_50_clients(self):
        self.normal(2, 50, 10)

    def test_normal_operation_f3_5_clients(self):
        self.normal(3, 5, 20)

    def test_the_primary_dies(self):
        cluster = self.cluster(f=1)
        senders = self.send_from(cluster, 5, 200)
        wait_for("messages are on their way", lambda: len(cluster.history("ops", "--local")) > 20)
        leader = cluster.leader()
        code, out, err = cluster.ctl("kill", "leader")
        self.assertEqual(code, 0, err)
        cluster.processes.pop(leader).wait()
        receipts = self.receipts_of(senders, 200)
        self.assert_exactly_once(cluster, "ops", receipts)
        self.assertNotEqual(cluster.leader(), leader)
        self.assert_consistent(cluster)
        self.restart_all_dead(cluster)

    def test_the_primary_dies_f_times_and_f_plus_1_stop_everything(self):
        cluster = self.cluster(f=2)
        receipts = []
        for round_number in range(2):
            senders = self.send_from(cluster, 3, 30, room=f"room{round_number}")
            leader = cluster.leader()
            cluster.kill(leader)
            receipts.append(self.receipts_of(senders, 30))
        for round_number in range(2):
            self.assert_exactly_once(cluster, f"room{round_number}", receipts[round_number])
        third = cluster.leader()
        cluster.kill(third)
        code, out, err = cluster.chat("send", "--room", "late", "--timeout", "2s", "nobody may acknowledge this")
        self.assertEqual((code, out), (3, ""), err)
        self.assertEqual(cluster.ctl("status", "--json")[0], 3)
        code, _, err = cluster.verify()
        self.assertEqual(code, 3, "fewer than a quorum is never called consistent")
        cluster.start(third)
        cluster.wait_healthy()
        code, out, err = cluster.chat("send", "--room", "late", "--json", "--timeout", "30s", "now it works")
        self.assertEqual(code, 0, err)
        self.restart_all_dead(cluster)

    def test_skipped_slots_become_no_ops_in_every_log(self):
        cluster = self.cluster(f=2)
        self.assertEqual(cluster.chat("send", "--room", "ops", "before")[0], 0)
        code, out, err = cluster.ctl("skip", "--next", 2, "--json")
        self.assertEqual(code, 0, err)
        skipped = json.loads(out)["skipped"]
        self.assertEqual(len(skipped), 2)
        # A slot that was proposed is refused with the next free one.
        code, _, err = cluster.ctl("skip", 1)
        self.assertEqual(code, 1, err)
        self.assertIn("next free", err)
        # Nothing above the hole is applied, and clients are told why.
        code, out, err = cluster.chat("send", "--room", "ops", "--timeout", "1s", "waits for the hole")
        self.assertEqual(code, 3, "a receipt came although a slot below is empty")
        self.assertIn("slot", err)
        leader = cluster.leader()
        cluster.kill(leader)
        code, out, err = cluster.chat("send", "--room", "ops", "--timeout", "30s", "--json", "after")
        self.assertEqual(code, 0, err)
        self.restart_all_dead(cluster)
        for replica in range(cluster.replicas):
            kinds = {entry["slot"]: entry for entry in cluster.log(replica)}
            for slot in skipped:
                self.assertEqual(kinds[slot]["kind"], "noop", f"slot {slot} of replica {replica}")
                self.assertTrue(kinds[slot]["chosen"])
        self.assert_exactly_once(cluster, "ops", [json.loads(out)])

    def lossy(self, loss):
        cluster = self.cluster(f=1, loss=loss)
        receipts = self.receipts_of(self.send_from(cluster, 5, 20), 20)
        self.assert_exactly_once(cluster, "ops", receipts)
        self.assert_consistent(cluster)

    def test_5_percent_loss_stays_live(self):
        self.lossy(0.05)

    def test_10_percent_loss_stays_live(self):
        self.lossy(0.10)

    def test_20_percent_loss_stays_live(self):
        self.lossy(0.20)

    def test_heavy_loss_is_safe_and_heals(self):
        cluster = self.cluster(f=1)
        senders = self.send_from(cluster, 3, 20)
        cluster.ctl_done("loss", "0.6")
        wait_for("loss is on", lambda: all(r.get("loss", 0) > 0.5 for r in cluster.status()["replicas"] if r["reachable"]))

        def off():
            return cluster.ctl("loss", "0")[0] == 0
        wait_for("loss is off again", off)
        receipts = self.receipts_of(senders, 20)
        self.assert_exactly_once(cluster, "ops", receipts)
        self.assert_consistent(cluster)

    def test_script_mode_checks_itself(self):
        code, out, err = run("paxosctl", "run", "-f", 2, "--clients", 10, "--messages", 50, "--kill-primary", 2,
                             "--skip-slots", "3,7", "--loss", "0.05", "--json", timeout=180)
        self.assertEqual(code, 0, err + out)
        result = json.loads(out)
        self.assertTrue(result["consistent"])
        self.assertEqual((result["sent"], result["acknowledged"], result["lost"], result["duplicated"], result["noops"]),
                         (500, 500, 0, 0, 2))
        self.assertEqual(sum(1 for r in result["replicas"] if not r["alive"]), 2)
        self.assertGreaterEqual(result["view_changes"], 2)

    def test_script_mode_that_cannot_start_says_why_and_prints_its_object(self):
        with tempfile.TemporaryDirectory() as folder:
            here = pathlib.Path(folder)
            shutil.copy(BIN / "paxosctl", here)
            # The paxosd beside it is the one that is started.
            (here / "paxosd").write_text("#!/bin/sh\necho no such luck >&2\nexit 3\n")
            (here / "paxosd").chmod(0o755)
            words = [here / "paxosctl", "run", "-f", "1", "--clients", "1", "--messages", "3", "--json", "--dir", here / "run"]
            done = subprocess.run(words, capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertRegex(done.stderr, r"replica \d ended as soon as it was started; see .*run/replica\d.log")
            result = json.loads(done.stdout)
            self.assertEqual((result["consistent"], result["sent"], result["acknowledged"]), (False, 0, 0))
            self.assertIn("no such luck", "".join(log.read_text() for log in (here / "run").glob("replica*.log")))
            again = subprocess.run(words, capture_output=True, text=True, timeout=60)
            self.assertEqual((again.returncode, again.stdout), (1, ""))
            self.assertIn("a cluster is there already, and a run makes its own; name another --dir", again.stderr)
        code, out, err = run("paxosctl", "run", "--dir", "/proc/none/run")
        self.assertEqual((code, out), (1, ""))
        self.assertIn("--dir /proc/none/run: can't be made", err)


if __name__ == "__main__":
    unittest.main()
