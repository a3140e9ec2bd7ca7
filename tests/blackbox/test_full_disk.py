"""Disks that fill up: each replica's data lies on a small file system of its own. A minority costs nothing, a majority ends writing and
nothing else, no process dies of it, and writing goes on by itself when there is room."""
import os
import subprocess
import time
import unittest

from harness import BIN, ClusterTest, Sender, die_with_parent, wait_for

SIZE, RESERVE = 64, 8  # MiB
TIMEOUT = 1.0  # of an election, in seconds


class FullDisk(ClusterTest):
    def on_small_disks(self, f=1):
        cluster = self.cluster(f=f, start=False)
        cluster.disks = []
        text = cluster.config.read_text().replace("heartbeat_ms: 50", "heartbeat_ms: 100")
        text = text.replace("election_timeout_ms: 250", f"election_timeout_ms: {int(TIMEOUT * 1000)}")
        for replica in range(cluster.replicas):
            disk = cluster.folder / f"disk{replica}"
            disk.mkdir()
            if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}m", "tmpfs", str(disk)], capture_output=True).returncode:
                self.skipTest("this machine does not let us mount a small file system")
            self.addCleanup(subprocess.run, ["umount", "-l", str(disk)])
            cluster.disks.append(disk)
            text = text.replace(f"data_dir: data/{replica}", f"data_dir: {disk}/data")
        cluster.config.write_text(text + f"disk_reserve_mib: {RESERVE}\n")
        for replica in range(cluster.replicas):
            cluster.start(replica)
        cluster.wait_healthy()
        self.assertEqual(cluster.chat("send", "--room", "ops", "there is room")[0], 0)
        # A cluster of new replicas raises its rules first; what is said of full disks needs the later ones.
        wait_for("the rules are raised", lambda: all(r.get("rules") == 2 for r in cluster.status()["replicas"]))
        return cluster

    def fill(self, cluster, *replicas):
        """To the last block, as somebody else's files do it."""
        for replica in replicas:
            with open(cluster.disks[replica] / "filler", "ab", buffering=0) as filler:
                block = bytes(1 << 16)
                while block:
                    try:
                        filler.write(block)
                    except OSError:
                        block = block[:len(block) // 2 if len(block) > 4096 else 0]
        wait_for(f"the disks of {replicas} are full", lambda: all(self.of(cluster, r).get("disk_full") for r in replicas))

    def empty(self, cluster, *replicas):
        for replica in replicas:
            (cluster.disks[replica] / "filler").unlink()

    def of(self, cluster, replica):
        return cluster.status()["replicas"][replica]

    def all_live(self, cluster):
        for replica, process in cluster.processes.items():
            self.assertIsNone(process.poll(), f"replica {replica} has ended")

    def assert_read_only(self, cluster, *full):
        """Nothing can be sent, and is said so; everything can be read, from each replica."""
        names = f"disk{'s' if len(full) > 1 else ''} of replica{'s' if len(full) > 1 else ''} {', '.join(map(str, full))} {'are' if len(full) > 1 else 'is'} full"
        status = wait_for("status says what stands still", lambda: (s := cluster.status()).get("stuck") and s)
        self.assertEqual(status["stuck"], names)
        self.assertFalse(status["healthy"])
        before = status["replicas"][status["leader"]]["accepted"]
        for replica in range(cluster.replicas):
            began = time.monotonic()
            code, out, err = cluster.chat("send", "--room", "ops", "--replica", replica, "--timeout", "20s", "there is none")
            self.assertEqual(code, 1, f"{out} {err}")
            self.assertIn(names, err)
            self.assertLess(time.monotonic() - began, 10, "at once, not when its time is over")
            for how in ([], ["--local"]):
                code, out, err = cluster.chat("history", "--room", "ops", "--replica", replica, *how)
                self.assertEqual(code, 0, err)
                self.assertIn("there is room", out)
                self.assertNotIn("there is none", out)
            code, out, err = cluster.chat("follow", "--room", "ops", "--from", "1", "--count", "1", "--replica", replica)
            self.assertEqual(code, 0, err)
        after = cluster.status()
        self.assertEqual(after["replicas"][after["leader"]]["accepted"], before, "nothing new was proposed")
        code, out, _ = cluster.ctl("status")
        self.assertEqual(code, 3)
        self.assertIn(names, out)
        self.assertIn("reading and following go on", out)
        self.all_live(cluster)

    def assert_writing_goes_on(self, cluster, room, *replicas):
        """What waits in an outbox goes out by itself once there is room: within two election timeouts, which the simulator holds it to."""
        state = cluster.folder / f"state-{room}"
        sender = Sender(cluster, room, ["kept until there is room"], "--state", state, "--timeout", "100s")
        wait_for("it waits", lambda: state.exists() and b"kept until there is room" in state.read_bytes())
        self.assertIsNone(sender.process.poll())
        self.empty(cluster, *replicas)
        began = time.monotonic()
        code, receipts, err = sender.finish()
        took = time.monotonic() - began
        self.assertEqual(code, 0, err)
        self.assertEqual(len(receipts), 1)
        print(f"# writing goes on after {took / TIMEOUT:.1f} election timeouts")
        self.assertEqual([m["text"] for m in cluster.history(room)], ["kept until there is room"])

    def test_a_minority_changes_nothing_for_clients(self):
        cluster = self.on_small_disks()
        leader = cluster.leader()
        other = (leader + 1) % 3
        follower = subprocess.Popen(
            [str(BIN / "paxoschat"), "follow", "--config", str(cluster.config), "--room", "ops", "--from", "2", "--count", "20", "--replica", str(other)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        self.addCleanup(follower.kill)
        self.fill(cluster, other)
        changes = self.of(cluster, leader)["leader_changes"]
        for i in range(20):
            code, _, err = cluster.chat("send", "--room", "ops", "--replica", other, f"message {i}")
            self.assertEqual(code, 0, err)
        out, err = follower.communicate(timeout=10)  # it does not wait for a poll of 30 s to end
        self.assertEqual(out.decode().count("message "), 20, err)
        status = cluster.status()
        self.assertTrue(status["healthy"])
        self.assertFalse(status["whole"])
        self.assertEqual(status["leader"], leader)
        self.assertEqual(status["replicas"][leader]["leader_changes"], changes)
        self.assertIn("disk_full", [a["what"] for a in status["attention"] if a["replica"] == other])
        # Whoever asks the one that stands still is served by another.
        self.assertEqual(cluster.chat("history", "--room", "ops")[1].count("message "), 20)
        code, out, err = cluster.chat("follow", "--room", "ops", "--from", "20", "--count", "2", "--replica", other, timeout=30)
        self.assertEqual(code, 0, err)
        self.assertEqual(out.count("message "), 2)
        log = (cluster.folder / f"replica{other}.log").read_text()
        self.assertEqual(log.count("is full: "), 1, "said once")
        self.all_live(cluster)
        self.empty(cluster, other)
        cluster.wait_all_applied()
        wait_for("its disk has room", lambda: not self.of(cluster, other)["disk_full"])
        self.assertIn("has room again", (cluster.folder / f"replica{other}.log").read_text())

    def test_a_leader_hands_over(self):
        cluster = self.on_small_disks()
        leader = cluster.leader()
        code, out, err = cluster.ctl("status")
        sender = Sender(cluster, "load", [f"message {i}" for i in range(3000)])
        began = time.monotonic()
        self.fill(cluster, leader)
        wait_for("another leads", lambda: cluster.status()["leader"] not in (None, leader))
        print(f"# another leads {(time.monotonic() - began) / TIMEOUT:.1f} election timeouts after the filling began")
        code, receipts, err = sender.finish()
        self.assertEqual(code, 0, err)
        self.assert_exactly_once(cluster, "load", receipts)
        self.assertIn("hands over", (cluster.folder / f"replica{leader}.log").read_text())
        self.all_live(cluster)

    def test_a_majority_is_read_from_also_after_a_restart_and_goes_on_by_itself(self):
        cluster = self.on_small_disks()
        self.fill(cluster, 0, 2)
        self.assert_read_only(cluster, 0, 2)
        # Who was full first may have handed over to the other one, before either heard of it.
        wait_for("who has room leads", lambda: cluster.leader() == 1)
        for replica in range(3):  # cut short, and ended well
            cluster.kill(replica) if replica % 2 == 0 else cluster.stop(replica)
        for replica in range(3):
            cluster.start(replica)
        wait_for("those are full at their start", lambda: all(self.of(cluster, r).get("disk_full") for r in (0, 2)))
        cluster.leader()
        self.assert_read_only(cluster, 0, 2)
        self.assert_writing_goes_on(cluster, "one", 2)
        self.empty(cluster, 0)
        cluster.wait_all_applied()
        code, verdict, err = cluster.verify("--full")
        self.assertEqual(code, 0, err)
        self.assertTrue(verdict["consistent"])
        wait_for("all keep their reserve again", lambda: all(
            os.stat(d / "data" / "reserve").st_size == RESERVE << 20 for d in cluster.disks))

    def test_all_of_them_under_load(self):
        cluster = self.on_small_disks()
        sender = Sender(cluster, "load", [f"message {i}" for i in range(20000)], "--state", cluster.folder / "load", "--timeout", "100s")
        wait_for("the load is on", lambda: (cluster.folder / "load").exists())
        self.fill(cluster, 0, 1, 2)
        wait_for("nothing can be sent", lambda: cluster.status().get("stuck"))
        self.all_live(cluster)
        self.empty(cluster, 0, 1, 2)
        code, receipts, err = sender.finish()
        self.assertEqual(code, 0, err)
        self.assertEqual(len(receipts), 20000)
        self.assert_exactly_once(cluster, "load", receipts)
        cluster.wait_all_applied()

    def test_a_cluster_of_one(self):
        cluster = self.on_small_disks(f=0)
        self.fill(cluster, 0)
        self.assert_read_only(cluster, 0)
        cluster.kill(0)
        cluster.start(0)
        wait_for("it is full at its start", lambda: self.of(cluster, 0).get("disk_full"))
        cluster.leader()
        self.assert_read_only(cluster, 0)
        self.assert_writing_goes_on(cluster, "one", 0)


if __name__ == "__main__":
    unittest.main()
