"""A secret was posted: `paxosctl redact` takes it out of every replica's history, state and log, and says what it did."""
import json
import shutil

from harness import ClusterTest, wait_for

SECRET = "zq8-Kw3#vT1!pL9x the password of the vault"


class Redact(ClusterTest):
    def born(self, **options):
        cluster = self.cluster(**options)
        wait_for("rules 2", lambda: all(r.get("rules") == 2 for r in cluster.status()["replicas"]))
        return cluster

    def send(self, cluster, text, *words):
        code, out, err = cluster.chat("send", "--room", "ops", "--name", "ann", "--json", "--timeout", "60s", *words, text)
        self.assertEqual(code, 0, err)
        return json.loads(out)

    def redact(self, cluster, seq, *words, room="ops"):
        words += () if "--name" in words else ("--name", "bob")
        code, out, err = cluster.ctl("redact", "--json", "--timeout", "60s", *words, room, seq)
        return code, json.loads(out) if out else None, err

    def directories(self, cluster):
        return sorted(p.parent for p in cluster.folder.rglob("log-mark"))

    def holding(self, cluster, replica):
        """Files of its data directory that hold the text."""
        found = []
        for file in self.directories(cluster)[replica].rglob("*"):
            try:
                if file.is_file() and SECRET.encode() in file.read_bytes():
                    found.append(str(file))
            except FileNotFoundError:
                pass  # a table that was compacted away meanwhile
        return found

    def gone_everywhere(self, cluster):
        def done():
            status = [r.get("redactions") for r in cluster.status()["replicas"]]
            return all(s and s["pending"] == 0 and "fault" not in s for s in status)
        wait_for("every replica to have it off its disk", done, deadline=240)
        self.assertEqual([self.holding(cluster, r) for r in range(3)], [[], [], []])

    def shown(self, cluster, seq):
        for replica in range(3):
            code, out, err = cluster.chat("history", "--room", "ops", "--json", "--replica", replica, "--local")
            self.assertEqual(code, 0, err)
            messages = {m["seq"]: m for m in map(json.loads, out.splitlines())}
            self.assertEqual(messages[seq]["text"], "")
            self.assertEqual((messages[seq]["name"], messages[seq]["seq"]), ("ann", seq))
            self.assertEqual((messages[seq]["redacted"]["by"], messages[seq]["redacted"]["reason"]), ("bob", "a secret"))
            self.assertTrue(all(m["text"] for s, m in messages.items() if s != seq))
            log = json.dumps(cluster.log(replica))
            self.assertNotIn(SECRET, log)
            self.assertIn('"redacted": true', log)
        code, out, err = cluster.chat("history", "--room", "ops")
        self.assertIn("ann: (redacted by bob: a secret)", out)

    def test_the_text_is_off_every_disk_also_of_a_replica_that_was_down(self):
        cluster = self.born()
        self.send(cluster, "before")
        seq = self.send(cluster, SECRET, "--key", "k")["seq"]
        wait_for("the text on every disk", lambda: all(self.holding(cluster, r) for r in range(3)))
        cluster.wait_all_applied()
        down = (cluster.leader() + 1) % 3
        cluster.kill(down)
        code, told, err = self.redact(cluster, seq, "--reason", "a secret")
        self.assertEqual(code, 0, err)
        self.assertEqual((told["room"], told["seq"], told["by"]), ("ops", seq, "bob"))
        self.send(cluster, "after")
        cluster.start(down)
        cluster.wait_healthy()
        cluster.wait_all_applied()
        self.gone_everywhere(cluster)
        self.shown(cluster, seq)
        self.assertEqual(self.send(cluster, SECRET, "--key", "k")["seq"], seq, "a repeat under its key is known as ever")
        self.gone_everywhere(cluster)
        code, out, err = cluster.verify("--full")
        self.assertEqual(code, 0, (out, err))
        # Redone from the log, which has no text to give.
        for replica in range(3):
            cluster.stop(replica)
            shutil.rmtree(self.directories(cluster)[replica] / "state")
        for replica in range(3):
            cluster.start(replica)
        cluster.wait_healthy()
        cluster.wait_all_applied()
        self.gone_everywhere(cluster)
        self.shown(cluster, seq)
        code, out, err = cluster.verify("--full")
        self.assertEqual(code, 0, (out, err))
        self.assertEqual(self.send(cluster, SECRET, "--key", "k")["seq"], seq)
        code, told, err = self.redact(cluster, seq, "--reason", "a secret")
        self.assertEqual(code, 0, "twice is fine: " + err)

    def test_what_can_not_be_is_said(self):
        cluster = self.born()
        seq = self.send(cluster, "one")["seq"]
        for room, number in [("ops", seq + 1), ("elsewhere", 1)]:
            code, told, err = self.redact(cluster, number, room=room)
            self.assertEqual(code, 1, err)
            self.assertIn("there is no such message", told["refused"])
        for words, said in [(["ops"], "give ROOM and SEQ"), (["ops", "0"], "no message's number"), (["ops", "x"], "no message's number")]:
            code, _, err = cluster.ctl("redact", *words)
            self.assertEqual(code, 2, err)
            self.assertIn(said, err)
        for words, said in [(["--reason", "r" * 257], "at most 256"), (["--name", "a\nb"], "control character"), (["--reason", "a\nb"], "control character")]:
            code, told, err = self.redact(cluster, seq, *words)
            self.assertEqual(code, 1, err)
            self.assertIn(said, told["refused"])
        leader = cluster.leader()
        for replica in range(3):
            if replica != leader:
                cluster.kill(replica)
        code, out, err = cluster.ctl("redact", "--json", "--timeout", "2s", "ops", seq)
        self.assertEqual(code, 3, err)
        self.assertIn("no quorum", err)
        self.assertIn("does no harm", json.loads(out)["unknown"])
        for replica in range(3):
            if replica != leader:
                cluster.start(replica)
        cluster.wait_healthy()
        code, told, err = self.redact(cluster, seq)
        self.assertEqual(code, 0, err)
