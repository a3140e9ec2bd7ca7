"""A replica whose slots the others have trimmed away takes their state as a snapshot: over a network that loses, over a small MTU, through
kills of either side; with the same process, the same promise, and the whole history."""
import json
import pathlib
import re
import signal
import subprocess
import threading
import unittest

import netns
from harness import BIN, ClusterTest, die_with_parent, wait_for

MIB = 1 << 20


def high_water_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no VmHWM of {pid}")


class Behind(ClusterTest):
    def settings(self, cluster, **settings):
        text = cluster.config.read_text()
        for key, value in settings.items():
            text = re.sub(rf"(?m)^{key}:.*\n", "", text) + f"{key}: {value}\n"
        cluster.config.write_text(text)

    def replica(self, cluster, replica):
        return next(r for r in cluster.status()["replicas"] if r["id"] == replica)

    def load(self, cluster, mib):
        """So many MiB of messages of 8 KB that don't compress, from four senders, in four rooms."""
        count = mib * MIB // 8192 // 4 + 1
        failed = []

        def send(n):
            import random
            digits = random.Random(n)
            text = "".join(f"{n} {i} {digits.randbytes(4050).hex()}\n" for i in range(count))
            code, _, err = cluster.chat("send", "--room", f"load{n}", "--timeout", "120s", "-", text=text, timeout=600)
            if code != 0:
                failed.append(err[-1000:])
        senders = [threading.Thread(target=send, args=(n,)) for n in range(4)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        self.assertEqual(failed, [])
        return count

    def fall_behind(self, cluster, away, mib, **settings):
        """Replica `away` is down while the others work on, until no log has what it needs next."""
        # Patient: a kill is noticed soon enough, and a machine under load is no partition.
        self.settings(cluster, log_keep_mib=1, heartbeat_ms=200, election_timeout_ms=2000, **settings)
        for replica in range(cluster.replicas):
            cluster.start(replica)
        cluster.wait_healthy()
        wait_for("the rules are raised", lambda: all(r.get("rules", 0) >= 2 for r in cluster.status()["replicas"]))
        self.assertEqual(cluster.chat("send", "--room", "first", "-", text="before\n")[0], 0)
        cluster.wait_all_applied()
        applied = self.replica(cluster, away)["applied"]
        cluster.stop(away)
        count = self.load(cluster, mib)

        def trimmed():
            # Trimming follows what is on the disk: that takes some more slots.
            cluster.chat("send", "--room", "first", "-", text="".join(f"more {i}\n" for i in range(200)))
            return all(r["first_slot"] > applied + 1 for r in cluster.status()["replicas"] if r["id"] != away)
        wait_for("the others have trimmed what it needs", trimmed, 240)
        return count

    def assert_whole(self, cluster, away, count):
        cluster.wait_all_applied()
        self.assert_consistent(cluster)
        for n in range(4):
            history = cluster.history(f"load{n}", "--local", "--replica", away)
            self.assertEqual([m["seq"] for m in history], list(range(1, count + 1)))
            self.assertTrue(history[-1]["text"].startswith(f"{n} {count - 1} "))

    def said(self, cluster, replica, words):
        return words in (cluster.folder / f"replica{replica}.log").read_text(errors="replace")

    def pull_of(self, cluster, replica):
        return self.replica(cluster, replica).get("snapshot_pull", {})


class Snapshots(Behind):
    def test_who_fell_behind_comes_back_through_loss_with_its_process_and_promise(self):
        cluster = self.cluster(loss=0.05, start=False)
        away = 2
        count = self.fall_behind(cluster, away, 20)
        cluster.start(away)
        wait_for("a snapshot is in place", lambda: self.said(cluster, away, "takes the place of this replica's state"), 120)
        self.assert_whole(cluster, away, count)
        now = self.replica(cluster, away)
        self.assertEqual(now["pid"], cluster.processes[away].pid, "the same process")
        self.assertTrue(now["voting"])
        self.assertGreater(now["first_slot"], 1)
        folder = next(p for p in cluster.folder.rglob("log-mark") if f"{away}" in p.parent.name).parent
        self.assertFalse((folder / "install").exists() or (folder / "incoming").exists() or (folder / "state-old").exists())
        # It counts: with one of the others gone, the cluster works.
        cluster.stop(0)
        self.assertEqual(cluster.chat("send", "--room", "last", "-", text="after\n", timeout=120)[0], 0)

    def test_a_kill_of_either_side_does_not_begin_it_anew(self):
        cluster = self.cluster(start=False)
        away = 2
        count = self.fall_behind(cluster, away, 30, snapshot_bytes_per_second=2 * MIB)
        cluster.start(away)
        wait_for("some of it is here", lambda: self.pull_of(cluster, away).get("bytes", 0) > 10 * MIB, 120)
        source = self.pull_of(cluster, away)["from"]
        cluster.kill(away)
        cluster.start(away)
        resumed = wait_for("it goes on", lambda: self.pull_of(cluster, away).get("resumed_at", 0), 120)
        self.assertGreater(resumed, MIB)
        here = self.pull_of(cluster, away)["bytes"]
        cluster.kill(source)
        cluster.start(source)
        wait_for("it goes on with the same source", lambda: self.pull_of(cluster, away).get("bytes", 0) > here + MIB, 120)
        self.assertEqual(self.pull_of(cluster, away)["from"], source)
        wait_for("a snapshot is in place", lambda: self.said(cluster, away, "takes the place of this replica's state"), 240)
        self.assert_whole(cluster, away, count)

    def test_a_reader_that_sleeps_on_the_source_waits_for_nothing(self):
        cluster = self.cluster(start=False)
        away = 2
        count = self.fall_behind(cluster, away, 20)
        reader = subprocess.Popen([str(BIN / "paxoschat"), "history", "--config", str(cluster.config), "--room", "load1", "--local",
                                   "--replica", "1", "--json"], stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        self.addCleanup(reader.kill)
        reader.stdout.readline()
        reader.send_signal(signal.SIGSTOP)
        cluster.start(away)
        wait_for("a snapshot is in place", lambda: self.said(cluster, away, "takes the place of this replica's state"), 120)
        reader.send_signal(signal.SIGCONT)
        rest = reader.communicate(timeout=120)[0].splitlines()
        self.assertEqual(len(rest) + 1, count)
        self.assert_whole(cluster, away, count)

    def test_both_sides_stay_within_their_memory(self):
        cluster = self.cluster(start=False)
        away = 2
        count = self.fall_behind(cluster, away, 200)
        cluster.start(away)
        # A number of a replica: 0 is one too.
        wait_for("it pulls", lambda: "from" in self.pull_of(cluster, away), 120)
        source = self.pull_of(cluster, away)["from"]
        for replica in (source, away):
            pathlib.Path(f"/proc/{cluster.processes[replica].pid}/clear_refs").write_text("5")  # forgets the high water mark
        wait_for("a snapshot is in place", lambda: self.said(cluster, away, "takes the place of this replica's state"), 300)
        cluster.wait_all_applied()
        for side, replica in (("source", source), ("puller", away)):
            used = high_water_mib(cluster.processes[replica].pid)
            print(f"# {side}: {used:.0f} MiB resident at most, for {200} MiB of texts", flush=True)
            self.assertLess(used, 300)
        self.assertEqual(len(cluster.history("load0", "--local", "--replica", away)), count)


@unittest.skipIf(netns.reason(), netns.reason())
class SmallMtu(Behind):
    def test_over_1280_bytes(self):
        machines = netns.SeparateMachines(f=1, mtu=1280, v6=True, start=False)
        self.addCleanup(self._finish, machines)
        count = self.fall_behind(machines, 2, 20)
        machines.start(2)
        wait_for("a snapshot is in place", lambda: self.said(machines, 2, "takes the place of this replica's state"), 120)
        self.assert_whole(machines, 2, count)


if __name__ == "__main__":
    unittest.main()
