"""paxosctl explain: what happened to a slot, on every replica, and what a crash leaves behind."""
import json
import signal
import unittest

from harness import ClusterTest, run, wait_for


class Explain(ClusterTest):
    def explain(self, cluster, slot, *arguments):
        code, out, err = cluster.ctl("explain", slot, "--json", *arguments)
        return code, json.loads(out), err

    def send(self, cluster, text):
        code, out, err = cluster.chat("send", "--room", "ops", "--json", "--timeout", "60s", text)
        self.assertEqual(code, 0, err)
        return json.loads(out)

    def test_a_normal_slot_tells_proposer_voters_chosen_and_applied(self):
        cluster = self.cluster(f=1)
        receipt = self.send(cluster, "hello")
        cluster.wait_all_applied()
        leader = cluster.leader()

        def complete():
            code, story, err = self.explain(cluster, receipt["slot"])
            self.assertEqual(code, 0, err)
            return story if len(story["votes"]) == 3 else None
        story = wait_for("all three votes are on record", complete)
        self.assertEqual((story["slot"], story["state"], story["kind"], story["commands"]), (receipt["slot"], "applied", "commands", 1))
        self.assertEqual((story["proposer"], story["ballot"]["replica"], story["ballot_by"]), (leader, leader, "votes"))
        self.assertGreater(story["chosen_ms"], 0)
        self.assertEqual([a["replica"] for a in story["applied"]], [0, 1, 2])
        self.assertTrue(all(r["reachable"] and r["applied"] and r["log"]["kind"] == "commands" for r in story["replicas"]))
        self.assertEqual(story["notes"], [])
        times = [e["time_ns"] for e in story["events"]]
        self.assertEqual(times, sorted(times))
        for replica in range(3):
            seen = [e["event"] for e in story["events"] if e["replica"] == replica]
            for event in ("voted", "vote durable", "chosen", "applied", "proposed" if replica == leader else "accept received"):
                self.assertIn(event, seen)
            self.assertLess(seen.index("voted"), seen.index("vote durable"))
            self.assertLess(seen.index("chosen"), seen.index("applied"))
        for vote in story["votes"]:
            self.assertGreater(vote["durable_ms"], 0)
        code, out, err = cluster.ctl("explain", receipt["slot"])
        self.assertEqual(code, 0, err)
        self.assertIn(f"Replica {leader} proposed a decree of 1 command in slot {receipt['slot']} under ballot", out)
        self.assertIn("may differ", out)

    def test_a_skipped_slot_is_explained_as_a_no_op_and_an_abort_leaves_a_dump(self):
        cluster = self.cluster(f=1)
        self.send(cluster, "hello")
        leader = cluster.leader()
        code, out, err = cluster.ctl("skip", "--next", 1, "--json")
        self.assertEqual(code, 0, err)
        slot = json.loads(out)["skipped"][0]
        code, story, err = self.explain(cluster, slot)
        self.assertEqual((code, story["state"], story["noop_cause"]), (0, "skipped", "skipped"), err)
        old = cluster.processes.pop(leader)
        old.send_signal(signal.SIGABRT)
        self.assertEqual(old.wait(), -signal.SIGABRT)
        self.send(cluster, "again")
        code, story, err = self.explain(cluster, slot, "--timeout", "1s")
        self.assertEqual((code, story["state"], story["kind"], story["noop_cause"]), (0, "applied", "noop", "hole"), err)
        self.assertNotEqual(story["proposer"], leader)
        self.assertIn("filled the hole", story["summary"])
        self.assertTrue(any(note.startswith(f"Replica {leader} does not answer") for note in story["notes"]))
        self.assertFalse(story["replicas"][leader]["reachable"])

        dumps = list((cluster.folder / "data" / str(leader) / "crash").glob("flight-*.bin"))
        self.assertEqual(len(dumps), 1)
        code, out, err = run("paxosctl", "explain", "--dump", dumps[0])
        self.assertEqual(code, 0, err)
        self.assertIn("SIGABRT", out)
        self.assertIn(f"leaves slot {slot} empty on the operator's word", out)
        code, out, err = run("paxosctl", "explain", "--dump", dumps[0], "--json", slot)
        self.assertEqual(code, 0, err)
        head, *events = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((head["replica"], head["signal"], head["pid"]), (leader, "SIGABRT", old.pid))
        self.assertIn("skipped", [e["event"] for e in events])

        cluster.start(leader)
        cluster.wait_all_applied()
        self.assertIn("paxosctl explain --dump", (cluster.folder / f"replica{leader}.log").read_text())
        _, story, _ = self.explain(cluster, slot)
        events = [e["event"] for e in story["events"] if e["replica"] == leader]
        self.assertIn("applied", events)
        self.assert_consistent(cluster)

    def test_after_a_restart_the_log_still_tells_the_decree(self):
        cluster = self.cluster(f=1)
        receipt = self.send(cluster, "hello")
        cluster.wait_all_applied()
        for replica in range(3):
            cluster.stop(replica)
        for replica in range(3):
            cluster.start(replica)
        cluster.wait_healthy()
        code, story, err = self.explain(cluster, receipt["slot"])
        self.assertEqual((code, story["state"], story["kind"], story["commands"]), (0, "applied", "commands", 1), err)
        self.assertEqual(story["ballot_by"], "log")
        self.assertEqual(sum("was started again" in note for note in story["notes"]), 3, story["notes"])

    def test_what_was_never_proposed_and_who_does_not_answer(self):
        cluster = self.cluster(f=1)
        code, story, err = self.explain(cluster, 123456)
        self.assertEqual((code, story["state"]), (1, "unproposed"), err)
        self.assertIn("never proposed", story["summary"])
        for words in (["0"], ["x"], ["1", "2"], []):
            self.assertEqual(cluster.ctl("explain", *words)[0], 2, words)
        self.assertEqual(run("paxosctl", "explain", "--dump", cluster.config)[0], 1)
        for replica in range(3):
            cluster.kill(replica)
        code, story, err = self.explain(cluster, 1, "--timeout", "200ms")
        self.assertEqual((code, story["state"]), (3, "unknown"), err)


if __name__ == "__main__":
    unittest.main()
