"""Without a quorum: everyone says since when, who is missing and what still works; what was typed meanwhile stands exactly once
when the quorum is back."""
import json
import os
import signal
import subprocess
import threading
import unittest

from harness import BIN, ClusterTest, die_with_parent, wait_for

SENTENCE = r"no quorum for \d+ (ms|s): replicas 0 and 1 are missing"


class Program:
    """A client in the background; what it says is gathered line by line."""

    def __init__(self, cluster, *words):
        self.out, self.err = [], []
        self.process = subprocess.Popen([str(BIN / "paxoschat"), *map(str, words), "--config", str(cluster.config)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        preexec_fn=die_with_parent, env={**os.environ, "USER": "ann"})
        self.threads = [threading.Thread(target=self._gather, args=pair, daemon=True)
                        for pair in ((self.process.stdout, self.out), (self.process.stderr, self.err))]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def _gather(pipe, lines):
        for line in pipe:
            lines.append(line.decode(errors="replace").rstrip("\n"))

    def say(self, *lines):
        self.process.stdin.write("".join(line + "\n" for line in lines).encode())
        self.process.stdin.flush()

    def finish(self, timeout=90):
        if not self.process.stdin.closed:
            self.process.stdin.close()
        code = self.process.wait(timeout=timeout)
        for thread in self.threads:
            thread.join(timeout=10)
        return code

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except OSError:
                pass
        for thread in self.threads:
            thread.join(timeout=10)
        self.process.stdout.close()
        self.process.stderr.close()


class Degraded(ClusterTest):
    def start(self, cluster, *words):
        program = Program(cluster, *words)
        self.addCleanup(program.kill)
        return program

    def test_messages_queue_without_a_quorum_and_stand_exactly_once_when_it_is_back(self):
        cluster = self.cluster(f=1)
        state = cluster.folder / "ann.state"
        self.assertEqual(cluster.chat("send", "--room", "ops", "before")[0], 0)
        follower = self.start(cluster, "follow", "--room", "ops", "--from", "1", "--json")
        wait_for("the follower follows", lambda: follower.out)
        person = self.start(cluster, "--room", "ops", "--name", "bob")
        sender = self.start(cluster, "send", "--room", "ops", "--state", state, "--timeout", "300s", "--json", "-")
        person.say("person before")
        sender.say("state before")
        wait_for("both are delivered", lambda: len(cluster.history("ops")) == 3)

        cluster.kill(0)
        cluster.kill(1)
        person.say("person during 1", "person during 2")
        sender.say("state during 1", "state during 2", "state during 3")

        # Everyone says it.
        def says(lines, *parts):
            return lambda: any(all(part in line for part in parts) for line in lines)
        missing = "replicas 0 and 1 are missing"
        wait_for("send says it", says(sender.err, "no quorum for", missing, "3 messages are queued in the state file"))
        wait_for("interactive says it", says(person.err, "no quorum for", missing, "2 messages are queued"))
        wait_for("follow says it", says(follower.err, "no quorum for", missing, "--local still works"))
        code, out, _ = cluster.ctl("status")
        self.assertEqual(code, 3)
        self.assertRegex(out, SENTENCE)
        self.assertIn("--local still works", out)
        status = cluster.status()
        self.assertEqual(status["outage"]["missing"], [0, 1])
        self.assertGreater(status["outage"]["age_ms"], 0)
        self.assertGreater(status["replicas"][2]["no_quorum_age_ms"], 0)
        code, _, err = cluster.chat("history", "--room", "ops", "--timeout", "2s")
        self.assertEqual(code, 3)
        self.assertRegex(err, SENTENCE)
        self.assertIn("--local", err)
        # What still works does.
        self.assertEqual([m["text"] for m in cluster.history("ops", "--local")], ["before", "person before", "state before"])

        # The sender dies meanwhile; what it was told is in its file.
        sender.process.send_signal(signal.SIGKILL)
        sender.kill()
        again = self.start(cluster, "send", "--room", "ops", "--state", state, "--timeout", "300s", "--json", "-")
        again.say("state after the crash")
        wait_for("the new one holds all four", says(again.err, "4 messages are queued in the state file"))

        cluster.start(0)
        cluster.start(1)
        cluster.wait_healthy()
        self.assertEqual(again.finish(), 0, again.err)
        self.assertEqual(person.finish(), 0, person.err)
        receipts = [json.loads(line) for line in again.out]
        self.assertEqual([r["text"] for r in receipts], ["state during 1", "state during 2", "state during 3", "state after the crash"])
        history = self.assert_exactly_once(cluster, "ops", receipts)
        texts = [m["text"] for m in history]
        self.assertEqual(sorted(texts), sorted(["before", "person before", "state before", "person during 1", "person during 2",
                                                "state during 1", "state during 2", "state during 3", "state after the crash"]))
        self.assertEqual([t for t in texts if t.startswith("person")], ["person before", "person during 1", "person during 2"])
        # The follower missed nothing, and said that it goes on.
        wait_for("the follower has all", lambda: len(follower.out) == len(texts))
        self.assertEqual([json.loads(line)["text"] for line in follower.out], texts)
        self.assertTrue(says(follower.err, "going on")(), follower.err)
        self.assertNotIn("outage", cluster.status())
        self.assert_consistent(cluster)

    def test_a_send_that_gives_up_says_why_and_keeps_its_message(self):
        cluster = self.cluster(f=1)
        state = cluster.folder / "ann.state"
        cluster.kill(0)
        cluster.kill(1)
        code, _, err = cluster.chat("send", "--room", "ops", "--state", state, "--timeout", "5s", "kept")
        self.assertEqual(code, 3)
        self.assertRegex(err, SENTENCE)
        cluster.start(0)
        cluster.wait_healthy()
        code, _, err = cluster.chat("send", "--room", "ops", "--state", state, "--timeout", "60s", "-", text="")
        self.assertEqual(code, 0, err)
        self.assertEqual([m["text"] for m in cluster.history("ops")], ["kept"])

    def test_replicas_that_run_but_are_cut_off_from_each_other(self):
        cluster = self.cluster(f=1)
        for replica in range(3):
            cluster.ctl_done("isolate", replica, "--for", "20s")
        wait_for("it is told", lambda: "don't hear each other" in cluster.ctl("status")[1])
        self.assertEqual(cluster.status()["outage"]["missing"], [])
        cluster.wait_healthy()

    def test_who_is_not_there_is_named(self):
        cluster = self.cluster(f=1)
        self.assertEqual(cluster.chat("send", "--room", "ops", "text")[0], 0)
        cluster.kill(2)
        wait_for("the others have applied it", lambda: cluster.ctl("verify")[0] == 0)
        code, _, err = cluster.ctl("verify")
        self.assertEqual(code, 0, err)
        self.assertIn("replica 2 was not compared: no answer", err)
        code, out, err = cluster.ctl("status")
        self.assertIn("nothing listens on that port", out + err)

    def test_nobody_answers(self):
        cluster = self.cluster(f=1, start=False)
        code, out, _ = cluster.ctl("status")
        self.assertEqual(code, 3)
        self.assertIn("no replica answers", out)
        code, _, err = cluster.chat("send", "--room", "ops", "--timeout", "3s", "hello")
        self.assertEqual(code, 3)
        self.assertIn("no replica answers", err)


if __name__ == "__main__":
    unittest.main()
