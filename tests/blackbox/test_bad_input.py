"""Bad input: each names the cause and the next step, has the exit code of CLI.md, and loses nothing."""
import ctypes
import os
import pathlib
import random
import re
import signal
import socket
import struct
import subprocess
import tempfile
import unittest
import urllib.request

from harness import BIN, Cluster, ClusterTest, die_with_parent, run, wait_for


IO_URING_SETUP = 425  # the same number on every architecture


def forbid_io_uring():
    """In the child, before it becomes the program: a seccomp filter that answers io_uring_setup with EPERM, as container
    runtimes do."""
    die_with_parent()
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in (
        (0x20, 0, 0, 0),                # load the system call's number
        (0x15, 0, 1, IO_URING_SETUP),   # is it this one?
        (0x06, 0, 0, 0x00050000 | 1),   # then EPERM
        (0x06, 0, 0, 0x7FFF0000)))      # else go on
    instructions = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(38, ctypes.c_ulong(1), zero, zero, zero) or libc.prctl(22, ctypes.c_ulong(2), program, zero, zero):
        os._exit(99)


class WrongUsage(unittest.TestCase):
    def test_an_unknown_verb_is_wrong_usage_and_a_near_one_is_named(self):
        code, _, err = run("paxosctl", "statsu")
        self.assertEqual(code, 2)
        self.assertIn("status", err)

    def test_an_unknown_flag_is_wrong_usage_and_a_near_one_is_named(self):
        code, _, err = run("paxosctl", "status", "--jsno")
        self.assertEqual(code, 2)
        self.assertIn("--json", err)
        code, _, err = run("paxosd", "--idd", "0")
        self.assertEqual(code, 2)
        self.assertIn("--id", err)

    def test_a_missing_config_names_what_was_looked_at_and_how_to_make_one(self):
        with tempfile.TemporaryDirectory() as folder:
            code, _, err = run("paxosctl", "status", cwd=folder)
            self.assertEqual(code, 1)
            self.assertIn("config generate", err)
            code, _, err = run("paxosd", "--config", f"{folder}/nowhere.yaml", "--id", 0)
            self.assertEqual(code, 1)
            self.assertIn("nowhere.yaml", err)

    def test_a_malformed_config_is_refused_with_file_line_and_key(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "cluster.yaml"
            self.assertEqual(run("paxosctl", "config", "generate", "-f", 1, "-o", file)[0], 0)
            good = file.read_text()
            for change, key in ((("heartbeat_ms: 50", "heartbeat_ms: fast"), "heartbeat_ms"),
                                (("heartbeat_ms: 50", "hartbeat_ms: 50"), "hartbeat_ms"),
                                (("{id: 1,", "{id: 0,"), "id"),
                                (("7401", "7400"), "address"),
                                (("loss: 0.0", "loss: 2"), "loss")):
                file.write_text(good.replace(*change))
                code, _, err = run("paxosctl", "config", "check", file)
                self.assertEqual(code, 1, err)
                self.assertRegex(err, re.escape(str(file)) + r":\d+: .*" + key)
            file.write_text(good)
            code, out, err = run("paxosctl", "config", "check", file)
            self.assertEqual(code, 0, err)

    def test_generate_does_not_overwrite(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "cluster.yaml"
            self.assertEqual(run("paxosctl", "config", "generate", "-f", 1, "-o", file)[0], 0)
            key = (file.parent / "cluster.key").read_text()
            self.assertEqual((file.parent / "cluster.key").stat().st_mode & 0o777, 0o600)
            code, _, err = run("paxosctl", "config", "generate", "-f", 2, "-o", file)
            self.assertEqual(code, 1)
            self.assertIn("--force", err)
            self.assertEqual((file.parent / "cluster.key").read_text(), key)


class BadStart(ClusterTest):
    def daemon(self, cluster, replica, *arguments, timeout=20):
        return run("paxosd", "--config", cluster.config, "--id", replica, *arguments, timeout=timeout)

    def test_an_id_that_is_not_in_the_config(self):
        cluster = self.cluster(f=1, start=False)
        code, _, err = self.daemon(cluster, 7)
        self.assertEqual(code, 1)
        self.assertIn("0 to 2", err)

    def test_a_key_that_others_may_read(self):
        cluster = self.cluster(f=1, start=False)
        os.chmod(cluster.folder / "cluster.key", 0o644)
        code, _, err = self.daemon(cluster, 0)
        self.assertEqual(code, 1)
        self.assertIn("chmod 600", err)

    def test_a_port_in_use_and_a_directory_in_use(self):
        cluster = self.cluster(f=1)
        code, _, err = self.daemon(cluster, 0)
        self.assertEqual(code, 1)
        self.assertIn("in use", err)
        # The same directory under another port: the lock names the owner.
        other = cluster.folder / "other.yaml"
        text = cluster.config.read_text()
        other.write_text(text.replace(f":{cluster.base_port}\"", f":{cluster.base_port + 5000}\""))
        code, _, err = run("paxosd", "--config", other, "--id", 0, timeout=20)
        self.assertEqual(code, 1)
        self.assertIn(f"pid {cluster.processes[0].pid}", err)
        self.assertEqual(cluster.chat("send", "--room", "ops", "still fine")[0], 0)

    def test_a_directory_of_another_replica_or_cluster(self):
        cluster = self.cluster(f=1)
        cluster.wait_healthy()
        cluster.kill(0)
        cluster.kill(1)
        code, _, err = self.daemon(cluster, 1, "--data-dir", cluster.folder / "data/0")
        self.assertEqual(code, 1)
        self.assertIn("replica 0", err)
        text = cluster.config.read_text()
        old = re.search(r"^id: (\S+)", text, re.M).group(1)
        cluster.config.write_text(text.replace(old, "00000000-0000-4000-8000-000000000000"))
        code, _, err = self.daemon(cluster, 0)
        self.assertEqual(code, 1)
        self.assertIn(old, err)

    def test_a_directory_that_cannot_be_made(self):
        cluster = self.cluster(f=1, start=False)
        (cluster.folder / "file").write_text("")
        code, _, err = self.daemon(cluster, 0, "--data-dir", cluster.folder / "file" / "data")
        self.assertEqual(code, 1)
        self.assertIn("file", err)

    def test_a_key_that_does_not_match_gets_no_answer(self):
        cluster = self.cluster(f=1)
        wrong = cluster.folder / "wrong"
        wrong.mkdir()
        (wrong / "cluster.yaml").write_text(cluster.config.read_text())
        (wrong / "cluster.key").write_text("00" * 32 + "\n")
        os.chmod(wrong / "cluster.key", 0o600)
        code, _, err = run("paxoschat", "send", "--config", wrong / "cluster.yaml", "--room", "ops", "--timeout", "2s", "hi")
        self.assertEqual(code, 3)
        self.assertEqual(cluster.history("ops"), [])

    def test_io_uring_forbidden_is_said_with_what_to_do(self):
        cluster = self.cluster(f=0, start=False)
        for program, arguments in (("paxosd", ["--id", "0"]), ("paxosctl", ["status"]),
                                   ("paxoschat", ["history", "--room", "ops"])):
            verb = arguments if program == "paxosd" else arguments[1:]
            words = [str(BIN / program)] + ([] if program == "paxosd" else arguments[:1]) + ["--config", str(cluster.config)] + verb
            done = subprocess.run(words, capture_output=True, timeout=20, preexec_fn=forbid_io_uring)
            said = done.stderr.decode()
            self.assertEqual(done.returncode, 1, said)
            self.assertIn("io_uring", said)
            self.assertRegex(said, "seccomp|sysctl|container", "the likely cause")
        self.assertFalse((cluster.folder / "data" / "0" / "log").exists(), "nothing was touched")

    def test_disk_full_ends_the_replica_with_the_cause(self):
        # As one that keeps no reserve does (test_full_disk has the others). A file system of 24 MiB; where it can't be mounted, the storage
        # tests' failing file system stands for it.
        cluster = self.cluster(f=1, start=False)
        small = cluster.folder / "small"
        small.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)], capture_output=True).returncode:
            self.skipTest("this machine does not let us mount a small file system")
        self.addCleanup(subprocess.run, ["umount", "-l", str(small)])
        text = cluster.config.read_text().replace("data_dir: data/2", f"data_dir: {small}/2")
        cluster.config.write_text(text + "disk_reserve_mib: 0\n")
        for replica in range(3):
            cluster.start(replica)
        cluster.wait_healthy()
        process = cluster.processes[2]
        code, out, err = cluster.ctl("bench", "--clients", 64, "--size", 8000, "--duration", "4s", "--warmup", "0s", timeout=120)
        self.assertEqual(code, 0, err)
        # The bench's texts compress so well that they alone may never fill it.
        free = os.statvfs(small)
        (small / "filler").write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - (256 << 10))))

        def dead():
            if process.poll() is None:
                cluster.ctl("bench", "--clients", 64, "--size", 8000, "--duration", "1s", "--warmup", "0s")
            return process.poll() is not None
        wait_for("the replica whose disk is full ends", dead)
        self.assertEqual(process.returncode, 1)
        log = (cluster.folder / "replica2.log").read_text()
        self.assertIn("storage failed", log)
        self.assertIn("No space left", log)
        cluster.processes.pop(2)
        self.assertEqual(cluster.chat("send", "--room", "ops", "the others go on")[0], 0)


class BadMessages(ClusterTest):
    @classmethod
    def setUpClass(cls):
        cls.shared = Cluster(f=1)

    @classmethod
    def tearDownClass(cls):
        cls.shared.close()

    def refused(self, text, word, room="ops", name="ann"):
        before = self.shared.status()["replicas"][0]["accepted"]
        code, out, err = self.shared.chat("send", "--room", room, "--name", name, "-", text=text)
        self.assertEqual(code, 1, f"{out} {err}")
        self.assertIn(word, err + out)
        return before

    def test_invalid_utf8_is_refused(self):
        self.refused(b"caf\xe9\n", "UTF-8")

    def test_an_empty_text_is_refused(self):
        code, _, err = self.shared.chat("send", "--room", "ops", "")
        self.assertEqual(code, 1, err)
        self.assertIn("empty", err)

    def test_an_oversized_text_is_refused_with_the_limit(self):
        self.refused("x" * 16385 + "\n", "16384")

    def test_the_largest_text_goes_through(self):
        code, _, err = self.shared.chat("send", "--room", "large", "-", text="x" * 16384 + "\n")
        self.assertEqual(code, 0, err)
        self.assertEqual(len(self.shared.history("large")[0]["text"]), 16384)

    def test_room_names_out_of_range_are_refused(self):
        self.refused("hi\n", "room", room="r" * 65)
        self.refused("hi\n", "room", room="a\x01b")

    def test_a_refused_line_does_not_stop_the_others(self):
        import json
        code, out, err = self.shared.chat("send", "--room", "mixed", "--json", "-", text=b"one\n\xff\nthree\n")
        self.assertEqual(code, 1)
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([line.get("text", line.get("line")) for line in lines], ["one", 2, "three"])
        self.assertIn("UTF-8", lines[1]["refused"])
        self.assertEqual([m["text"] for m in self.shared.history("mixed")], ["one", "three"])

    def test_control_characters_never_reach_a_terminal_raw(self):
        self.assertEqual(self.shared.chat("send", "--room", "ctl", "-", text="red \x1b[31m bell \x07\n")[0], 0)
        code, out, _ = self.shared.chat("history", "--room", "ctl")
        self.assertEqual(code, 0)
        self.assertNotIn("\x1b[31m", out)
        self.assertNotIn("\x07", out)
        self.assertEqual(self.shared.history("ctl")[0]["text"], "red \x1b[31m bell \x07")

    def test_junk_datagrams_change_nothing(self):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rng = random.Random(1)
        for n in range(3000):
            size = rng.choice([0, 1, 5, 54, 60, 200, 1400, 9000])
            s.sendto(rng.randbytes(size), ("127.0.0.1", self.shared.base_port + n % 3))
        s.close()
        self.assertEqual(self.shared.chat("send", "--room", "ops", "after the junk")[0], 0)

    def test_datagrams_of_a_later_format_hint_at_a_missed_upgrade(self):
        # What an old program hears that comes back after the rules were raised: nothing that it understands.
        cluster = self.cluster(f=1, start=False)
        cluster.start(0)
        hint = "install it here too"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            def told():
                s.sendto(b"PXD\x03" + bytes(60), ("127.0.0.1", cluster.base_port))
                return hint in cluster.logs()
            wait_for("the hint in its log", told)
            s.sendto(b"PXD\x03" + bytes(60), ("127.0.0.1", cluster.base_port))
        for replica in (1, 2):
            cluster.start(replica)
        cluster.wait_healthy()
        self.assertEqual(cluster.logs().count(hint), 1, "once is enough")

    def test_an_earlier_format_hints_at_nothing(self):
        # A client whose first hello is answered late asks in the first format, too, in case the replica is an old one.
        cluster = self.cluster(f=1, metrics=True)
        wait_for("all replicas go by rules 2", lambda: all(r.get("rules") == 2 for r in cluster.status()["replicas"]))
        late = (cluster.leader() + 1) % 3

        def first_format():
            url = f"http://127.0.0.1:{cluster.metrics_port + late}/metrics"
            with urllib.request.urlopen(url, timeout=30) as answer:
                rows = [row for row in answer.read().decode().splitlines() if row.startswith("paxosd_datagrams_dropped_total{")]
            return sum(int(float(row.split()[-1])) for row in rows if re.search('reason="(outdated|version)"', row))

        def asked_late():
            cluster.processes[late].send_signal(signal.SIGSTOP)
            try:
                code, _, _ = cluster.ctl("status", "--json")
            finally:
                cluster.processes[late].send_signal(signal.SIGCONT)
            return first_format() > 0
        wait_for("a question in the first format was dropped", asked_late)
        for replica in set(range(3)) - {late}:
            cluster.kill(replica)
        log = cluster.folder / f"replica{late}.log"
        alone = wait_for("it knows no leader", lambda: log.read_text().rsplit("follows replica", 1)[1].count("knows no leader"))
        self.assertEqual(alone, 1)
        # Its next status line, a second later at most, would have had it.
        wait_for("it says that it has no quorum for a while", lambda: any(
            r["reachable"] and r.get("no_quorum_age_ms", 0) > 2500 for r in cluster.status()["replicas"]))
        self.assertNotIn("install it here too", log.read_text())

    def test_fault_injection_is_refused_in_production(self):
        cluster = self.cluster(f=0, production=True)
        leader = cluster.leader()
        for words in (("kill", leader), ("skip", "--next", 1), ("loss", "0.1"), ("pause", leader, "--for", "1s"),
                      ("isolate", leader, "--for", "1s")):
            code, _, err = cluster.ctl(*words)
            self.assertEqual(code, 1, f"{words}: {err}")
            self.assertIn("fault_injection", err)
        self.assertEqual(cluster.chat("send", "--room", "ops", "alive")[0], 0)

    def test_without_a_quorum_send_says_so_and_exits_3(self):
        cluster = self.cluster(f=1)
        leader = cluster.leader()
        for replica in [i for i in cluster.processes if i != leader]:
            cluster.kill(replica)
        code, out, err = cluster.chat("send", "--room", "ops", "--timeout", "2s", "anyone?")
        self.assertEqual((code, out), (3, ""))
        self.assertRegex(err, "quorum|leader|answer")
        code, _, err = cluster.chat("history", "--room", "ops", "--timeout", "2s")
        self.assertEqual(code, 3)
        code, _, err = cluster.chat("history", "--room", "ops", "--local", "--timeout", "5s")
        self.assertEqual(code, 0, err)


if __name__ == "__main__":
    unittest.main()
