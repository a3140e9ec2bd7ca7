"""Replicas that hold the key and put what moves a terminal into every word they say: no program lets any of it through."""
import copy
import json
import os
import pathlib
import pty
import subprocess
import unittest

from harness import BIN, ClusterTest, die_with_parent

HOSTILE = pathlib.Path(os.environ.get("PAXOSD_HOSTILE", BIN.parent / "release/tests/blackbox/hostile"))
# Sets the title; clears the screen; C1's own introducer; turns the line round; writes over what stands before.
WORDS = "x\x1b]0;owned\x07\x1b[2J\x9b31m\u202ey\rz"
MARKS = ("\x1b]", "\x07", "\x1b[2J", "\x9b", "\u202e", "y\rz")
# What a replica says only in a bad hour, so that none of those asked here said it.
BAD_HOUR = {
    "reason": WORDS, "version": WORDS, "damage": [{"text": WORDS, "slot": 3}], "unresolved": [{"id": 1, "error": WORDS}],
    "moved": [{"id": 1, "address": WORDS}], "metrics_error": WORDS, "stuck": WORDS, "stuck_advice": WORDS, "kernel": WORDS, "error": WORDS,
}


def strings_in(value, path=()):
    """The paths of all strings in a JSON value."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from strings_in(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from strings_in(inner, (*path, index))


def put(value, path, text):
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = text


def on_a_terminal(command, timeout=60):
    """(what it wrote to a terminal, exit code)"""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
                               preexec_fn=die_with_parent)
    os.close(theirs)
    out = b""
    try:
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            out += part
        return out.decode(errors="replace"), process.wait(timeout=timeout)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@unittest.skipUnless(HOSTILE.exists(), f"there is no {HOSTILE} (build tests/blackbox/hostile)")
class Hostile(ClusterTest):
    def setUp(self):
        # What real replicas say, of a cluster that has a little of everything.
        cluster = self.cluster()
        self.assertEqual(cluster.chat("send", "--room", "ops", "one")[0], 0)
        self.said = [{"status": r} for r in cluster.status()["replicas"]]
        for replica in range(3):
            self.assertEqual(cluster.stop(replica), 0)
        self.config = cluster.config
        self.answers = cluster.folder / "answers.json"
        self.say(self.said)
        ports = [r["address"].rsplit(":", 1)[1] for r in (s["status"] for s in self.said)]
        key = next(cluster.folder.glob("*.key"))
        self.fake = subprocess.Popen([HOSTILE, key, self.answers, *ports], stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        self.addCleanup(lambda: (self.fake.kill(), self.fake.wait(), self.fake.stdout.close()))
        self.assertEqual(self.fake.stdout.readline(), "ready\n")

    def say(self, replicas, pages=False):
        beside = self.answers.with_suffix(".new")
        beside.write_text(json.dumps({"replicas": replicas, "words": WORDS, "pages": pages}))
        beside.replace(self.answers)

    def check(self, what, *command, holds=None):
        out, code = on_a_terminal([BIN / command[0], *command[1:], "--config", self.config])
        for mark in MARKS:
            self.assertNotIn(mark, out, f"{what}: {command}")
        if holds:
            self.assertIn(holds, out, f"{what}: {command}")
        return code

    def operator(self, what, **options):
        self.check(what, "paxosctl", "status", **options)
        self.check(what, "paxosctl", "status", "--json")
        self.check(what, "paxosctl", "top", "--once")
        self.check(what, "paxosctl", "doctor")

    def test_no_field_of_a_status_moves_the_terminal(self):
        self.operator("as they are", holds="replica")
        everywhere = copy.deepcopy(self.said)
        for one in everywhere:
            one["status"].update(BAD_HOUR)
            one["doctor"] = {**BAD_HOUR, **one["status"]}
        self.say(everywhere)
        self.operator("in a bad hour", holds="\\x1b]0;owned\\x07")
        for path in list(strings_in(everywhere[1]["status"])):
            one = copy.deepcopy(everywhere)
            put(one[1]["status"], path, WORDS)
            self.say(one)
            self.check(path, "paxosctl", "status")
        for one in everywhere:
            for path in list(strings_in(one)):
                put(one, path, WORDS)
        self.say(everywhere)
        self.operator("in every field of all")

    def test_no_refusal_moves_the_terminal(self):
        for pages in (False, True):
            self.say(self.said, pages)
            for words in (["kill", "1"], ["skip", "--next", "1"], ["loss", "0"], ["pause", "1", "--for", "1s"], ["isolate", "1", "--for", "1s"],
                          ["log", "1"], ["verify"], ["verify", "--full"], ["explain", "1"], ["rolling-restart"]):
                self.check(pages, "paxosctl", *words)
            self.check(pages, "paxoschat", "history", "--room", "ops", "--timeout", "2s", holds="\\x1b]0;owned\\x07")
            self.check(pages, "paxoschat", "history", "--room", "ops", "--local", "--json", "--timeout", "2s")
            self.check(pages, "paxoschat", "send", "--room", "ops", "--timeout", "2s", "hello")


if __name__ == "__main__":
    unittest.main()
