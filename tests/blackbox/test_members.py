"""A directory is lost for good, and another one takes its place by one command: under load, by the log and by a snapshot; nothing is
lost or doubled, and the lost one never votes again."""
import json
import shutil
import unittest

from harness import ClusterTest, Sender, run, wait_for
from test_backup import Restored
from test_snapshot import Behind


def voting(cluster, replica):
    one = next(r for r in cluster.status()["replicas"] if r["id"] == replica)
    return one if one["reachable"] and one["voting"] else None


def wait_rules(cluster):
    wait_for("rules 2", lambda: all(r.get("rules", 0) >= 2 for r in cluster.status()["replicas"]))


def member(cluster, *words, **options):
    """`paxosctl member ...`; the config comes behind the second word."""
    return run("paxosctl", "member", *words[:1], *(["--config", cluster.config] if words else []), *words[1:], **options)


def lose(cluster, replica):
    """Its directory is gone; it starts with an empty one, and does not vote."""
    if replica in cluster.processes:
        cluster.kill(replica)
    shutil.rmtree(cluster.folder / "data" / str(replica))
    cluster.start(replica)

    def dormant():
        one = next(r for r in cluster.status()["replicas"] if r["id"] == replica)
        return one["reachable"] and one["role"] == "dormant"
    wait_for("it is dormant", dormant)


class Members(ClusterTest):
    def replace(self, cluster, replica):
        code, out, err = member(cluster, "replace", replica, "--json", "--timeout", "120s", timeout=180)
        self.assertEqual(code, 0, err + out)
        done = json.loads(out)
        self.assertTrue(done["replaced"])
        self.assertTrue(voting(cluster, replica))
        return done

    def test_each_replica_is_replaced_once_under_load(self):
        cluster = self.cluster(f=1)
        wait_rules(cluster)
        senders = [Sender(cluster, "ops", [f"{n} line {i}" for i in range(400)], "--timeout", "120s") for n in range(3)]
        for number, replica in enumerate((2, 0, 1)):
            lose(cluster, replica)
            done = self.replace(cluster, replica)
            self.assertEqual(done["configuration"], number + 2)
        receipts = []
        for sender in senders:
            code, told, err = sender.finish()
            self.assertEqual(code, 0, err)
            self.assertEqual(len(told), 400)
            receipts += told
        self.assert_consistent(cluster)
        # Each counts as any other.
        cluster.stop(1)
        self.assertEqual(cluster.chat("send", "--room", "last", "-", text="after\n", timeout=120)[0], 0)
        history = self.assert_exactly_once(cluster, "ops", receipts)
        self.assertEqual(len(history), 1200)
        code, out, err = member(cluster, "list", "--json")
        self.assertEqual(code, 0, err)
        known = json.loads(out)
        self.assertEqual(known["configuration"], 4)
        self.assertEqual([m["id"] for m in known["members"]], [0, 1, 2])
        self.assertFalse(any(m.get("other_directory") for m in known["members"]))

    def test_its_backup_becomes_a_cluster_that_votes(self):
        cluster = self.cluster(f=1)
        wait_rules(cluster)
        lose(cluster, 2)
        self.replace(cluster, 2)
        code, _, err = cluster.chat("send", "--room", "ops", "-", text="".join(f"line {n}\n" for n in range(50)), timeout=120)
        self.assertEqual(code, 0, err)
        path = cluster.folder / "backup"
        code, _, err = cluster.ctl("backup", path)
        self.assertEqual(code, 0, err)
        other = Restored(path, 2)
        self.addCleanup(self._finish, other)
        self.assertEqual(other.code, 0, other.err)
        for replica in range(5):
            other.start(replica)
        other.wait_healthy()
        code, out, err = member(other, "list", "--json")
        self.assertEqual(code, 0, err)
        self.assertEqual(json.loads(out)["configuration"], 1)
        # All five are needed in turn, and one of them is replaced.
        for replica in (0, 1):
            other.stop(replica)
        self.assertEqual(other.chat("send", "--room", "ops", "-", text="after\n", timeout=120)[0], 0)
        other.start(0)
        lose(other, 1)
        self.assertEqual(self.replace(other, 1)["configuration"], 2)
        for replica in (3, 4):
            other.stop(replica)
        self.assertEqual(other.chat("send", "--room", "ops", "-", text="last\n", timeout=120)[0], 0)
        self.assertEqual([m["text"] for m in other.history("ops")], [f"line {n}" for n in range(50)] + ["after", "last"])

    def test_the_lost_directory_never_votes_again(self):
        cluster = self.cluster(f=1)
        wait_rules(cluster)
        victim = next(i for i in range(3) if i != cluster.leader())
        cluster.stop(victim)
        directory, shelf = cluster.folder / "data" / str(victim), cluster.folder / "shelf"
        shutil.copytree(directory, shelf)
        lose(cluster, victim)
        code, out, err = member(cluster, "list")
        self.assertEqual(code, 0, err)
        self.assertIn(f"another directory: replace it with `paxosctl member replace {victim}`", out)
        self.replace(cluster, victim)
        # Once more: it is refused, and says that all is well.
        code, out, err = member(cluster, "replace", victim, "--json", timeout=180)
        self.assertEqual(code, 1, out + err)
        self.assertFalse(json.loads(out)["replaced"])
        self.assertIn("it is there, and votes, in configuration 2: nothing needs to be done", json.loads(out)["refused"])
        cluster.stop(victim)
        shutil.rmtree(directory)
        shelf.rename(directory)
        for _ in range(2):
            cluster.start(victim)

            def replaced():
                one = next(r for r in cluster.status()["replicas"] if r["id"] == victim)
                return one["reachable"] and not one["voting"] and "taken the place" in one.get("reason", "")
            wait_for("it says that it was replaced", replaced)
            # What a new directory is told, would be refused of this one; nor is it one that catches up.
            _, out, _ = member(cluster, "list")
            self.assertIn("can't take the lost one's place", out)
            self.assertIn("an empty data directory first", out)
            advice = [a["advice"] for a in cluster.status()["attention"] if a["replica"] == victim]
            self.assertIn("start it with an empty data directory first", advice[0])
            cluster.stop(victim)
        self.assertEqual(cluster.chat("send", "--room", "last", "-", text="after\n", timeout=120)[0], 0)

    def test_an_older_copy_of_the_new_directory_is_not_taken_for_one_that_catches_up(self):
        cluster = self.cluster(f=1)
        wait_rules(cluster)
        victim = next(i for i in range(3) if i != cluster.leader())
        lose(cluster, victim)
        self.replace(cluster, victim)
        directory, copy = cluster.folder / "data" / str(victim), cluster.folder / "copy"
        cluster.stop(victim)
        shutil.copytree(directory, copy)
        cluster.start(victim)
        wait_for("it votes again", lambda: voting(cluster, victim))
        self.assertEqual(cluster.chat("send", "--room", "ops", "-", text="meanwhile\n", timeout=120)[0], 0)
        cluster.stop(victim)
        shutil.rmtree(directory)
        copy.rename(directory)
        cluster.start(victim)

        def outdated():
            one = next(r for r in cluster.status()["replicas"] if r["id"] == victim)
            return one["reachable"] and "older copy" in one.get("reason", "")
        wait_for("it is an older copy", outdated)
        code, out, err = member(cluster, "replace", victim, "--json", "--timeout", "60s", timeout=180)
        self.assertEqual(code, 1, out + err)
        self.assertIn("older copy", json.loads(out)["refused"])
        self.assertIn("start it with an empty one first", json.loads(out)["refused"])
        lose(cluster, victim)
        self.assertEqual(self.replace(cluster, victim)["configuration"], 3)

    def test_it_is_refused_with_the_reason(self):
        cluster = self.cluster(f=1)
        wait_rules(cluster)
        victim = next(i for i in range(3) if i != cluster.leader())
        code, out, err = member(cluster, "replace", victim, "--json", timeout=180)
        self.assertEqual(code, 1, out + err)
        self.assertIn("is there, and votes, in configuration 1: nothing needs to be done", json.loads(out)["refused"])
        cluster.stop(victim)
        code, _, err = member(cluster, "replace", victim, timeout=180)
        self.assertEqual(code, 1)
        self.assertIn("start it, with an empty data directory", err)
        for words in (["replace"], ["replace", "9"], ["mend", "1"], ["list", "1"], []):
            self.assertEqual(member(cluster, *words)[0], 2, words)

    def test_the_leadership_goes_where_it_is_sent(self):
        cluster = self.cluster(f=1)
        for _ in range(3):
            to = (cluster.leader() + 1) % 3
            wait_for("it hands over", lambda: cluster.ctl("transfer-leader", to)[0] == 0)
            self.assertEqual(cluster.leader(), to)
        cluster.kill((cluster.leader() + 1) % 3)
        code, _, err = cluster.ctl("transfer-leader", (cluster.leader() + 1) % 3)
        self.assertEqual(code, 1, err)
        self.assertIn("can't lead now", err)


class Trimmed(Behind):
    def test_by_a_snapshot_where_the_log_is_trimmed(self):
        cluster = self.cluster(start=False)
        away = 2
        count = self.fall_behind(cluster, away, 20)
        lose(cluster, away)
        code, out, err = member(cluster, "replace", away, "--json", "--timeout", "240s", timeout=300)
        self.assertEqual(code, 0, err + out)
        self.assertTrue(self.said(cluster, away, "takes the place of this replica's state"))
        self.assertTrue(voting(cluster, away))
        self.assert_whole(cluster, away, count)
        cluster.stop(0)
        self.assertEqual(cluster.chat("send", "--room", "last", "-", text="after\n", timeout=120)[0], 0)


if __name__ == "__main__":
    unittest.main()
