"""What rooms keep: by count and by age, one room and all of them; what is beyond it is gone from everywhere, and said to be; numbers
never come again, and nothing is ever sent twice for it."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import unittest

from harness import BIN, Sender, die_with_parent, run, wait_for
from on_terminal import OnTerminal
from test_backup import Restored
from test_snapshot import Behind

SHIM = pathlib.Path(os.environ.get("PAXOSD_TEST_CLOCK_SHIM", BIN.parent / "release/tests/blackbox/libclock.so")).resolve()
SPEED = 4000  # the clocks of all replicas: a day in 22 s


class Slots:
    """Slot after slot, until stopped: the session clock goes on with them only, by 60 s each at most."""

    def __init__(self, cluster):
        self.process = subprocess.Popen([str(BIN / "paxosctl"), "bench", "--config", str(cluster.config), "--clients", "2", "--size", "20",
                                         "--duration", "600s"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Retention(Behind):
    def born(self, **settings):
        cluster = self.cluster(start=False)
        text = cluster.config.read_text()
        for key, value in settings.items():
            text = re.sub(rf"^{key}: .*$", f"{key}: {value}", text, flags=re.M)
            self.assertIn(f"{key}: {value}", text)
        cluster.config.write_text(text)
        for replica in range(3):
            cluster.start(replica)
        cluster.wait_healthy()
        wait_for("rules 2", lambda: all(r.get("rules") == 2 for r in cluster.status()["replicas"]))
        return cluster

    def send(self, cluster, room, count, *words):
        sender = Sender(cluster, room, [f"text {n} {os.urandom(64).hex()}" for n in range(count)], "--timeout", "60s", "--name", "ann", *words)
        code, receipts, err = sender.finish()
        self.assertEqual(code, 0, err)
        return receipts

    def keep(self, cluster, *words):
        code, out, err = cluster.ctl("retention", "--json", "--yes", "--name", "bob", "--timeout", "60s", *words)
        self.assertEqual(code, 0, err)
        return json.loads(out)

    def shown(self, cluster, *words):
        code, out, err = cluster.ctl("retention", "--json", *words)
        self.assertEqual(code, 0, err)
        return {line["room"]: line for line in map(json.loads, out.splitlines())}

    def first(self, cluster, room, replica):
        """Of the messages of a room on one replica, which are those from there on without a gap."""
        code, out, err = cluster.chat("history", "--room", room, "--json", "--replica", replica, "--local")
        self.assertEqual(code, 0, err)
        lines = [json.loads(line) for line in out.splitlines()]
        gone = [line for line in lines if line.get("forgotten")]
        messages = [line["seq"] for line in lines if "seq" in line]
        if gone:
            self.assertEqual([(g["room"], g["from"]) for g in gone], [(room, 1)])
            self.assertEqual(lines[0], gone[0])
        begin = gone[0]["to"] + 1 if gone else 1
        self.assertEqual(messages, list(range(begin, begin + len(messages))))
        return begin, len(messages)

    def on_all(self, cluster, room, expected):
        cluster.wait_all_applied()
        self.assertEqual([self.first(cluster, room, r) for r in range(3)], [expected] * 3)

    def test_by_count(self):
        cluster = self.born()
        self.send(cluster, "ops", 10)
        self.send(cluster, "kitchen", 10)
        done = self.keep(cluster, "ops", "--count", 3)
        self.assertEqual((done["room"], done["count"], done["age_ms"], done["first_seq"], done["by"]), ("ops", 3, None, 8, "bob"))
        self.on_all(cluster, "ops", (8, 3))
        self.on_all(cluster, "kitchen", (1, 10))
        # What is below is said to be gone: for people, for programs, and to whoever follows from there.
        code, out, err = cluster.chat("history", "--room", "ops", "--from", 2)
        self.assertEqual((code, len(out.splitlines())), (0, 3))
        self.assertIn("messages 2 to 7 of ops are gone", err)
        code, out, err = cluster.chat("history", "--room", "ops", "--from", 7, "--json")
        self.assertEqual(json.loads(out.splitlines()[0]), {"room": "ops", "forgotten": True, "from": 7, "to": 7})
        code, out, err = cluster.chat("history", "--room", "ops", "--last", 5, "--json")
        self.assertEqual([json.loads(line)["seq"] for line in out.splitlines()], [8, 9, 10], "nobody asked for the others")
        code, out, err = cluster.chat("follow", "--room", "ops", "--from", 3, "--count", 3, "--json")
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((lines[0]["from"], lines[0]["to"], [m["seq"] for m in lines[1:]]), (3, 7, [8, 9, 10]))
        # Numbers go on, and so does the rule.
        self.assertEqual([r["seq"] for r in self.send(cluster, "ops", 2)], [11, 12])
        self.on_all(cluster, "ops", (10, 3))
        rooms = {line["name"]: line for line in map(json.loads, cluster.ctl("rooms", "--json")[1].splitlines())}
        self.assertEqual((rooms["ops"]["messages"], rooms["ops"]["first_seq"]), (12, 10))
        self.assertNotIn("first_seq", rooms["kitchen"])
        code, verdict, err = cluster.verify("--full")
        self.assertEqual(code, 0, err)
        # A rule for all does not touch a room with its own, and one that is taken back brings nothing back.
        self.keep(cluster, "ops", "--off")
        self.keep(cluster, "--all", "--count", 5)
        self.on_all(cluster, "kitchen", (6, 5))
        self.on_all(cluster, "ops", (10, 3))
        said = self.shown(cluster)
        self.assertEqual((said[None]["count"], said["ops"]["count"], said["ops"]["inherited"]), (5, None, False))
        self.assertEqual((said["kitchen"]["count"], said["kitchen"]["inherited"], said["kitchen"]["first_seq"]), (5, True, 6))
        self.send(cluster, "ops", 7)
        self.on_all(cluster, "ops", (10, 10))
        self.assertEqual(self.keep(cluster, "ops", "--inherit")["count"], 5)
        self.on_all(cluster, "ops", (15, 5))
        # A power failure everywhere, and a state that is redone from the log.
        for replica in range(3):
            cluster.kill(replica)
        shutil.rmtree(cluster.folder / "data" / "0" / "state")
        for replica in range(3):
            cluster.start(replica)
        cluster.wait_healthy()
        self.on_all(cluster, "ops", (15, 5))
        self.on_all(cluster, "kitchen", (6, 5))
        self.assertEqual([r["seq"] for r in self.send(cluster, "kitchen", 1)], [11])
        self.assert_consistent(cluster)

    def test_what_goes_is_asked_about_first(self):
        cluster = self.born()
        self.send(cluster, "ops", 5)
        code, out, err = cluster.ctl("retention", "ops", "--count", 2, "--json")
        self.assertEqual(code, 1)
        self.assertIn("3 messages of ops will be forgotten", json.loads(out)["refused"])
        self.on_all(cluster, "ops", (1, 5))
        self.assertEqual(cluster.ctl("retention", "ops", "--count", 5)[0], 0, "nothing goes: no question")
        terminal = OnTerminal("paxosctl", "retention", "--config", cluster.config, "ops", "--count", 2)
        self.addCleanup(terminal.close)
        terminal.wait_text("Go on?")
        terminal.key("y\n")
        terminal.wait_text("message 4 is its first")
        self.on_all(cluster, "ops", (4, 2))
        code, out, err = cluster.ctl("retention", "--count", 2)
        self.assertEqual((code, "give ROOM, or --all" in err), (2, True))
        code, out, err = cluster.ctl("retention", "ops", "--count", 2, "--off")
        self.assertEqual((code, "exclude each other" in err), (2, True))
        code, out, err = cluster.ctl("retention", "ops", "--age", "1h", "--yes")
        self.assertEqual((code, "a day at least" in err), (1, True))
        code, out, err = cluster.ctl("retention", "opx", "--count", 2, "--yes")
        self.assertEqual((code, "there is no room opx; did you mean ops?" in err), (1, True), err)
        code, out, err = cluster.ctl("retention")
        self.assertIn("the last 2 messages", out)

    def test_a_snapshot_and_a_backup_have_what_rooms_keep(self):
        cluster = self.cluster(start=False)
        away = 2
        count = self.fall_behind(cluster, away, 20)
        self.keep(cluster, "--all", "--count", 100)
        cluster.start(away)
        wait_for("a snapshot is in place", lambda: self.said(cluster, away, "takes the place of this replica's state"), 120)
        cluster.wait_all_applied()
        for room in ("load0", "load3"):
            firsts = [self.first(cluster, room, replica) for replica in range(3)]
            self.assertEqual(len(set(firsts)), 1, firsts)
            begin, kept = firsts[0]
            self.assertEqual(begin + kept - 1, count)
            self.assertTrue(100 <= kept <= 101, "the 64th of a hundred")
        self.assertEqual(self.send(cluster, "load0", 1)[0]["seq"], count + 1)
        self.assert_consistent(cluster)
        code, verdict, err = cluster.verify("--full")
        self.assertEqual(code, 0, err)
        # A backup has it too, and so has the cluster that is made of it.
        code, out, err = cluster.ctl("backup", cluster.folder / "backup", "--json")
        self.assertEqual(code, 0, err)
        other = Restored(cluster.folder / "backup", 1, "")
        self.addCleanup(self._finish, other)
        self.assertEqual(other.code, 0, other.err)
        for replica in range(3):
            other.start(replica)
        other.wait_healthy()
        for replica in range(3):
            self.assertEqual(self.first(other, "load3", replica), firsts[0])
        self.assertEqual(self.shown(other)[None]["count"], 100)
        self.assertEqual(self.send(other, "load3", 1)[0]["seq"], count + 1)
        other.stop(1)
        code, out, err = run("paxosd", "inspect", other.folder / "data" / "1", "--json")
        self.assertEqual((code, json.loads(out)["damage"]), (0, []), err)
        # What is exported is what is kept.
        code, out, err = cluster.ctl("export", "--room", "load3")
        self.assertEqual(code, 0, err)
        self.assertEqual(sum("text" in json.loads(line) for line in out.splitlines()), firsts[0][1])

    def in_fast_time(self, **settings):
        if not SHIM.exists():
            self.skipTest(f"there is no {SHIM.name}: the tests are not built")
        for key, value in (("LD_PRELOAD", str(SHIM)), ("PAXOSD_TEST_CLOCK", f"{time.time()} {SPEED}")):
            os.environ[key] = value
            self.addCleanup(os.environ.pop, key)
        return self.born(**settings)

    def test_by_age(self):
        cluster = self.in_fast_time()
        self.send(cluster, "ops", 3)
        self.assertEqual(self.keep(cluster, "--all", "--age", "1d")["age_ms"], 86_400_000)
        load = Slots(cluster)
        try:
            wait_for("ops has forgotten all", lambda: self.first(cluster, "ops", 0) == (4, 0), deadline=240)
            self.send(cluster, "ops", 1)
        finally:
            load.stop()
        self.on_all(cluster, "ops", (4, 1))
        code, out, err = cluster.chat("history", "--room", "ops", "--from", 2, "--json")
        self.assertEqual([json.loads(line).get("seq", "gone") for line in out.splitlines()], ["gone", 4])
        self.assert_consistent(cluster)

    def test_what_was_sent_is_never_sent_twice_for_what_was_forgotten(self):
        # A leader that for seconds does not miss the others takes what it is sent.
        cluster = self.in_fast_time(heartbeat_ms=500, election_timeout_ms=5000)
        state = cluster.folder / "ann.state"
        self.send(cluster, "ops", 1, "--state", state)
        # It is proposed, and its sender never hears of it: the others stand still until that one has gone.
        followers = [process for replica, process in cluster.processes.items() if replica != cluster.leader()]
        for process in followers:
            process.send_signal(signal.SIGSTOP)
        code, out, err = cluster.chat("send", "--room", "ops", "--name", "ann", "--state", state, "--timeout", "2s", "--json", "did it arrive?")
        self.assertEqual(code, 3, err)
        for process in followers:
            process.send_signal(signal.SIGCONT)

        def standing():
            return sum(m.get("text") == "did it arrive?" for m in cluster.history("ops"))
        wait_for("it stands", standing)
        self.keep(cluster, "ops", "--count", 1)
        self.send(cluster, "ops", 1)
        self.assertEqual(standing(), 0, "its room has forgotten it")
        # Its session expires: 24 h without a word.
        load = Slots(cluster)
        try:
            before = self.clock(cluster)
            begin = wait_for("slots come", lambda: (lambda now: now if now > before else None)(self.clock(cluster)))
            wait_for("28 h of slots", lambda: self.clock(cluster) > begin + 28 * 3_600_000, deadline=240)
        finally:
            load.stop()
        code, out, err = cluster.chat("send", "--resume", "--state", state, "--room", "ops", "--timeout", "60s", "--json")
        self.assertEqual(code, 3, (out, err))
        self.assertIn("forgotten", json.loads(out)["unknown"])
        self.assertIn("perhaps sent", err)
        self.assertEqual(standing(), 0)
        self.assertEqual(cluster.chat("send", "--resume", "--state", state, "--room", "ops")[0], 0, "it is answered for")
        # The next one goes as ever.
        code, out, err = cluster.chat("send", "--room", "ops", "--name", "ann", "--state", state, "--timeout", "60s", "--json", "hello")
        self.assertEqual(code, 0, err)

    def clock(self, cluster):
        """About the session clock: when the last message of the load was posted."""
        rooms = map(json.loads, cluster.ctl("rooms", "--json")[1].splitlines())
        return max(room["last_time_ms"] for room in rooms)


if __name__ == "__main__":
    unittest.main()
