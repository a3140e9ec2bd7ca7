"""`paxosctl export` and `import`: rooms with their names, order and times, whole or refused, each message once."""
import json
import os
import pathlib
import random
import signal
import subprocess
import time

from harness import BIN, ClusterTest, die_with_parent, run, wait_for


def shown(messages):
    """What of a message is to be the same on the other side; an original's time is when it was written."""
    return [(m["seq"], m["name"], m["text"], m.get("written_ms", m["time_ms"]), m.get("redacted", {}).get("by"),
             m.get("redacted", {}).get("reason")) for m in messages]


class Export(ClusterTest):
    def target(self):
        """A new cluster, once it takes imports: under rules 2, which it raises a moment after it was born."""
        cluster = self.cluster()
        wait_for("rules 2", lambda: all(r.get("rules") == 2 for r in cluster.status()["replicas"]))
        return cluster

    def source(self, messages=60):
        """Several rooms and names, a topic, a redacted message, an odd one."""
        cluster = self.cluster()
        for room, name, count in (("ops", "ann", messages), ("dev", "böb", messages // 2), ("ops", "cat", 5)):
            text = "".join(f"{room} {name} {n} 𝕏 \\ \"quoted\"\n" for n in range(count))
            code, _, err = cluster.chat("send", "--room", room, "--name", name, "-", text=text)
            self.assertEqual(code, 0, err)
        code, _, err = cluster.chat("send", "--room", "one", "--name", "", "--key", "k", "tab\there\x1b[31m")
        self.assertEqual(code, 0, err)
        code, _, err = cluster.ctl("redact", "ops", 7, "--reason", "a secret", "--name", "dora")
        self.assertEqual(code, 0, err)
        return cluster

    def export(self, cluster, *arguments):
        path = cluster.folder / f"export-{random.randrange(1 << 30)}.jsonl"
        code, out, err = cluster.ctl("export", *arguments)
        self.assertEqual(code, 0, err)
        path.write_text(out)
        return path

    def test_rooms_come_over_with_names_order_times_and_what_was_redacted(self):
        source = self.source()
        path = self.export(source)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        self.assertEqual((lines[0]["export"], lines[0]["format"], lines[0]["cluster_id"]),
                         ("paxosd rooms", 1, source.status()["cluster_id"]))
        self.assertEqual((lines[-1]["end"], lines[-1]["rooms"], lines[-1]["messages"]), (True, 3, 96))
        self.assertNotIn("ops ann 6 ", path.read_text(), "the redacted text")
        target = self.target()
        code, out, err = target.ctl("import", path, "--json")
        self.assertEqual(code, 0, err)
        done = json.loads(out)
        self.assertEqual((done["messages"], done["imported"], done["imported_before"], done["refused"], done["redacted"]),
                         (96, 96, 0, 0, 1))
        for room in ("ops", "dev", "one"):
            self.assertEqual(shown(target.history(room)), shown(source.history(room)), room)
        self.assertEqual(target.history("ops")[6]["text"], "")
        self.assertEqual(target.history("ops")[6]["redacted"]["by"], "dora")
        # Once more: nothing is posted twice.
        code, out, err = target.ctl("import", path, "--json")
        self.assertEqual(code, 0, err)
        self.assertEqual((json.loads(out)["imported"], json.loads(out)["imported_before"]), (0, 96))
        self.assertEqual(len(target.history("ops")), 65)
        self.assert_consistent(target)
        # And from there on to a third cluster: the first times are kept.
        again = self.export(target, "--room", "ops")
        third = self.target()
        code, _, err = third.ctl("import", again)
        self.assertEqual(code, 0, err)
        self.assertEqual(shown(third.history("ops")), shown(source.history("ops")))
        self.assertEqual(json.loads(third.ctl("rooms", "--json")[1].splitlines()[0])["name"], "ops")

    def test_an_import_that_is_killed_again_and_again_gives_each_message_once(self):
        source = self.cluster()
        code, _, err = source.chat("send", "--room", "ops", "--name", "ann", "-", text="".join(f"text {n}\n" for n in range(6000)))
        self.assertEqual(code, 0, err)
        path = self.export(source)
        target = self.target()
        killed = 0
        for run_number in range(9):
            process = subprocess.Popen([str(BIN / "paxosctl"), "import", "--config", str(target.config), str(path)],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=die_with_parent)
            try:
                # In the middle of what it does: later each time, and the last one may end.
                before, changes = self.stamp(path), 0

                def moved():
                    nonlocal before, changes
                    now = self.stamp(path)
                    changes, before = changes + (now != before), now
                    return process.poll() is not None or (changes > run_number and run_number < 8)

                end = time.monotonic() + 120
                while not moved():
                    self.assertLess(time.monotonic(), end, "the import neither gets on nor ends")
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                    killed += 1
            finally:
                _, err = process.communicate(timeout=60)
            if process.returncode == 0:
                break
            self.assertEqual(process.returncode, -signal.SIGKILL, err)
        self.assertGreater(killed, 2, "it was too fast to be killed")
        self.assertEqual(process.returncode, 0, err)
        self.assertEqual([m["text"] for m in target.history("ops")], [f"text {n}" for n in range(6000)])
        self.assert_consistent(target)

    @staticmethod
    def stamp(path):
        """When the state files beside an export were last written to."""
        return sorted((p.name, p.stat().st_mtime_ns, p.stat().st_size) for p in path.parent.glob(path.name + ".to-*"))

    @staticmethod
    def head(cluster):
        code, out, _ = cluster.ctl("rooms", "--json", "--local")
        return sum(json.loads(line)["messages"] for line in out.splitlines()) if code == 0 else 0

    def test_a_file_that_is_not_whole_is_refused_by_name(self):
        source = self.source(messages=10)
        path = self.export(source)
        whole = path.read_bytes()
        lines = whole.splitlines(keepends=True)
        target = self.target()

        def refused(content, sentence):
            path.write_bytes(content)
            code, out, err = target.ctl("import", path)
            self.assertEqual((code, out), (1, ""), err)
            self.assertIn(str(path), err)
            self.assertIn(sentence, err)

        for size in (0, 10, len(lines[0]), len(whole) // 2, len(whole) - len(lines[-1]), len(whole) - 5, len(whole) - 1):
            refused(whole[:size], "cut off" if size >= len(lines[0]) else "empty" if size == 0 else "no export of paxosctl")
        # A bit of a text, of a line's structure, of the end.
        at = whole.index(b"ops ann 3") + 2
        refused(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:], "checksum")
        refused(b"".join(lines[:3] + lines[4:]), "checksum")
        refused(whole + lines[1], "behind the line that ends the export")
        refused(whole + whole, "behind the line that ends the export")
        refused(b'{"room":"ops","text":"as history prints it"}\n', "no export of paxosctl")
        refused(os.urandom(3000), "no export of paxosctl")
        refused(whole.replace(b'"format":1', b'"format":9'), "format 9")
        self.assertEqual(self.head(target), 0, "nothing was imported")
        self.assertEqual(list(target.folder.glob("*.state")) + list(source.folder.glob("*.state")), [])
        code, _, err = target.ctl("import", target.folder)
        self.assertEqual(code, 1, err)
        self.assertIn("no regular file", err)
        code, _, err = target.ctl("import", target.folder / "none")
        self.assertEqual(code, 1, err)
        self.assertIn("none", err)

    def test_rooms_in_use_are_left_alone_unless_it_is_wanted(self):
        source = self.source(messages=4)
        path = self.export(source, "--room", "ops", "--room", "one")
        target = self.target()
        code, _, err = target.chat("send", "--room", "ops", "--name", "eve", "here already")
        self.assertEqual(code, 0, err)
        code, out, err = target.ctl("import", path)
        self.assertEqual((code, out), (1, ""), err)
        self.assertIn("ops", err)
        self.assertIn("--append", err)
        self.assertEqual(self.head(target), 1)
        code, out, err = target.ctl("import", "--append", path)
        self.assertEqual(code, 0, err)
        self.assertEqual([m["text"] for m in target.history("ops")], ["here already"] + [m["text"] for m in source.history("ops")])
        code, out, err = source.ctl("export", "--room", "opps")
        self.assertEqual((code, out), (1, ""), err)
        self.assertIn("there is no room opps; did you mean ops?", err)

    def test_an_export_that_loses_its_cluster_is_no_whole_one(self):
        source = self.cluster()
        for replica in range(3):
            source.stop(replica)
        code, out, err = source.ctl("export", "--timeout", "1s")
        self.assertEqual((code, out), (3, ""), err)
        target_less = source.folder / "cut.jsonl"
        target_less.write_text('{"export":"paxosd rooms","format":1,"cluster":"a","cluster_id":"b","time_ms":1}\n{"room":"ops"}\n')
        code, _, err = source.ctl("import", target_less)
        self.assertEqual(code, 1, err)
        self.assertIn("cut off", err)
