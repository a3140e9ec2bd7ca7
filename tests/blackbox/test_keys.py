"""Messages with a key: one message, whatever retry loops, machines and crashes send it again. And what `send` says of its outbox."""
import json
import subprocess

from harness import BIN, ClusterTest, die_with_parent, wait_for


class Keys(ClusterTest):
    def born(self, **options):
        cluster = self.cluster(**options)
        wait_for("rules 2", lambda: all(r.get("rules") == 2 for r in cluster.status()["replicas"]))
        return cluster

    def send(self, cluster, *words, **options):
        code, out, err = cluster.chat("send", "--room", "ops", "--json", *words, **options)
        return code, [json.loads(line) for line in out.splitlines()], err

    def test_a_retry_loop_posts_one_message_through_the_death_of_the_leader_and_a_restart_of_all(self):
        cluster = self.born()
        code, (first,), err = self.send(cluster, "--key", "db3", "db3 full")
        self.assertEqual(code, 0, err)
        self.assertNotIn("repeat", first)
        cluster.kill(cluster.leader())
        for name in "ann", "bob":
            code, (again,), err = self.send(cluster, "--key", "db3", "--name", name, "--timeout", "60s", "db3 full")
            self.assertEqual(code, 0, err)
            self.assertEqual(again.pop("repeat"), True)
            self.assertEqual(again, first, "the first one's receipt, whoever asks")
        for replica in list(cluster.processes):
            cluster.kill(replica)
        for replica in range(3):
            cluster.start(replica)
        cluster.wait_healthy()
        code, (again,), err = self.send(cluster, "--key", "db3", "--timeout", "60s", "db3 full")
        self.assertEqual((code, again["seq"], again["slot"]), (0, first["seq"], first["slot"]), err)
        code, out, err = self.send(cluster, "--key", "db3", "db3 is full")
        self.assertEqual(code, 1, err)
        self.assertIn("another text", out[0]["refused"])
        code, (other,), err = self.send(cluster, "db3 full")
        self.assertEqual((code, other["seq"]), (0, 2), err)
        self.assertEqual([m["text"] for m in cluster.history("ops")], ["db3 full", "db3 full"])
        self.assert_consistent(cluster)

    def test_two_machines_at_once_and_a_retry_loop_with_a_state_file_post_one(self):
        cluster = self.born()
        cluster.kill(1)
        cluster.kill(2)
        state = cluster.folder / "s"
        for _ in range(3):
            code, _, err = self.send(cluster, "--state", state, "--key", "db3", "--timeout", "300ms", "db3 full")
            self.assertEqual(code, 3, err)
            self.assertIn("send --resume --state", err)
        cluster.start(1)
        cluster.start(2)
        cluster.wait_healthy()
        both = [subprocess.Popen([str(BIN / "paxoschat"), "send", "--config", str(cluster.config), "--room", "ops", "--json", "--key", "db3",
                                  "--timeout", "60s", "db3 full"], stdout=subprocess.PIPE, preexec_fn=die_with_parent) for _ in range(2)]
        code, out, err = cluster.chat("send", "--resume", "--state", state, "--json", "--timeout", "60s")
        self.assertEqual(code, 0, err)
        receipts = [json.loads(line) for line in out.splitlines()]
        for process in both:
            receipts.append(json.loads(process.communicate(timeout=120)[0]))
            self.assertEqual(process.returncode, 0)
        self.assertEqual(len(receipts), 5)
        self.assertEqual({(r["seq"], r["slot"], r["session"]) for r in receipts}, {(1, receipts[0]["slot"], receipts[0]["session"])})
        self.assertEqual(len(cluster.history("ops")), 1)

    def test_a_state_file_alone_posts_what_it_is_given_and_says_so(self):
        cluster = self.born()
        cluster.kill(1)
        cluster.kill(2)
        state = cluster.folder / "s"
        for _ in range(2):
            code, _, err = self.send(cluster, "--state", state, "--timeout", "300ms", "db3 full")
            self.assertEqual(code, 3, err)
            self.assertIn("To give the text again would post it again", err)
        code, _, err = self.send(cluster, "--timeout", "300ms", "db3 full")
        self.assertEqual(code, 3)
        self.assertNotIn("can't double", err)
        cluster.start(1)
        cluster.wait_healthy()
        code, out, err = cluster.chat("send", "--resume", "--state", state, "--timeout", "60s")
        self.assertEqual(code, 0, err)
        self.assertEqual(len(out.splitlines()), 2)
        code, out, err = cluster.chat("send", "--resume", "--state", state)
        self.assertEqual((code, out), (0, ""), err)

    def test_nothing_is_resumed_from_a_file_that_is_not_there(self):
        cluster = self.born(f=0)
        state = cluster.folder / "nosuch.state"
        code, out, err = cluster.chat("send", "--resume", "--state", state)
        self.assertEqual((code, out), (1, ""))
        self.assertIn("nothing to resume", err)
        self.assertIn("nosuch.state", err)
        self.assertFalse(state.exists(), "a wrong name makes no file")

    def test_wrong_words_are_told(self):
        cluster = self.born(f=0)
        for words, said in [(("--key", "k", "-"), "give its TEXT"), (("--key", "k"), "give its TEXT"),
                            (("--resume",), "--resume goes with --state"), (("--resume", "--state", "s", "text"), "reads nothing")]:
            code, _, err = cluster.chat("send", "--room", "ops", *words)
            self.assertEqual(code, 2, err)
            self.assertIn(said, err)
        for key, said in [("", "is empty"), ("k" * 65, "at most 64"), ("a\nb", "control character")]:
            code, out, err = self.send(cluster, "--key", key, "text")
            self.assertEqual(code, 1, err)
            self.assertIn(said, out[0]["refused"])

    def test_odd_lines_of_a_pipe(self):
        cluster = self.born(f=0)
        code, receipts, err = self.send(cluster, "-", text="one\r\n\r\n\ntwo\n \nthree\r\n")
        self.assertEqual(code, 1, err)
        self.assertEqual([r.get("text") for r in receipts], ["one", "two", None, "three"])
        self.assertEqual(receipts[2]["line"], 5)
        self.assertIn("nothing to see", receipts[2]["refused"])
        self.assertIn("2 blank lines skipped", err)
        code, out, err = self.send(cluster, "--name", "an\u200bn", "text")
        self.assertEqual(code, 1, err)
        self.assertIn("U+200B", out[0]["refused"])
        code, out, err = cluster.chat("send", "--room", "o\u200bps", "--json", "text")
        self.assertEqual(code, 1, err)
        self.assertIn("U+200B", json.loads(out)["refused"])
        code, _, err = self.send(cluster, "--name", "\U0001f468\u200d\U0001f469", "text")
        self.assertEqual(code, 0, err)
