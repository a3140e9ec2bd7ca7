"""Crash-restart: any replica, killed at any moment and started again, resumes with its promises and votes."""
import json
import unittest

from harness import ClusterTest, Sender, wait_for


class Restart(ClusterTest):
    def test_a_killed_replica_recovers_catches_up_and_verifies(self):
        cluster = self.cluster(f=1)
        sender = Sender(cluster, "ops", [f"message {m}" for m in range(400)], "--timeout", "60s")
        wait_for("messages are on their way", lambda: len(cluster.history("ops", "--local")) > 20)
        follower = next(i for i in cluster.processes if i != cluster.leader())
        before = next(r for r in cluster.status()["replicas"] if r["id"] == follower)
        cluster.kill(follower)
        cluster.start(follower)
        code, receipts, err = sender.finish()
        self.assertEqual(code, 0, err)
        self.assert_exactly_once(cluster, "ops", receipts)
        self.assert_consistent(cluster)
        after = next(r for r in cluster.status()["replicas"] if r["id"] == follower)
        self.assertGreater(after["boot"], before["boot"])
        self.assertEqual(after["incarnation"], before["incarnation"])
        self.assertGreaterEqual((after["promised"]["round"], after["promised"]["replica"]),
                                (before["promised"]["round"], before["promised"]["replica"]))
        code, verdict, err = cluster.verify("--full")
        self.assertEqual(code, 0, err)
        self.assertTrue(all(r["records"] > 0 for r in verdict["replicas"]))

    def test_all_killed_at_once_lose_nothing(self):
        cluster = self.cluster(f=1)
        sender = Sender(cluster, "ops", [f"message {m}" for m in range(300)], "--timeout", "60s")
        wait_for("messages are on their way", lambda: len(cluster.history("ops", "--local")) > 20)
        for replica in list(cluster.processes):
            cluster.kill(replica)
        for replica in range(cluster.replicas):
            cluster.start(replica)
        code, receipts, err = sender.finish()
        self.assertEqual(code, 0, err)
        self.assertEqual(len(receipts), 300)
        self.assert_exactly_once(cluster, "ops", receipts)
        self.assert_consistent(cluster)

    def test_killing_in_turns_under_load_loses_nothing(self):
        cluster = self.cluster(f=1)
        senders = [Sender(cluster, "ops", [f"{c} {m}" for m in range(300)], "--timeout", "60s") for c in range(3)]
        for round_number in range(6):
            replica = round_number % 3
            cluster.kill(replica)
            cluster.start(replica)
            cluster.wait_healthy()
        receipts = []
        for sender in senders:
            code, lines, err = sender.finish()
            self.assertEqual(code, 0, err)
            receipts += lines
        self.assertEqual(len(receipts), 900)
        self.assert_exactly_once(cluster, "ops", receipts)
        self.assert_consistent(cluster)

    def test_a_clean_stop_hands_the_leadership_over(self):
        cluster = self.cluster(f=1)
        leader = cluster.leader()
        self.assertEqual(cluster.stop(leader), 0)
        log = (cluster.folder / f"replica{leader}.log").read_text()
        self.assertIn("handed the leadership over", log)
        self.assertNotEqual(cluster.leader(), leader)

    def test_a_wiped_replica_is_dormant(self):
        cluster = self.cluster(f=1)
        self.assertEqual(cluster.chat("send", "--room", "ops", "hello")[0], 0)
        victim = next(i for i in cluster.processes if i != cluster.leader())
        cluster.kill(victim)
        import shutil
        shutil.rmtree(cluster.folder / "data" / str(victim))
        cluster.start(victim)

        def dormant():
            one = next(r for r in cluster.status()["replicas"] if r["id"] == victim)
            return one if one["reachable"] and not one["voting"] and "directory" in one.get("reason", "") else None
        wait_for("the wiped replica says that it may not vote", dormant)
        # The other two are a quorum still.
        self.assertEqual(cluster.chat("send", "--room", "ops", "still here")[0], 0)
        # They can still be compared, without the one that has nothing.
        code, verdict, err = cluster.verify()
        self.assertEqual(code, 0, err)
        self.assertEqual(sorted(r["id"] for r in verdict["replicas"]), sorted(i for i in cluster.processes if i != victim))
        self.assertIn(f"replica {victim} was left out", err)
        # With one of those gone, the dormant one does not make up the number.
        other = next(i for i in cluster.processes if i not in (victim, cluster.leader()))
        cluster.kill(other)
        code, _, _ = cluster.chat("send", "--room", "ops", "--timeout", "2s", "no quorum")
        self.assertEqual(code, 3)

    def test_the_first_start_needs_every_replica_and_status_names_the_missing_one(self):
        cluster = self.cluster(f=1, start=False)
        cluster.start(0)
        cluster.start(1)

        def waiting():
            replicas = cluster.status()["replicas"]
            return all(r["reachable"] and r["role"] == "unborn" and r["reason"].rstrip().endswith("2") for r in replicas[:2])
        wait_for("both say that replica 2 is missing", waiting)
        cluster.start(2)
        cluster.wait_healthy()

    def test_pause_and_isolate_cost_no_message(self):
        cluster = self.cluster(f=1)
        sender = Sender(cluster, "ops", [f"message {m}" for m in range(200)], "--timeout", "60s")
        leader = cluster.leader()
        cluster.ctl_done("pause", leader, "--for", "1s")
        wait_for("another leads", lambda: cluster.leader() != leader)
        cluster.ctl_done("isolate", "leader", "--for", "1s")
        code, receipts, err = sender.finish()
        self.assertEqual(code, 0, err)
        self.assert_exactly_once(cluster, "ops", receipts)
        wait_for("all answer again", lambda: all(r["reachable"] for r in cluster.status()["replicas"]))
        self.assert_consistent(cluster)


if __name__ == "__main__":
    unittest.main()
