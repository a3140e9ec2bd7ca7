"""A cluster of version 0.1.0 (scripts/earlier builds it) comes over by `paxosctl rolling-restart` while people write, with all that it
holds: messages, sessions, history. Until all have run the new version there is a way back; afterwards the old one refuses by name."""
import json
import os
import pathlib
import subprocess
import threading
import unittest

from harness import BIN, Cluster, ClusterTest, Rolling, die_with_parent, run, wait_for

EARLIER = pathlib.Path(os.environ.get("PAXOSD_EARLIER", pathlib.Path(__file__).resolve().parents[2] / "build/earlier/bin")).resolve()


class FromEarlier(Cluster):
    """Made by the earlier version, and running it."""

    def __init__(self):
        self.place(1)
        code, _, err = run(EARLIER / "paxosctl", "config", "generate", "-f", 1, "-o", self.config, "--base-port", self.base_port)
        assert code == 0, err
        for replica in range(self.replicas):
            self.start(replica, EARLIER)
        self.wait_healthy()

    def start(self, replica, programs=BIN):
        with open(self.folder / f"replica{replica}.log", "ab") as log:
            self.processes[replica] = subprocess.Popen([str(programs / "paxosd"), "--config", str(self.config), "--id", str(replica)],
                                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)

    def earlier(self, program, verb, *arguments, **options):
        return run(EARLIER / program, verb, "--config", self.config, *arguments, **options)


@unittest.skipUnless((EARLIER / "paxosd").exists(), "there is no build of version 0.1.0: scripts/earlier makes one")
class Upgrade(ClusterTest):
    def cluster(self):
        cluster = FromEarlier()
        self.addCleanup(self._finish, cluster)
        return cluster

    def receipts(self, outcome):
        code, out, err = outcome
        self.assertEqual(code, 0, err)
        return [json.loads(line) for line in out.splitlines()]

    def rules(self, cluster):
        return [r.get("rules", 1) for r in cluster.status()["replicas"] if r["reachable"]]

    def test_it_comes_over_with_all_that_it_holds(self):
        cluster = self.cluster()
        state = cluster.folder / "session"
        sent = self.receipts(cluster.earlier("paxoschat", "send", "--room", "ops", "--name", "ann", "--json", "--state", state, "-",
                                             text="".join(f"before {n}\n" for n in range(300))))
        self.receipts(cluster.earlier("paxoschat", "send", "--room", "other", "--name", "bob", "--json", "in another room"))
        before = cluster.history("ops")
        self.assertEqual(len(before), 300)

        # Somebody writes all the time, with the new client, which knows the old replicas too.
        during, stop, wrong = [], threading.Event(), []

        def write():
            n = 0
            while not stop.is_set():
                code, out, err = cluster.chat("send", "--room", "ops", "--name", "cy", "--json", "--timeout", "60s", f"during {n}")
                n += 1
                (during if code == 0 else wrong).append(json.loads(out) if code == 0 else (code, err))
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        self.addCleanup(stop.set)

        rolling = Rolling(cluster)
        self.addCleanup(rolling.process.kill)
        code, _, err = rolling.finish()
        self.assertEqual(code, 0, err)
        self.assertEqual(sorted(rolling.restarted), [0, 1, 2])
        wait_for("the rules are raised", lambda: self.rules(cluster) == [2, 2, 2])
        stop.set()
        writer.join(timeout=90)
        self.assertFalse(writer.is_alive())
        self.assertEqual(wrong, [])
        self.assertGreater(len(during), 0)

        # The session that was begun under the old version goes on.
        after = self.receipts(cluster.chat("send", "--room", "ops", "--name", "ann", "--json", "--state", state, "-",
                                           text="".join(f"after {n}\n" for n in range(50))))
        self.assertEqual(after[0]["session"], sent[-1]["session"])
        self.assertEqual(after[0]["client_seq"], sent[-1]["client_seq"] + 1)
        history = self.assert_exactly_once(cluster, "ops", sent + during + after)
        self.assertEqual(len(history), 300 + len(during) + 50)
        kept = list(before[0])
        self.assertEqual([{k: m[k] for k in kept} for m in history[:300]], before)
        self.assertEqual(len(cluster.history("other")), 1)
        self.assert_consistent(cluster)

        # All that once more from the disks.
        for replica in range(3):
            cluster.kill(replica)
            cluster.start(replica)
            wait_for("it is back", lambda: all(r["reachable"] and r["voting"] for r in cluster.status()["replicas"]))
        self.assertEqual(cluster.history("ops"), history)
        self.assert_consistent(cluster)
        code, verdict, err = cluster.verify("--full")
        self.assertEqual((code, verdict["consistent"]), (0, True), err)

        # There is no way back, and the old programs say so.
        cluster.stop(2)
        code, out, err = run(EARLIER / "paxosd", "--config", cluster.config, "--id", 2)
        self.assertNotEqual(code, 0)
        self.assertIn("for a later paxosd", out + err)
        cluster.start(2)
        code, _, err = cluster.earlier("paxoschat", "send", "--room", "ops", "--timeout", "5s", "too old")
        self.assertNotEqual(code, 0)
        self.assertIn("install", err)
        cluster.wait_healthy()
        self.assert_consistent(cluster)

    def test_there_is_a_way_back_until_all_have_run_it(self):
        cluster = self.cluster()
        sent = self.receipts(cluster.earlier("paxoschat", "send", "--room", "ops", "--json", "-", text="one\ntwo\n"))
        leader = cluster.leader()
        for replica in [r for r in range(3) if r != leader]:
            cluster.stop(replica)
            cluster.start(replica)
            wait_for("it votes", lambda: all(r["reachable"] and r["voting"] for r in cluster.status()["replicas"]))
            cluster.wait_healthy()
        sent += self.receipts(cluster.chat("send", "--room", "ops", "--json", "-", text="three\nfour\n"))
        self.assertEqual(set(self.rules(cluster)), {1}, "one has never run the new version")
        for replica in [r for r in range(3) if r != leader]:
            cluster.stop(replica)
            cluster.start(replica, EARLIER)
            wait_for("it votes", lambda: all(r["reachable"] and r["voting"] for r in cluster.status()["replicas"]))
            cluster.wait_healthy()
        sent += self.receipts(cluster.earlier("paxoschat", "send", "--room", "ops", "--json", "-", text="five\n"))
        self.assertEqual([m["text"] for m in self.assert_exactly_once(cluster, "ops", sent)], ["one", "two", "three", "four", "five"])
        self.assert_consistent(cluster)
