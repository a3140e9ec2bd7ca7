"""Rooms: the list of them, new ones made on purpose, names as they are typed."""
import json
import unittest

from harness import ClusterTest


class Rooms(ClusterTest):
    def send(self, cluster, room, text, *words, name="eve"):
        return cluster.chat("send", "--room", room, "--name", name, *words, text)

    def rooms(self, cluster, *words):
        code, out, err = cluster.ctl("rooms", "--json", *words)
        self.assertEqual(code, 0, err)
        return [json.loads(line) for line in out.splitlines()]

    def test_a_name_that_may_mean_two_rooms_is_not_guessed_without_a_quorum(self):
        cluster = self.cluster(f=1)
        self.assertEqual(cluster.chat("send", "--room", "ops", "hello")[0], 0)
        for replica in (0, 1, 2):
            cluster.kill(replica)
        for words in (("send", "--room", "Ops", "text"), ("history", "--room", "Ops", "--timeout", "2s")):
            code, out, err = cluster.chat(*words)
            self.assertEqual((code, out), (3, ""), err)
            self.assertIn("nobody can tell now whether there is a room that is written Ops", err)

    def test_rooms_are_listed_with_messages_and_the_last_ones_time(self):
        cluster = self.cluster(f=1)
        code, out, err = cluster.ctl("rooms")
        self.assertEqual((code, out), (0, ""), err)
        self.assertIn("there are no rooms", err)
        self.send(cluster, "ops", "one")
        self.send(cluster, "ops", "two")
        self.send(cluster, "dev", "evil \x1b[2J")
        listed = self.rooms(cluster)
        self.assertEqual([(r["name"], r["messages"]) for r in listed], [("dev", 1), ("ops", 2)])
        self.assertEqual(listed[1]["last_time_ms"], cluster.history("ops")[-1]["time_ms"])
        code, out, _ = cluster.ctl("rooms")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"(?m)^ops +2  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$")
        # Without a quorum: refused as every read that can't be confirmed, and told with --local.
        cluster.kill(0)
        cluster.kill(1)
        code, out, err = cluster.ctl("rooms", "--timeout", "2s")
        self.assertEqual((code, out), (3, ""), err)
        self.assertIn("--local", err)
        self.assertEqual(len(self.rooms(cluster, "--local")), 2)

    def test_a_new_room_is_said_and_the_one_that_was_meant(self):
        cluster = self.cluster(f=0)
        code, out, err = self.send(cluster, "ops", "first")
        self.assertEqual(code, 0, err)
        self.assertIn("new room ops", err)
        self.assertNotIn("did you mean", err)
        self.assertEqual(self.send(cluster, "ops", "second")[2], "", "it is not new any more")
        code, out, err = self.send(cluster, "opss", "typo")
        self.assertEqual(code, 0, "it goes on")
        self.assertIn("new room opss", err)
        self.assertIn("did you mean ops?", err)
        self.assertEqual(self.send(cluster, "brandnew", "x", "--create")[2], "")
        code, out, err = self.send(cluster, "dve", "x", "--no-create", "--json")
        self.assertEqual(code, 1)
        self.assertIn("there is no room dve", json.loads(out)["refused"])
        code, out, err = self.send(cluster, "obs", "x", "--no-create")
        self.assertEqual((code, out), (1, ""))
        self.assertIn("did you mean ops?", err)
        self.assertEqual(self.send(cluster, "ops", "third", "--no-create")[0], 0)
        self.assertEqual(self.send(cluster, "ops", "x", "--no-create", "--create")[0], 2)
        self.assertEqual([r["name"] for r in self.rooms(cluster)], ["brandnew", "ops", "opss"])

    def test_no_create_without_an_answer_sends_nothing(self):
        cluster = self.cluster(f=0)
        self.send(cluster, "ops", "first")
        cluster.kill(0)
        code, _, err = self.send(cluster, "ops", "x", "--no-create", "--timeout", "1s")
        self.assertEqual(code, 3)
        self.assertIn("nothing was sent", err)

    def test_case_and_a_hash_are_folded_and_an_older_room_keeps_its_name(self):
        cluster = self.cluster(f=0)
        self.assertEqual(self.send(cluster, "#Ops", "one")[0], 0)
        self.assertEqual(self.send(cluster, "OPS", "two")[0], 0)
        self.assertEqual([m["text"] for m in cluster.history("oPs")], ["one", "two"])
        self.assertEqual([r["name"] for r in self.rooms(cluster)], ["ops"])
        for name in (" ops", "ops ", "ops\u00a0"):
            code, _, err = self.send(cluster, name, "x")
            self.assertEqual(code, 1, name)
            self.assertIn("white space", err)


if __name__ == "__main__":
    unittest.main()
