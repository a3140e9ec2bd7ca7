"""What stands around a replica: whoever takes its log, the service manager that started it, the modes of its files. None of
them may stop it, and it leaves nothing open to others."""
import base64
import fcntl
import hashlib
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import stat
import string
import subprocess
import time
import unittest
import urllib.request

from harness import BIN, ClusterTest, Sender, die_with_parent, run, wait_for

F_SETPIPE_SZ = 1031


class FullPipe:
    """A pipe that nobody reads, until somebody does."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, F_SETPIPE_SZ, 4096)
        os.set_blocking(self.writer, False)
        try:
            while os.write(self.writer, b"x" * 512):
                pass
        except BlockingIOError:
            pass
        os.set_blocking(self.writer, True)
        os.set_blocking(self.reader, False)

    def read(self):
        text = b""
        try:
            while chunk := os.read(self.reader, 65536):
                text += chunk
        except BlockingIOError:
            pass
        return text.decode(errors="replace")

    def close(self):
        for end in (self.reader, self.writer):
            os.close(end)


def start(cluster, replica, stderr, env=None):
    cluster.processes[replica] = subprocess.Popen(
        [str(BIN / "paxosd"), "--config", str(cluster.config), "--id", str(replica)], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=stderr, preexec_fn=die_with_parent, env={**os.environ, **(env or {})})


class Surroundings(ClusterTest):
    def test_a_log_that_nobody_takes_stops_no_replica(self):
        cluster = self.cluster(start=False)
        pipes = [FullPipe() for _ in range(3)]
        for pipe in pipes:
            self.addCleanup(pipe.close)
        for replica, pipe in enumerate(pipes):
            start(cluster, replica, pipe.writer)
        leader = cluster.leader()
        code, _, err = cluster.chat("send", "--room", "ops", "with full pipes")
        self.assertEqual(code, 0, err)

        # Errors are not limited: each of these is a line of some 4 KB.
        good = cluster.config.read_text()
        cluster.config.write_text(good + "log_level: " + "x" * 4000 + "\n")
        victim = cluster.processes[leader]
        deadline = time.monotonic() + 60
        for _ in range(400):
            victim.send_signal(signal.SIGHUP)
            time.sleep(0.002)
            if time.monotonic() > deadline:
                break
        cluster.config.write_text(good)
        lost = wait_for("lines are lost and counted", lambda: cluster.status()["replicas"][leader].get("log_lines_lost"))
        code, _, err = cluster.chat("send", "--room", "ops", "with lines lost")
        self.assertEqual(code, 0, err)
        shown = cluster.status()["replicas"][leader]
        self.assertGreaterEqual(shown["log_stuck_ms"], 1000)
        table = cluster.ctl("status")[1]
        self.assertRegex(table, rf"replica {leader} can't get rid of its log .*{lost} lines are lost")

        # Somebody reads again.
        said = []
        wait_for("the replica says how many lines are lost",
                 lambda: said.append(pipes[leader].read()) or f"{lost} log lines are lost here" in "".join(said))
        wait_for("nothing is stuck any more", lambda: "log_stuck_ms" not in cluster.status()["replicas"][leader])
        self.assertEqual(cluster.status()["replicas"][leader]["log_lines_lost"], lost)
        for pipe in pipes:
            self.assertTrue(os.get_blocking(pipe.writer), "the pipe is shared: its flags are not the replica's to set")

        for replica in range(3):
            if replica != leader:
                self.assertEqual(cluster.stop(replica), 0, "with its pipe full")
        self.assertEqual(cluster.stop(leader), 0)

    def test_a_service_manager_that_hangs_stops_no_replica(self):
        cluster = self.cluster(start=False)
        path = str(cluster.folder / "notify")
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(path)
        manager.setblocking(False)
        filler = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(filler.close)
        filler.setblocking(False)
        try:
            while True:
                filler.sendto(b"full", path)
        except BlockingIOError:
            pass
        for replica in range(3):
            with open(cluster.folder / f"replica{replica}.log", "ab") as log:
                start(cluster, replica, log, {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"})
        cluster.wait_healthy()
        self.assertEqual(cluster.chat("send", "--room", "ops", "nobody hears that we are ready")[0], 0)
        # It goes on: what matters is said then.
        heard = []

        def ready():
            try:
                while True:
                    heard.append(manager.recv(4096))
            except BlockingIOError:
                pass
            return heard.count(b"READY=1") == 3 and any(h.startswith(b"STATUS=") for h in heard) and b"WATCHDOG=1" in heard
        wait_for("the manager hears it all the same", ready)
        for replica in range(3):
            self.assertEqual(cluster.stop(replica), 0)
        wait_for("and of their end", lambda: ready() or heard.count(b"STOPPING=1") == 3)

    def open_to_others(self, folder):
        """The replicas work meanwhile: a file may be gone by the time that it is asked."""
        found = []
        for path in [folder, *folder.rglob("*")]:
            try:
                if stat.S_IMODE(path.lstat().st_mode) & 0o077 and not path.is_symlink():
                    found.append(str(path))
            except FileNotFoundError:
                pass
        return found

    def test_what_a_replica_writes_is_for_its_own_user_alone(self):
        before = os.umask(0o022)
        self.addCleanup(os.umask, before)
        cluster = self.cluster()
        self.assertEqual(cluster.chat("send", "--room", "ops", "private")[0], 0)
        data = cluster.folder / "data"
        self.assertEqual(self.open_to_others(data), [])
        # One that an older version made, and a umask of nothing at all.
        cluster.stop(0)
        for path in [data / "0", *(data / "0").rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        os.umask(0)
        cluster.start(0)
        cluster.wait_healthy()
        wait_for("it says that it closed them", lambda: "they are this user's alone now" in (cluster.folder / "replica0.log").read_text())
        self.assertEqual(self.open_to_others(data / "0"), [])

    def test_a_data_directory_may_be_a_link_and_one_to_nowhere_is_named(self):
        cluster = self.cluster(start=False)
        (cluster.folder / "data").mkdir()
        elsewhere = cluster.folder / "elsewhere"
        for replica in range(3):
            (elsewhere / str(replica)).mkdir(parents=True)
            (cluster.folder / "data" / str(replica)).symlink_to(elsewhere / str(replica))
            cluster.start(replica)
        cluster.wait_healthy()
        self.assertTrue((elsewhere / "2" / "log" / "CURRENT").exists())
        self.assertEqual(self.open_to_others(elsewhere / "2"), [])
        cluster.stop(2)
        shutil.move(elsewhere / "2", cluster.folder / "away")
        code, _, err = run("paxosd", "--config", cluster.config, "--id", 2)
        self.assertEqual(code, 1)
        self.assertIn(f"{cluster.folder}/data/2 is a link to {elsewhere}/2, which is not there", err)

    def test_data_that_lies_elsewhere_than_the_config_says_is_told(self):
        cluster = self.cluster()
        cluster.stop(0)
        process = subprocess.Popen([str(BIN / "paxosd"), "--config", str(cluster.config), "--id", "0", "--data-dir",
                                    str(cluster.folder / "var")], stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        cluster.processes[0] = process
        os.set_blocking(process.stderr.fileno(), False)
        said = []
        wait_for("it says where its data lies, and what it may mean",
                 lambda: said.append((process.stderr.read() or b"").decode()) or "run by hand before" in "".join(said))
        self.assertIn(f"the data lies in {cluster.folder}/var (--data-dir); the config's data_dir, {cluster.folder}/data/0, is not used",
                      "".join(said))
        self.assertIn("There is a replica's data in there", "".join(said))
        cluster.stop(0)
        process.stderr.close()

    @unittest.skipIf(os.geteuid() != 0, "changing owners needs root")
    def test_files_of_another_user_are_named_with_what_to_do(self):
        cluster = self.cluster()
        folder = cluster.folder / "data" / "0"
        cluster.stop(0)
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, 65534, 65534)
        code, _, err = run("paxosd", "--config", cluster.config, "--id", 0)
        self.assertEqual(code, 1)
        self.assertRegex(err, f"{folder} belongs to nobody, and this runs as root: it would leave files")
        self.assertIn("runuser -u nobody", err)
        # The other way round: started once as root, some of the files are root's.
        os.chown(folder / "log" / "CURRENT", 0, 0)
        for path in [cluster.folder, cluster.folder / "data"]:
            path.chmod(0o755)
        cluster.config.chmod(0o644)
        os.chown(cluster.config.with_suffix(".key"), 65534, 65534)
        done = subprocess.run([str(BIN / "paxosd"), "--config", str(cluster.config), "--id", "0"], capture_output=True, text=True,
                              timeout=60, user=65534, group=65534, extra_groups=[])
        if "Permission denied" in done.stderr and "CURRENT" not in done.stderr:
            self.skipTest("that user may not even look at the programs here")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, rf"{folder}/log/CURRENT belongs to root \(mode 0600\), and this runs as nobody: .*"
                                      rf"as root: chown -R nobody: {folder}")

    @unittest.skipIf(os.geteuid() != 0, "sudo makes a root of somebody")
    def test_whoever_used_sudo_is_a_person_all_the_same(self):
        cluster = self.cluster()
        names = []
        for env, words in (({"SUDO_USER": "ann"}, ()), ({"SUDO_USER": "", "DOAS_USER": "bob"}, ()), ({}, ("--name", "root")), ({}, ())):
            code, out, err = cluster.chat("send", "--room", "ops", "--json", *words, "hello",
                                          env={"SUDO_USER": "", "DOAS_USER": "", "LOGNAME": "root", "USER": "root", **env})
            self.assertEqual(code, 0, err)
            names.append(json.loads(out)["name"])
        self.assertEqual(names[:3], ["ann", "bob", "root"])
        self.assertNotEqual(names[3], "root", "nobody asked for it")


def dumpable(pid):
    """All memory of a process that a core dump of it would hold."""
    out = []
    with open(f"/proc/{pid}/smaps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        region = None
        for line in maps:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                region = [int(n, 16) for n in line.split()[0].split("-")] if " r" in line[:40] else None
            elif line.startswith("VmFlags:") and region and "dd" not in line.split() and "io" not in line.split():
                try:
                    memory.seek(region[0])
                    out.append(memory.read(region[1] - region[0]))
                except (OSError, ValueError):
                    pass  # the kernel's own pages
    return out


class Secrets(ClusterTest):
    def forms(self, cluster, replica):
        """The cluster's key as it may stand in memory, and the key that a replica seals with in this life."""
        text = cluster.config.with_suffix(".key").read_text().strip()
        key = bytes.fromhex(text)
        shown = cluster.status()["replicas"][replica]
        life = bytes([replica]) + bytes.fromhex(shown["incarnation"]) + shown["boot"].to_bytes(8, "little")
        subkey = hashlib.blake2b(b"paxosd datagram key 1" + life, key=key, digest_size=32).digest()
        return {"the key": key, "its digits": text.encode(), "its digits in capitals": text.upper().encode(),
                "its base64": base64.b64encode(key)[:40], "a subkey": subkey}

    def assert_hides(self, forms, chunks, where):
        for name, form in forms.items():
            self.assertFalse(any(form in chunk for chunk in chunks), f"{name} stands in {where}")

    def test_no_core_dump_holds_a_key(self):
        cluster = self.cluster()
        self.assertEqual(cluster.chat("send", "--room", "ops", "known words in the log")[0], 0)
        leader = cluster.leader()
        forms = self.forms(cluster, leader)
        for replica, process in cluster.processes.items():
            chunks = dumpable(process.pid)
            self.assertGreater(sum(map(len, chunks)), 4 << 20, "its memory can be looked at")
            self.assertTrue(any(b"known words in the log" in chunk for chunk in chunks), "and holds what it works with")
            self.assert_hides(forms, chunks, f"the dumpable memory of replica {replica}")
        follower = subprocess.Popen([str(BIN / "paxoschat"), "follow", "--config", str(cluster.config), "--room", "ops", "--from", "1"],
                                    stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        self.addCleanup(follower.wait)
        self.addCleanup(follower.kill)
        self.addCleanup(follower.stdout.close)
        self.assertIn(b"known words", follower.stdout.readline())
        self.assert_hides(forms, dumpable(follower.pid), "the dumpable memory of a client")

    def test_a_real_core_dump_of_a_crash_holds_no_key(self):
        pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
        if "/" in pattern or pattern.startswith("|"):
            self.skipTest(f"core dumps go to {pattern} here")
        cluster = self.cluster(start=False)
        for replica in range(3):
            where = cluster.folder / f"cwd{replica}"
            where.mkdir()
            with open(cluster.folder / f"replica{replica}.log", "ab") as log:
                cluster.processes[replica] = subprocess.Popen(
                    [str(BIN / "paxosd"), "--config", str(cluster.config), "--id", str(replica)], stdin=subprocess.DEVNULL, stdout=log,
                    stderr=log, cwd=where, preexec_fn=lambda: (die_with_parent(), resource.setrlimit(resource.RLIMIT_CORE, (-1, -1))))
        cluster.wait_healthy()
        self.assertEqual(cluster.chat("send", "--room", "ops", "before the crash")[0], 0)
        forms = self.forms(cluster, 1)
        victim = cluster.processes.pop(1)
        victim.send_signal(signal.SIGABRT)
        self.assertEqual(victim.wait(timeout=60), -signal.SIGABRT)
        cores = list((cluster.folder / "cwd1").glob("core*"))
        if not cores:
            self.skipTest("no core dump was written here")
        core = cores[0].read_bytes()
        self.assertIn(b"before the crash", core)
        self.assert_hides(forms, [core], "the core dump")
        self.assertTrue(list((cluster.folder / "data" / "1" / "crash").glob("flight-*.bin")), "the flight recorder is there, too")


class Damaged(ClusterTest):
    """Bits that flip in files of a replica that runs."""

    def noisy(self, seed):
        return "".join(random.Random(seed).choices(string.ascii_letters + string.digits, k=3000))

    def flip(self, folder, text):
        """In every table or blob file where it stands; how often."""
        count = 0
        for table in [*folder.glob("*.sst"), *folder.glob("*.blob")]:
            data = table.read_bytes()
            at = data.find(text)
            while at >= 0:
                with open(table, "r+b", 0) as file:
                    file.seek(at + len(text) // 2)
                    file.write(bytes([data[at + len(text) // 2] ^ 4]))
                count += 1
                at = data.find(text, at + 1)
        return count

    def full(self, cluster, replica):
        code, verdict, err = cluster.verify("--full")
        return code, next(r for r in verdict["replicas"] if r["id"] == replica).get("damage", ""), err

    def lines_of(self, cluster, replica, words):
        return [line for line in (cluster.folder / f"replica{replica}.log").read_text().splitlines() if words in line]

    def settled(self):
        """A healthy cluster with some messages, of which a follower was restarted, so that all it has lies in tables: its id."""
        cluster = self.cluster(metrics=True)
        for i in range(12):
            self.assertEqual(cluster.chat("send", "--room", "ops", self.noisy(i))[0], 0)
        follower = (cluster.leader() + 1) % 3
        cluster.wait_all_applied()
        cluster.stop(follower)
        cluster.start(follower)
        cluster.wait_all_applied()
        self.assertEqual(self.full(cluster, follower)[:2], (0, ""))
        return cluster, follower

    def one(self, cluster, replica):
        return cluster.status()["replicas"][replica]

    def local(self, cluster, replica, timeout="5s"):
        """The texts that this replica itself has; None: it does not give them."""
        code, out, _ = cluster.chat("history", "--room", "ops", "--replica", replica, "--local", "--json", "--timeout", timeout)
        return [json.loads(line)["text"] for line in out.splitlines()] if code == 0 else None

    def data(self, cluster, replica):
        return cluster.folder / "data" / str(replica)

    def test_an_old_record_is_told_once_and_trimmed_and_the_replica_goes_on_voting(self):
        cluster, victim = self.settled()
        self.assertGreaterEqual(self.flip(self.data(cluster, victim) / "log", self.noisy(5)[1500:1530].encode()), 1)
        code, damage, err = self.full(cluster, victim)
        self.assertEqual(code, 1)
        self.assertIn("Corruption", damage)
        self.assertIn("the replicas agree, but records on a disk are damaged", err)
        shown = wait_for("the log begins behind it", lambda: [r for r in [self.one(cluster, victim)] if r.get("repaired") and not r.get("damage")])[0]
        self.assertTrue(shown["voting"], shown)
        self.assertEqual([d["store"] for d in shown["repaired"]], ["log"])
        self.assertGreater(shown["first_slot"], int(re.search(r"slot (\d+)", shown["repaired"][0]["text"])[1]))
        self.assertGreaterEqual(shown["damaged_reads"], 1)
        self.assertNotIn("damage", cluster.ctl("status")[1])
        told = self.lines_of(cluster, victim, "Corruption")
        self.assertEqual(len(told), 1, told)
        self.assertIn("goes on voting", told[0])
        self.assertEqual(len(self.lines_of(cluster, victim, "what did not read is trimmed")), 1)
        with urllib.request.urlopen(f"http://127.0.0.1:{cluster.metrics_port + victim}/metrics", timeout=30) as answer:
            self.assertRegex(answer.read().decode(), r'paxosd_damaged_reads_total\{[^}]*db="log"\} [1-9]')
        self.assertEqual(self.full(cluster, victim)[:2], (0, ""), "all that is left reads")
        # Its vote counts: with it, and without one of the others.
        cluster.kill(next(r for r in range(3) if r != victim and r != cluster.leader()))
        self.assertEqual(cluster.chat("send", "--room", "ops", "after")[0], 0)
        # And a start has nothing to say.
        cluster.stop(victim)
        cluster.start(victim)
        wait_for("it votes again", lambda: self.one(cluster, victim).get("voting"))
        self.assertEqual(self.local(cluster, victim), [self.noisy(i) for i in range(12)] + ["after"])

    def test_a_damaged_row_of_the_state_is_refused_and_the_state_made_again(self):
        cluster, victim = self.settled()
        pid = cluster.processes[victim].pid
        away = next(r for r in range(3) if r != victim and r != cluster.leader())
        cluster.kill(away)  # without whom nobody can do without the victim
        wait_for("the victim does not hear it", lambda: away not in self.one(cluster, victim)["connected"])
        self.assertGreaterEqual(self.flip(self.data(cluster, victim) / "state", self.noisy(5)[1500:1530].encode()), 1)
        for _ in range(3):
            code, out, err = cluster.chat("history", "--room", "ops", "--replica", victim, "--local", "--timeout", "2s")
            self.assertNotEqual(code, 0)
            self.assertIn("a record on its disk is damaged", err)
        shown = self.one(cluster, victim)
        self.assertTrue(shown["voting"], shown)
        self.assertEqual([d["store"] for d in shown["damage"]], ["state"])
        self.assertEqual(len(self.lines_of(cluster, victim, "Corruption")), 1)
        wait_for("it says why it waits", lambda: self.lines_of(cluster, victim, "not made again yet: not all voters are there"))
        self.assertEqual(len(cluster.history("ops")), 12, "another replica has all of it")
        self.assertEqual(cluster.chat("send", "--room", "ops", "after")[0], 0)
        cluster.start(away)
        wait_for("it is made again", lambda: self.lines_of(cluster, victim, "its state is whole again"))
        self.assertEqual(len(self.lines_of(cluster, victim, "put aside as state-damaged, and made again from the log")), 1)
        wait_for("all of it is there", lambda: self.local(cluster, victim) == [self.noisy(i) for i in range(12)] + ["after"])
        self.assertEqual(cluster.processes[victim].pid, pid, "the same process")
        wait_for("what was put aside is gone", lambda: not (self.data(cluster, victim) / "state-damaged").exists())
        cluster.wait_all_applied()
        self.assertEqual(self.full(cluster, victim)[:2], (0, ""))
        self.assertNotIn("damage", self.one(cluster, victim))

    def test_a_state_that_does_not_open_is_made_again_by_the_start(self):
        cluster, victim = self.settled()
        for what in ("cut", "gone"):
            with self.subTest(what):
                cluster.stop(victim)
                table = max((self.data(cluster, victim) / "state").glob("*.sst"), key=lambda t: t.stat().st_size)
                if what == "cut":
                    os.truncate(table, table.stat().st_size // 2)
                else:
                    table.unlink()
                cluster.start(victim)
                wait_for("it votes again", lambda: self.one(cluster, victim).get("voting"))
                wait_for("all of it is there", lambda: self.local(cluster, victim) == [self.noisy(i) for i in range(12)])
                wait_for("what was put aside is gone", lambda: not (self.data(cluster, victim) / "state-damaged").exists())
        cluster.wait_all_applied()
        self.assertEqual(self.full(cluster, victim)[:2], (0, ""))

    def test_a_state_whose_log_was_trimmed_comes_from_another_replica(self):
        cluster, victim = self.settled()
        # Each record that does not read has the log begin behind it: here behind all of them.
        for i in range(12):
            self.flip(self.data(cluster, victim) / "log", self.noisy(i)[1500:1530].encode())
        wait_for("the log is trimmed", lambda: self.full(cluster, victim)[0] == 0)
        self.assertGreater(self.one(cluster, victim)["first_slot"], 12)
        self.assertGreaterEqual(self.flip(self.data(cluster, victim) / "state", self.noisy(7)[1500:1530].encode()), 1)
        self.local(cluster, victim)  # may be answered by the new state already
        wait_for("a snapshot is in place", lambda: self.lines_of(cluster, victim, "takes the place of this replica's state"))
        wait_for("all of it is there", lambda: self.local(cluster, victim) == [self.noisy(i) for i in range(12)])
        wait_for("what was put aside is gone", lambda: not (self.data(cluster, victim) / "state-damaged").exists())
        cluster.wait_all_applied()
        self.assertEqual(self.full(cluster, victim)[:2], (0, ""))
        self.assertEqual(cluster.chat("send", "--room", "ops", "after")[0], 0)

    def test_all_of_the_disk_is_read_once_a_week(self):
        cluster, victim = self.settled()
        self.assertFalse((self.data(cluster, victim) / "scrubbed").exists())
        cluster.stop(victim)
        self.flip(self.data(cluster, victim) / "log", self.noisy(3)[1500:1530].encode())
        (self.data(cluster, victim) / "scrubbed").touch()
        eight_days_ago = time.time() - 8 * 24 * 3600
        os.utime(self.data(cluster, victim) / "scrubbed", (eight_days_ago, eight_days_ago))
        cluster.start(victim)
        wait_for("it is found, and trimmed", lambda: self.one(cluster, victim).get("repaired"))
        wait_for("it has read all", lambda: self.lines_of(cluster, victim, "has read all of its disk"))
        wait_for("the time is noted", lambda: (self.data(cluster, victim) / "scrubbed").stat().st_mtime > eight_days_ago + 1)
        self.assertEqual(self.full(cluster, victim)[:2], (0, ""))
        # The next start does not read it again.
        cluster.stop(victim)
        cluster.start(victim)
        wait_for("it votes again", lambda: self.one(cluster, victim).get("voting"))
        self.assertEqual(cluster.chat("send", "--room", "ops", "after")[0], 0)
        self.assertEqual(len(self.lines_of(cluster, victim, "reads all of its disk, to see")), 1)

    def test_a_damaged_vote_takes_the_replica_out_of_the_votes(self):
        cluster = self.cluster()
        state = cluster.folder / "state"  # an open session: nobody gets one above the hole
        self.assertEqual(cluster.chat("send", "--room", "ops", "--state", state, "first")[0], 0)
        leader = cluster.leader()
        victim = (leader + 1) % 3
        cluster.ctl_done("skip", "--next", 1)
        # Voted for, and chosen, but above a hole: nobody may take it for known until the hole is filled.
        waiting = Sender(cluster, "ops", [self.noisy(1)], "--state", state, "--timeout", "120s")
        wait_for("the vote stands above the hole", lambda: all(
            r["accepted"] > r["chosen"] + 2 for r in cluster.status()["replicas"]))
        cluster.stop(victim)
        cluster.start(victim)
        wait_for("it votes again", lambda: cluster.status()["replicas"][victim].get("voting"))
        self.assertGreaterEqual(self.flip(cluster.folder / "data" / str(victim) / "log", self.noisy(1)[1500:1530].encode()), 1)
        cluster.ctl("verify", "--full")
        shown = wait_for("it votes no more", lambda: [r for r in [cluster.status()["replicas"][victim]]
                                                      if r["reachable"] and not r["voting"]])[0]
        self.assertIn("what it promised or voted for is damaged on its disk", shown["reason"])
        self.assertEqual(len(self.lines_of(cluster, victim, "it votes no more")), 1)
        # The others fill the hole; what was acknowledged stands.
        cluster.kill(leader)
        cluster.start(leader)
        code, receipts, err = waiting.finish()
        self.assertEqual(code, 0, err)
        self.assertEqual(receipts[0]["text"], self.noisy(1))
        # A start looks at the same record, and refuses.
        cluster.stop(victim)
        code, _, err = run("paxosd", "--config", cluster.config, "--id", victim)
        self.assertEqual(code, 1)
        self.assertIn("keep this replica down", err)


if __name__ == "__main__":
    unittest.main()
