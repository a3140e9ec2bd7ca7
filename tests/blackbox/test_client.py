"""What people and scripts do with paxoschat: exactly-once resumption, follow, history at any replica, and paxosctl's answers."""
import json
import os
import pwd
import select
import signal
import subprocess
import unittest

from harness import BIN, ClusterTest, Sender, die_with_parent, wait_for


class Client(ClusterTest):
    def test_a_client_killed_in_the_middle_sends_each_message_exactly_once(self):
        cluster = self.cluster(f=1)
        state = cluster.folder / "ann.state"
        lines = [f"line {n}" for n in range(300)]
        taken = 0
        for round_number in range(4):
            sender = Sender(cluster, "ops", lines[taken:], "--state", state, "--timeout", "60s")
            target = len(cluster.history("ops", "--local")) + 10
            wait_for("some are delivered", lambda: len(cluster.history("ops", "--local")) >= target
                     or sender.process.poll() is not None)
            sender.process.send_signal(signal.SIGKILL)
            sender.process.wait()
            sender.process.stdout.close()
            sender.process.stderr.close()
            sender.stdin.close()
            # What the outbox holds is delivered with an empty input.
            code, _, err = cluster.chat("send", "--room", "ops", "--state", state, "-", text="")
            self.assertEqual(code, 0, err)
            taken = len(cluster.history("ops"))
        sender = Sender(cluster, "ops", lines[taken:], "--state", state, "--timeout", "60s")
        code, _, err = sender.finish()
        self.assertEqual(code, 0, err)
        self.assertEqual([m["text"] for m in cluster.history("ops")], lines)

    def test_a_second_user_of_a_state_file_is_refused(self):
        cluster = self.cluster(f=0)
        state = cluster.folder / "ann.state"
        first = subprocess.Popen([str(BIN / "paxoschat"), "send", "--config", str(cluster.config), "--room", "ops",
                                  "--state", str(state), "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        first.stdin.write(b"hello\n")
        first.stdin.flush()
        self.assertTrue(first.stdout.readline())
        code, _, err = cluster.chat("send", "--room", "ops", "--state", state, "me too")
        self.assertEqual(code, 1)
        self.assertIn("ann.state", err)
        first.communicate(timeout=30)

    def test_an_idle_follower_says_nothing(self):
        cluster = self.cluster(f=1)
        self.assertEqual(cluster.chat("send", "--room", "quiet", "first")[0], 0)
        follower = subprocess.Popen(
            [str(BIN / "paxoschat"), "follow", "--config", str(cluster.config), "--room", "quiet", "--count", "1"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        # Several of its polls end in this time; the first word that it says ends the wait, and the test.
        said, _, _ = select.select([follower.stderr], [], [], 6)
        self.assertEqual(said, [], "an idle follower in a healthy cluster has something to say")
        self.assertEqual(cluster.chat("send", "--room", "quiet", "second")[0], 0)
        out, err = follower.communicate(timeout=60)
        self.assertIn(b"second", out)
        self.assertEqual(err, b"")

    def test_without_a_name_the_login_counts_whatever_the_environment(self):
        cluster = self.cluster(f=1)
        code, out, err = cluster.chat("send", "--room", "who", "--json", "hello", env={"USER": "", "LOGNAME": ""})
        self.assertEqual(code, 0, err)
        account = pwd.getpwuid(os.getuid()).pw_name
        if account == "root":  # nobody is called that unasked: the person behind it, where the kernel knows one, or nobody
            self.assertNotEqual(json.loads(out)["name"], "root")
        else:
            self.assertEqual(json.loads(out)["name"], account)

    def test_follow_moves_between_replicas_without_a_gap_or_a_repeat(self):
        cluster = self.cluster(f=1)
        follower = subprocess.Popen([str(BIN / "paxoschat"), "follow", "--config", str(cluster.config), "--room", "ops",
                                     "--from", "1", "--count", "120", "--json"], stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        sender = Sender(cluster, "ops", [f"line {n}" for n in range(120)], "--timeout", "60s")
        wait_for("messages are on their way", lambda: len(cluster.history("ops", "--local")) > 5)
        cluster.kill(cluster.leader())
        code, _, err = sender.finish()
        self.assertEqual(code, 0, err)
        out, err = follower.communicate(timeout=60)
        self.assertEqual(follower.returncode, 0, err.decode())
        seen = [json.loads(line) for line in out.decode().splitlines()]
        self.assertEqual([m["seq"] for m in seen], list(range(1, 121)))
        self.assertEqual([m["text"] for m in seen], [f"line {n}" for n in range(120)])

    def test_history_is_linearizable_at_every_replica(self):
        cluster = self.cluster(f=1)
        for n in range(20):
            code, out, err = cluster.chat("send", "--room", "ops", "--json", f"message {n}")
            self.assertEqual(code, 0, err)
            receipt = json.loads(out)
            newest = cluster.history("ops", "--replica", n % 3, "--last", 1)
            self.assertEqual(newest[-1]["seq"], receipt["seq"], "an acknowledged message is missing from a later read")

    def test_history_ranges(self):
        cluster = self.cluster(f=0)
        text = "".join(f"m{n}\n" for n in range(1, 31))
        self.assertEqual(cluster.chat("send", "--room", "ops", "-", text=text)[0], 0)
        texts = lambda *words: [m["text"] for m in cluster.history("ops", *words)]  # noqa: E731
        self.assertEqual(texts("--from", 28), ["m28", "m29", "m30"])
        self.assertEqual(texts("--last", 2), ["m29", "m30"])
        self.assertEqual(texts("--from", 5, "--limit", 3), ["m5", "m6", "m7"])
        self.assertEqual(len(texts()), 30)
        self.assertEqual(cluster.history("nowhere"), [])

    def test_receipts_and_messages_have_the_fields_that_scripts_rely_on(self):
        cluster = self.cluster(f=1)
        code, out, err = cluster.chat("send", "--room", "ops", "--name", "ann", "--json", "hello")
        self.assertEqual(code, 0, err)
        receipt = json.loads(out)
        self.assertEqual(set(receipt) & {"room", "seq", "slot", "index", "name", "session", "client_seq", "time_ms", "text"},
                         {"room", "seq", "slot", "index", "name", "session", "client_seq", "time_ms", "text"})
        self.assertEqual((receipt["room"], receipt["seq"], receipt["name"], receipt["text"]), ("ops", 1, "ann", "hello"))
        self.assertEqual(cluster.history("ops"), [receipt])
        status = cluster.status()
        self.assertEqual(set(status) & {"cluster", "cluster_id", "quorum", "healthy", "leader", "replicas"},
                         {"cluster", "cluster_id", "quorum", "healthy", "leader", "replicas"})
        wanted = {"id", "address", "reachable", "role", "voting", "ballot", "first_slot", "accepted", "chosen", "applied",
                  "hash", "incarnation", "boot", "pid", "uptime_ms", "version"}
        self.assertEqual(set(status["replicas"][0]) & wanted, wanted)
        self.assertEqual(status["replicas"][0]["pid"], cluster.processes[0].pid)
        entry = next(e for e in cluster.log(0) for c in e.get("commands", []) if c["op"] == "post")
        command = next(c for c in entry["commands"] if c["op"] == "post")
        self.assertEqual((command["room"], command["name"], command["text"], command["client_seq"]), ("ops", "ann", "hello", 1))
        self.assertEqual(command["session"], receipt["session"])

    def test_flags_are_mirrored_in_the_environment(self):
        cluster = self.cluster(f=0)
        from harness import run
        code, out, err = run("paxosctl", "status", env={"PAXOSCTL_CONFIG": str(cluster.config), "PAXOSCTL_JSON": "1"})
        self.assertEqual(code, 0, err)
        self.assertTrue(json.loads(out)["healthy"])

    def test_bench_counts_what_it_did(self):
        cluster = self.cluster(f=1)
        code, out, err = cluster.ctl("bench", "--clients", 8, "--duration", "1s", "--warmup", "0s", "--json")
        self.assertEqual(code, 0, err)
        result = json.loads(out)
        self.assertEqual((result["clients"], result["errors"]), (8, 0))
        self.assertGreater(result["messages"], 0)
        self.assertAlmostEqual(result["throughput"], result["messages"] / result["seconds"], delta=1)
        self.assertGreaterEqual(len(cluster.history("bench")), result["messages"])
        self.assertLessEqual(result["latency_us"]["p50"], result["latency_us"]["p99"])

    def test_a_replica_at_rest_is_small(self):
        cluster = self.cluster(f=1)
        for process in cluster.processes.values():
            status = open(f"/proc/{process.pid}/status").read()
            resident = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
            self.assertLess(resident, 40 * 1024, "KiB resident at rest")


if __name__ == "__main__":
    unittest.main()
