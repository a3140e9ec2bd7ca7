"""What the programs say to somebody who is new to them: the real cause, where, and what to do next; the exit codes of CLI.md."""
import json
import os
import re
import signal
import subprocess
import tempfile
import unittest

from harness import BIN, ClusterTest, die_with_parent, run, wait_for


def shell(cluster, line, timeout=60):
    """A line of bash with $CTL and $CHAT, in the cluster's folder: for closed descriptors and pipes."""
    done = subprocess.run(["bash", "-c", line], cwd=cluster.folder, capture_output=True, timeout=timeout, preexec_fn=die_with_parent,
                          stdin=subprocess.DEVNULL, env={**os.environ, "CTL": str(BIN / "paxosctl"), "CHAT": str(BIN / "paxoschat")})
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


class Causes(ClusterTest):
    def test_before_birth_status_names_who_is_missing_and_how_to_start_them(self):
        cluster = self.cluster(f=1, start=False)
        cluster.start(0)
        wait_for("it answers", lambda: cluster.status()["replicas"][0]["reachable"])
        code, out, _ = cluster.ctl("status")
        self.assertEqual(code, 3)
        self.assertIn("NOT HEALTHY: the cluster is not born yet", out)
        self.assertIn("replicas 1 and 2 have not been there yet", out)
        self.assertIn("replicas 1 and 2 are not running: nothing listens", out)
        self.assertIn("paxosd --id ID", out)
        self.assertNotIn("--local", out, "there is nothing to read yet")
        status = cluster.status()
        self.assertEqual([r.get("port_closed", False) for r in status["replicas"]], [False, True, True])
        self.assertEqual(status["outage"]["what"], "the cluster is not born yet")
        cluster.start(1)
        wait_for("one is left", lambda: "replica 2 has not been there yet" in cluster.ctl("status")[1])
        code, out, _ = cluster.ctl("doctor")
        self.assertEqual(code, 1)
        self.assertIn("start the replicas that it waits for", out)
        self.assertIn(f"nothing listens on 127.0.0.1:{cluster.base_port + 2}", out)
        cluster.start(2)
        cluster.wait_healthy()

    def test_with_a_wrong_key_both_possible_causes_are_named_and_the_replica_logs_what_did_not_open(self):
        cluster = self.cluster(f=1)
        wrong = cluster.folder / "wrong"
        wrong.mkdir()
        (wrong / "cluster.yaml").write_text(cluster.config.read_text())
        (wrong / "cluster.key").write_text("00" * 32 + "\n")
        os.chmod(wrong / "cluster.key", 0o600)
        code, out, err = run("paxosctl", "status", "--config", wrong / "cluster.yaml")
        self.assertEqual(code, 3, err)
        self.assertNotIn("nothing listens", out, "all of them run")
        for part in ("may be down", "firewall", str(wrong / "cluster.key"), "never answered", "journalctl", "foreign_key",
                     "sha256sum", "paxosctl doctor"):
            self.assertIn(part, out)
        code, out, _ = run("paxosctl", "doctor", "--config", wrong / "cluster.yaml")
        self.assertEqual(code, 3)
        self.assertIn("did not open", out)
        for replica in range(3):
            log = cluster.folder / f"replica{replica}.log"
            wait_for("its log tells", lambda: re.search(r"\d+ datagrams? did not open and got no answer", log.read_text()))
        self.assertTrue(cluster.status()["healthy"])

    def test_a_missing_key_is_named_once_by_its_plain_path(self):
        cluster = self.cluster(f=1, start=False)
        key = cluster.folder / "cluster.key"
        key.unlink()
        code, _, err = shell(cluster, '"$CTL" status')
        self.assertEqual(code, 1)
        self.assertIn(f"{key}: the key file is missing", err)
        code, out, _ = shell(cluster, '"$CTL" doctor')
        self.assertEqual(code, 1)
        self.assertEqual(out.count("the key file is missing"), 1, out)

    def test_replicas_that_do_not_run_are_told_from_silent_ones(self):
        cluster = self.cluster(f=1)
        cluster.kill(1)
        cluster.processes[2].send_signal(signal.SIGSTOP)
        self.addCleanup(cluster.processes[2].send_signal, signal.SIGCONT)
        code, out, _ = cluster.ctl("status")
        self.assertIn("replica 1 is not running: nothing listens on the port", out)
        self.assertIn("systemctl start paxosd@1", out)
        self.assertIn("replica 2 may be down or hang", out)

    def test_a_slot_that_is_chosen_above_a_hole_says_so(self):
        cluster = self.cluster(f=1)
        self.assertEqual(cluster.chat("send", "--room", "ops", "before")[0], 0)
        code, out, err = cluster.ctl("skip", "--next", 1, "--json")
        self.assertEqual(code, 0, err)
        skipped = json.loads(out)
        hole, leader = skipped["skipped"][0], skipped["leader"]
        status = cluster.status()["replicas"][leader]
        self.assertEqual((status["chosen"], status["hole"]), (hole - 1, hole), "the prefix ends below the hole")
        above = [s for s in cluster.log(leader, "--from", hole)]
        self.assertEqual(above[0], {"slot": hole, "kind": "empty", "chosen": False})
        self.assertEqual([s["chosen"] for s in above if s["slot"] <= status["chosen_max"]][1:],
                         [True] * (status["chosen_max"] - hole))
        self.assertGreater(status["chosen_max"], hole)
        code, out, _ = cluster.ctl("status")
        self.assertIn(f"replica {leader} waits for the skipped slot {hole}", out)
        self.assertIn("paxosctl kill leader", out)

    def test_follow_ends_soon_after_its_reader_has_gone(self):
        cluster = self.cluster(f=1)
        self.assertEqual(cluster.chat("send", "--room", "ops", "one")[0], 0)
        words = [str(BIN / "paxoschat"), "follow", "--config", str(cluster.config), "--room", "ops", "--from", "1"]
        for ignored in (False, True):
            def prepare():
                die_with_parent()
                signal.signal(signal.SIGPIPE, signal.SIG_IGN if ignored else signal.SIG_DFL)
            follower = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=prepare)
            self.addCleanup(follower.stderr.close)
            self.addCleanup(follower.kill)
            self.assertIn(b"one", follower.stdout.readline())
            follower.stdout.close()
            # Nothing is sent: only the pipe's end can tell it.
            self.assertEqual(follower.wait(timeout=30), 3 if ignored else -signal.SIGPIPE)
            self.assertEqual(follower.stderr.read(), b"")

    def test_follow_into_a_file_follows(self):
        cluster = self.cluster(f=0)
        self.assertEqual(cluster.chat("send", "--room", "ops", "one")[0], 0)
        code, _, err = shell(cluster, '"$CHAT" follow --room ops --from 1 --count 1 >out.txt')
        self.assertEqual((code, err), (0, ""))
        self.assertIn("one", (cluster.folder / "out.txt").read_text())

    def test_closed_standard_descriptors(self):
        cluster = self.cluster(f=0)
        code, out, err = shell(cluster, '"$CHAT" send --room ops - <&-')
        self.assertEqual((code, out), (1, ""))
        self.assertIn("standard input can't be read", err)
        self.assertEqual(cluster.chat("send", "--room", "ops", "one")[0], 0)
        for verb in ("status", "status --json", "verify", "log 0", "config check"):
            code, _, err = shell(cluster, f'"$CTL" {verb} >&-')
            self.assertEqual(code, 3, f"{verb}: {err}")
            self.assertIn("standard output can't be written", err)
        code, _, err = shell(cluster, '"$CTL" status >/dev/full')
        self.assertEqual(code, 3)
        self.assertIn("No space left", err)
        code, out, err = shell(cluster, '"$CHAT" send --room ops hello 2>&-')
        self.assertEqual((code, err), (0, ""))
        self.assertIn("delivered", out)

    def test_no_table_has_blanks_at_a_line_end(self):
        cluster = self.cluster(f=1)
        self.assertEqual(cluster.chat("send", "--room", "ops", "one")[0], 0)
        cluster.kill(2)
        for words in (("status",), ("verify",), ("log", 0), ("doctor",), ("top", "--once"), ("explain", 2)):
            _, out, err = cluster.ctl(*words)
            bad = [line for line in (out + err).splitlines() if line != line.rstrip()]
            self.assertEqual(bad, [], words)
        for line in cluster.ctl("status")[1].splitlines()[:5]:
            self.assertLessEqual(len(line), 80)


class Usage(unittest.TestCase):
    def wrong(self, *words, says, program="paxosctl", code=2):
        done, out, err = run(program, *words)
        self.assertEqual((done, out), (code, ""), f"{words}: {err}")
        self.assertIn(says, err)
        if code == 2:
            self.assertRegex(err, r"--help", f"{words} says where the flags are told")

    def test_config_generate_tells_wrong_usage_from_a_refusal(self):
        with tempfile.TemporaryDirectory() as folder:
            generate = ("config", "generate", "-o", f"{folder}/cluster.yaml")
            self.wrong(*generate, says="-f F is missing")
            self.wrong(*generate, "-f", 1, "--host", "a", "--host", "b", says="2 hosts for 3 replicas")
            self.wrong(*generate, "-f", 1, "--host", "a b", says="--host 'a b'")
            self.wrong(*generate, "-f", 1, "--host", "a", "--host", "a", "--host", "b", says="given twice")
            self.wrong(*generate, "-f", 1, "--base-port", 65535, says="65535 to 65537")
            self.wrong(*generate, "-f", 1, "--metrics-base-port", 65535, says="65535 to 65537")
            self.wrong(*generate, "-f", 1, "--production", "--loss", "10%", says="exclude each other")
            self.wrong(*generate, "-f", 1, "--loss", 3, says="from 0 to 1")
            self.wrong(*generate, "-f", 1, "--data-root", "", says="--data-root is empty")
            self.wrong("config", "generate", "-f", 1, "-o", f"{folder}/x.key", says="*.key")
            self.assertEqual(os.listdir(folder), [])
            self.wrong("config", "generate", "-f", 1, "-o", f"{folder}/none/x.yaml", says="make its folder first", code=1)
            self.assertEqual(run("paxosctl", *generate, "-f", 0)[:2],
                             (0, f"wrote {folder}/cluster.yaml (1 replica) and {folder}/cluster.key\n"))
            self.wrong(*generate, "-f", 1, says="--force", code=1)
            self.assertIn("1 replica, survives no crash", run("paxosctl", "config", "check", f"{folder}/cluster.yaml")[1])

    def test_wrong_words_are_named(self):
        with tempfile.TemporaryDirectory() as folder:
            file = f"{folder}/cluster.yaml"
            self.assertEqual(run("paxosctl", "config", "generate", "-f", 1, "-o", file)[0], 0)
            here = ("--config", file)
            self.wrong("config", "chekc", says="no `config chekc`")
            self.wrong("status", "now", *here, says="takes no arguments, 'now' is one")
            self.wrong("log", "9", *here, says="'9' is no replica")
            self.wrong("log", "0", "--from", 5, "--to", 2, *here, says="--from 5 is above --to 2")
            self.wrong("rolling-restart", "x", *here, says="'x' is no replica")
            self.wrong("skip", "3", "--next", 2, *here, says="not both")
            self.wrong("pause", "1", *here, says="--for TIME is missing")
            self.wrong("loss", "2", *here, says="from 0 to 1")
            self.wrong("pause", "nobody", "--for", "1s", *here, says="'nobody' is no replica")
            self.wrong(*here, "status", "--json", says="the verb comes first: `paxosctl status --config ...`")
            code, out, err = run("paxosctl", "status", *here, env={"PAXOSCTL_JSON": "maybe"})
            self.assertEqual((code, out), (2, ""))
            self.assertIn("$PAXOSCTL_JSON is 'maybe'; write 1 or 0", err)
            self.wrong("top", "--interval", "1ms", *here, says="100ms to 60s")
            for verb in ("history", "follow"):
                self.wrong(verb, "--room", "ops", "--replica", 7, *here, says="--replica '7' is no replica", program="paxoschat")
            self.wrong("send", "--room", "ops", "--replica", 7, "x", *here, says="--replica '7' is no replica", program="paxoschat")
            for verb in (("send", "x"), ("history",)):
                self.wrong(*verb, "--room", "ops", "--timeout", "0s", *here, says="--timeout 0 would hear no answer", program="paxoschat")
            self.wrong("folow", says="did you mean `follow`", program="paxoschat")

    def test_help_is_where_people_look_for_it(self):
        for program, verb in (("paxosctl", "status"), ("paxosctl", "config"), ("paxoschat", "send")):
            said = run(program, verb, "--help")
            self.assertEqual(said[0], 0)
            self.assertEqual(run(program, "help", verb), said)
            self.assertEqual(run(program, verb, "-h"), said)
            self.assertEqual(run(program, "help"), run(program, "--help"))
            self.assertEqual(run(program, "-h"), run(program, "--help"))
        self.assertEqual(run("paxosctl", "help", "config", "generate"), run("paxosctl", "config", "generate", "--help"))


if __name__ == "__main__":
    unittest.main()
