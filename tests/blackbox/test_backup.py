"""`paxosctl backup` and `restore`: everything of a running cluster in one file, and a new cluster out of that, of any size; whole, or
refused by name."""
import json
import os
import shutil
import subprocess
import threading

from harness import BIN, Cluster, ClusterTest, Sender, die_with_parent, run, wait_for


def same(messages):
    return [(m["seq"], m["slot"], m["index"], m["name"], m["session"], m["client_seq"], m["time_ms"], m["text"],
             m.get("redacted", {}).get("by")) for m in messages]


class Restored(Cluster):
    """A cluster that `paxosctl restore` made."""

    def __init__(self, backup, f, text=""):
        self.place(f)
        self.code, out, self.err = run("paxosctl", "restore", backup, "-f", f, "-o", self.config, "--base-port", self.base_port, "--json",
                                       text=text)
        self.made = json.loads(out) if self.code == 0 else None


class Backup(ClusterTest):
    def restored(self, backup, f=1, text=""):
        cluster = Restored(backup, f, text)
        self.addCleanup(self._finish, cluster)
        return cluster

    def rules_are_raised(self, cluster):
        wait_for("the rules are raised", lambda: all(r.get("rules", 0) >= 2 for r in cluster.status()["replicas"]))

    def backup(self, cluster, *arguments, name="backup"):
        path = cluster.folder / name
        code, out, err = cluster.ctl("backup", path, "--json", *arguments)
        self.assertEqual(code, 0, err)
        return path, json.loads(out)

    def source(self):
        """Rooms, a redaction, a session with an outbox, a message with a key."""
        cluster = self.cluster()
        self.rules_are_raised(cluster)
        for room in ("ops", "dev"):
            code, _, err = cluster.chat("send", "--room", room, "--name", "ann", "-", text="".join(f"{room} {n}\n" for n in range(300)))
            self.assertEqual(code, 0, err)
        self.assertEqual(cluster.chat("send", "--room", "ops", "--key", "once", "a keyed one")[0], 0)
        self.assertEqual(cluster.chat("send", "--room", "ops", "x" * 16000)[0], 0)
        self.assertEqual(cluster.ctl("redact", "ops", 7, "--reason", "a secret", "--name", "dora")[0], 0)
        # A replica that takes a text off its disk gives up the snapshot that still has it: whoever pulls that begins anew.
        wait_for("the text to be off every disk",
                 lambda: all((r.get("redactions") or {"pending": 1})["pending"] == 0 for r in cluster.status()["replicas"]))
        return cluster

    def test_a_backup_under_load_becomes_a_cluster_of_another_size_with_all_that_was_acknowledged(self):
        cluster = self.source()
        sender = Sender(cluster, "load", [f"load {n}" for n in range(4000)])
        wait_for("there is load", lambda: sum(json.loads(row)["messages"] for row in cluster.ctl("rooms", "--json")[1].splitlines()
                                              if json.loads(row)["name"] == "load") > 200)
        acknowledged = len(cluster.history("load"))
        path, done = self.backup(cluster)
        code, receipts, err = sender.finish()
        self.assertEqual(code, 0, err)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertFalse(path.with_name("backup.partial").exists())
        # The slot's hash is the one that the others have.
        code, out, _ = cluster.ctl("status", "--json")
        self.assertEqual(code, 0)

        other = self.restored(path, f=2)
        self.assertEqual(other.code, 0, other.err)
        self.assertEqual((other.made["slot"], other.made["hash"], other.made["from_cluster_id"]), (done["slot"], done["hash"], done["cluster_id"]))
        self.assertNotEqual(other.made["cluster_id"], done["cluster_id"])
        self.assertNotEqual((other.folder / "cluster.key").read_text(), (cluster.folder / "cluster.key").read_text())
        for replica in range(5):
            other.start(replica)
        other.wait_healthy()
        self.assertEqual([r["first_slot"] for r in other.status()["replicas"]], [done["slot"] + 1] * 5)
        for room in ("ops", "dev"):
            self.assertEqual(same(other.history(room)), same(cluster.history(room)), room)
        loaded = other.history("load")
        self.assertGreaterEqual(len(loaded), acknowledged)
        self.assertEqual(same(loaded), same(cluster.history("load")[:len(loaded)]))
        # Its files read, as an operator would look at them.
        other.stop(0)
        code, out, err = run("paxosd", "inspect", other.folder / "data" / "0", "--json")
        self.assertEqual((code, json.loads(out)["damage"]), (0, []), err)
        other.start(0)
        other.wait_healthy()
        # It goes on as any other: numbers, keys, a leader that dies.
        code, out, err = other.chat("send", "--room", "ops", "--key", "once", "--json", "a keyed one")
        self.assertEqual((code, json.loads(out)["seq"]), (0, 301), err)
        other.kill(other.leader())
        code, out, err = other.chat("send", "--room", "ops", "--json", "after", timeout=120)
        self.assertEqual((code, json.loads(out)["seq"]), (0, 303), err)
        self.assert_consistent(other)

        # A replica that lost what it was given is a stranger.
        lost = next(iter(other.processes))
        other.stop(lost)
        shutil.rmtree(other.folder / "data" / str(lost))
        other.start(lost)
        wait_for("it is dormant", lambda: other.status()["replicas"][lost].get("role") == "dormant")
        # Which is when a backup is wanted most: of the four that vote.
        self.backup(other)
        # And one that is only started again is not.
        again = next(r for r in other.processes if r != lost)
        other.stop(again)
        other.start(again)
        wait_for("it votes", lambda: other.status()["replicas"][again].get("voting"))

    def test_a_vote_that_nobody_else_has_hinders_none(self):
        cluster = self.source()
        for n in range(3):
            sender = Sender(cluster, f"r{n}", [f"load {n} {i}" for i in range(100_000)])
            wait_for("there is load", lambda: f'"r{n}"' in cluster.ctl("rooms", "--json", "--local")[1])
            leader = cluster.leader()
            cluster.ctl("isolate", leader, "--for", "3s")
            wait_for("another leads", lambda: cluster.status()["leader"] not in (None, leader))
            sender.process.kill()
            sender.finish()
            wait_for("all are back", lambda: all(r.get("voting") for r in cluster.status()["replicas"]) and cluster.status()["healthy"])
        self.backup(cluster, "--timeout", "30s")

    def test_a_restore_that_is_killed_starts_no_empty_cluster(self):
        cluster = self.source()
        code, _, err = cluster.chat("send", "--room", "big", "-", text="".join(f"{n} {os.urandom(4000).hex()}\n" for n in range(800)))
        self.assertEqual(code, 0, err)
        path, _ = self.backup(cluster)
        folder = cluster.folder / "broken"
        folder.mkdir()
        config = folder / "cluster.yaml"
        process = subprocess.Popen([str(BIN / "paxosctl"), "restore", str(path), "-f", "1", "-o", str(config)], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        wait_for("it is under way", lambda: (folder / "data" / "0.restoring").exists() or process.poll() is not None)
        process.kill()
        if process.wait() != 0:  # else it was faster
            self.assertFalse(config.exists())
            code, _, err = run("paxosctl", "restore", path, "-f", 1, "-o", config)
            self.assertEqual(code, 1)
            self.assertIn(f"{config}.restoring: an earlier restore was broken off, or is under way", err)
            (folder / "cluster.yaml.restoring").unlink()
            (folder / "cluster.key").unlink()
            code, _, err = run("paxosctl", "restore", path, "-f", 1, "-o", config)
            self.assertEqual(code, 0, err)
        self.assertEqual(sorted(p.name for p in folder.iterdir()), ["cluster.key", "cluster.yaml", "data"])
        self.assertEqual(sorted(p.name for p in (folder / "data").iterdir()), ["0", "1", "2"])

    def test_through_a_pipe_and_of_one_replica_alone(self):
        cluster = self.source()
        done = subprocess.run([str(BIN / "paxosctl"), "backup", "--config", str(cluster.config), "-"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, preexec_fn=die_with_parent, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        one = self.restored("-", f=0, text=done.stdout)
        self.assertEqual(one.code, 0, one.err)
        one.start(0)
        one.wait_healthy()
        self.assertEqual(same(one.history("ops")), same(cluster.history("ops")))
        # Without a quorum: only where that is said.
        cluster.stop(0)
        cluster.stop(1)
        code, _, err = cluster.ctl("backup", cluster.folder / "b", "--timeout", "5s")
        self.assertEqual(code, 3, err)
        self.assertRegex(err, "1 of 3 replicas answer and vote, .*so nobody can tell what the last acknowledged message is; with --local")
        self.assertEqual(sorted(p.name for p in cluster.folder.glob("b*")), [])
        path, _ = self.backup(cluster, "--local", "--replica", 2, name="b")
        self.assertGreater(path.stat().st_size, 16000)

    def test_what_is_damaged_cut_or_foreign_is_refused_by_name_and_leaves_nothing(self):
        cluster = self.source()
        path, _ = self.backup(cluster)
        whole = path.read_bytes()
        # One more time: not over what is there.
        code, _, err = cluster.ctl("backup", path)
        self.assertEqual(code, 1)
        self.assertIn(f"{path}: is there already; --force overwrites it", err)
        self.backup(cluster, "--force")
        bad = cluster.folder / "bad"
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 4
        for bytes_, said in ((whole[:-1], "it is cut short: it ends at byte"), (whole[:40], "it is cut short: it ends at byte 40"),
                             (b"", "it is cut short: it ends at byte 0"), (bytes(flipped), "it is damaged: what stands at byte"),
                             (whole + b"x", "more follows behind its end"), (b"{}" * 100, "it is no backup of `paxosctl backup`"),
                             (whole.replace(b"backup 1\n", b"backup 2\n", 1), "its format is not 1")):
            bad.write_bytes(bytes_)
            other = self.restored(bad)
            self.assertEqual(other.code, 1, said)
            self.assertIn(f"{bad}: {said}", other.err)
            self.assertIn("Nothing was restored", other.err)
            self.assertEqual([p.name for p in other.folder.rglob("*") if p.name != "data"], [], said)
        # Two at once: one of them, and that whole.
        both = [subprocess.Popen([str(BIN / "paxosctl"), "backup", "--config", str(cluster.config), str(cluster.folder / "both")],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=die_with_parent) for _ in range(2)]
        ends = [(process.communicate(timeout=120)[1].decode(), process.returncode) for process in both]
        self.assertIn(0, [code for _, code in ends], ends)
        for said, code in ends:
            self.assertTrue(code == 0 or "another backup is being written there" in said or "is there already" in said
                            or "came to be there meanwhile" in said, said)
        other = self.restored(cluster.folder / "both", f=0)
        self.assertEqual(other.code, 0, other.err)
        self.assertFalse((cluster.folder / "both.partial").exists())
        code, _, err = cluster.ctl("backup", cluster.folder, "--force")
        self.assertEqual(code, 1)
        self.assertIn("is a folder; name a file in it", err)
        # Nothing is written over.
        (cluster.folder / "there").mkdir()
        there = cluster.folder / "there" / "cluster.yaml"
        there.write_text("mine\n")
        code, _, err = run("paxosctl", "restore", path, "-f", 1, "-o", there)
        self.assertEqual((code, there.read_text()), (1, "mine\n"))
        there.unlink()
        (there.parent / "data" / "1").mkdir(parents=True)
        (there.parent / "data" / "1" / "kept").write_text("mine\n")
        code, _, err = run("paxosctl", "restore", path, "-f", 1, "-o", there)
        self.assertEqual(code, 1)
        self.assertIn("data/1: is there already, and not empty", err)
        self.assertEqual(sorted(p.name for p in there.parent.rglob("*") if p.is_file()), ["kept"])

    def test_a_kill_of_who_takes_it_or_gives_it_leaves_no_half_file(self):
        cluster = self.source()
        code, _, err = cluster.chat("send", "--room", "big", "-", text="".join(f"{n} {os.urandom(4000).hex()}\n" for n in range(800)))
        self.assertEqual(code, 0, err)
        cluster.wait_all_applied()
        path = cluster.folder / "b"
        process = subprocess.Popen([str(BIN / "paxosctl"), "backup", "--config", str(cluster.config), str(path)], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        partial = path.with_name("b.partial")
        wait_for("it is under way", lambda: partial.exists() and partial.stat().st_size > 500_000 or process.poll() is not None)
        process.kill()
        process.wait()
        self.assertFalse(path.exists())
        # The next one is not hindered by what that left; another replica may be asked.
        code, out, err = cluster.ctl("backup", path, "--json")
        self.assertEqual(code, 0, err)
        self.assertFalse(partial.exists())
        giver = json.loads(out)["replica"]
        second = {}

        def take():
            second["done"] = cluster.ctl("backup", cluster.folder / "c", "--replica", giver)
        taking = threading.Thread(target=take)
        taking.start()
        partial = cluster.folder / "c.partial"
        wait_for("it is under way", lambda: partial.exists() and partial.stat().st_size > 500_000 or not taking.is_alive())
        cluster.kill(giver)
        taking.join()
        if second["done"][0] != 0:  # else it was faster
            self.assertEqual(second["done"][0], 3, second["done"])
            self.assertRegex(second["done"][2], f"replica {giver} does not answer any more. Nothing was backed up")
            self.assertFalse((cluster.folder / "c").exists())
        self.assertFalse(partial.exists())


if __name__ == "__main__":
    import unittest
    unittest.main()
