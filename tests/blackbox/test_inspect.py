"""`paxosd inspect DIR`: what a stopped replica holds, every checksum, and nothing written."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from harness import BIN, ClusterTest, die_with_parent, run


def tree(folder):
    """Every file's bytes and time: what reading must leave as it is."""
    return {str(p.relative_to(folder)): (hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder", p.stat().st_mtime_ns)
            for p in sorted(folder.rglob("*"))}


def inspect(folder, *arguments):
    code, out, err = run("paxosd", "inspect", folder, "--json", *arguments)
    return code, json.loads(out) if out.strip() else None, err


class Inspect(ClusterTest):
    def stopped(self, messages=40, restarts=1):
        """A cluster that has had some lives, all of its replicas stopped; the state of replica 1 as it last said."""
        cluster = self.cluster()
        for life in range(restarts + 1):
            text = "".join(f"message {life} {n}\n" for n in range(messages))
            code, out, err = cluster.chat("send", "--room", "ops", "--name", "ann", "-", text=text)
            self.assertEqual(code, 0, err)
            cluster.wait_all_applied()
            if life < restarts:
                for replica in range(3):
                    cluster.stop(replica)
                for replica in range(3):
                    cluster.start(replica)
                cluster.wait_healthy()
        cluster.wait_all_applied()
        last = next(r for r in cluster.status()["replicas"] if r["id"] == 1)
        for replica in range(3):
            self.assertEqual(cluster.stop(replica), 0)
        return cluster, cluster.folder / "data/1", last

    def test_a_whole_directory_is_told_and_stays_as_it_is(self):
        cluster, folder, last = self.stopped()
        before = tree(folder)
        code, found, err = inspect(folder)
        self.assertEqual(code, 0, f"{found} {err}")
        self.assertEqual(tree(folder), before, "inspect has written")
        self.assertTrue(found["whole"])
        self.assertEqual(found["damage"], [])
        self.assertEqual((found["replica"], found["cluster_id"]), (1, cluster.status()["cluster_id"]))
        self.assertEqual((found["boot"], found["incarnation"]), (last["boot"], last["incarnation"]))
        # A leader that stops hands over: that raises it.
        self.assertGreaterEqual(found["promised"]["round"], last["promised"]["round"])
        self.assertGreaterEqual(found["applied"], last["applied"])
        if found["applied"] == last["applied"]:
            self.assertEqual(found["hash"], last["hash"])
        self.assertEqual((found["rooms"], found["messages"]), (1, 80))
        self.assertTrue(found["born"])
        self.assertGreater(found["read"]["wal_records"], 0)
        self.assertGreater(found["read"]["tables"], 0)
        self.assertGreaterEqual(found["last_slot"], found["applied"])
        # A slot as `paxosctl log` shows it.
        for replica in range(3):
            cluster.start(replica)
        cluster.wait_healthy()
        posts = [s for s in cluster.log(1) if s["kind"] == "commands" and s["commands"][0]["op"] == "post"]
        for replica in range(3):
            cluster.stop(replica)
        code, found, err = inspect(folder, "--slot", posts[-1]["slot"])
        self.assertEqual(code, 0, err)
        self.assertEqual([c["text"] for c in found["slot"]["commands"]], [c["text"] for c in posts[-1]["commands"]])
        code, out, err = run("paxosd", "inspect", folder)
        self.assertEqual(code, 0, err)
        self.assertIn("all of it reads as it was written", out)
        code, found, err = inspect(folder, "--slot", 1000000)
        self.assertEqual((code, found["slot"], found["whole"]), (1, None, True), "no such slot, and no damage")

    def test_a_file_system_that_may_only_be_read_will_do(self):
        if os.geteuid() != 0:
            self.skipTest("mounts need root")
        _, folder, _ = self.stopped(messages=5, restarts=0)
        script = 'mount --make-rprivate / && mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && ! touch "$1/x" 2>/dev/null && exec "$2" inspect "$1"'
        done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", str(folder), str(BIN / "paxosd")], capture_output=True,
                              text=True, timeout=120, preexec_fn=die_with_parent)
        if "Operation not permitted" in done.stderr or "Permission denied" in done.stderr:
            self.skipTest("no mounts here: " + done.stderr.strip())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("all of it reads as it was written", done.stdout)

    def test_a_running_replicas_directory_is_refused(self):
        cluster = self.cluster()
        code, out, err = run("paxosd", "inspect", cluster.folder / "data/0")
        self.assertEqual((code, out), (1, ""))
        self.assertIn(f"in use by a running replica, pid {cluster.processes[0].pid}", err)
        self.assertTrue(cluster.status()["healthy"])

    def test_damage_is_named_with_its_file_and_what_follows(self):
        _, folder, _ = self.stopped(messages=60)
        log_tables = sorted((folder / "log").glob("*.sst"))
        state_tables = sorted((folder / "state").glob("*.sst"))
        wals = [w for w in sorted((folder / "log").glob("*.log")) if w.read_bytes().strip(b"\0")]
        self.assertTrue(log_tables and state_tables and wals)

        def flipped(path, where):
            bytes_ = bytearray(path.read_bytes())
            bytes_[where(len(bytes(bytes_).rstrip(b"\0")))] ^= 4
            path.write_bytes(bytes_)

        def damaged(change, *arguments):
            copy = pathlib.Path(tempfile.mkdtemp(dir=folder.parent)) / "copy"
            shutil.copytree(folder, copy)
            change(copy)
            code, found, err = inspect(copy, *arguments)
            self.assertEqual(code, 1, f"{found} {err}")
            self.assertFalse(found["whole"])
            for finding in found["damage"]:
                self.assertTrue(finding["what"] and finding["means"] and finding["next"], finding)
            code, out, err = run("paxosd", "inspect", copy)
            self.assertEqual(code, 1)
            self.assertIn("DAMAGED: ", out)
            self.assertIn("next: ", out)
            return found["damage"]

        name = f"log/{log_tables[0].name}"
        damage = damaged(lambda d: flipped(d / name, lambda n: 20))
        self.assertIn(name, [f["where"] for f in damage])
        slots = [f for f in damage if "first_slot" in f]
        self.assertTrue(slots, f"no slot is named: {damage}")
        name = f"state/{state_tables[0].name}"
        damage = damaged(lambda d: flipped(d / name, lambda n: 20))
        self.assertIn(name, [f["where"] for f in damage])
        self.assertTrue(any("puts aside as state-damaged/" in f["next"] for f in damage), damage)
        name = f"log/{wals[-1].name}"
        damage = damaged(lambda d: flipped(d / name, lambda n: n // 2))
        self.assertTrue(any("its end is lost" in f["what"] for f in damage), damage)
        self.assertTrue(any("A disk is lost" in f["next"] for f in damage), damage)
        damage = damaged(lambda d: flipped(d / "log-mark", lambda n: 3))
        self.assertEqual([f["where"] for f in damage], ["log-mark"])
        damage = damaged(lambda d: (d / "log-mark").unlink())
        self.assertEqual([f["where"] for f in damage], ["log-mark"])

        def unreadable(file):  # it opens, and the first read fails
            file.unlink()
            file.mkdir()
        damage = damaged(lambda d: unreadable(d / "log-mark"))
        self.assertEqual([f["where"] for f in damage], ["log-mark"])
        damage = damaged(lambda d: shutil.rmtree(d / "log"))
        self.assertIn("the log is gone", [f["what"] for f in damage])
        damage = damaged(lambda d: (d / "addresses").write_text("paxosd addresses 1\nchecksum 0000000000000000\n"))
        self.assertEqual([f["where"] for f in damage], ["addresses"])

    def test_what_is_no_replicas_directory(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="paxosd-test-"))
        self.addCleanup(shutil.rmtree, folder)
        (folder / "file").write_text("x")
        for arguments, code, sentence in (((folder,), 1, "there is no replica's data in it"),
                                          ((folder / "none",), 1, "there is no such folder"),
                                          ((folder / "file",), 1, "is no folder"),
                                          ((), 2, "give DIR"),
                                          ((folder, "--slot", "0"), 2, "--slot"),
                                          ((folder, "--what"), 2, "--what")):
            got, out, err = run("paxosd", "inspect", *arguments)
            self.assertEqual((got, out), (code, ""), err)
            self.assertIn(sentence, err)
        self.assertEqual([p.name for p in folder.iterdir()], ["file"])
