"""`paxosd rescue DIR ...`: the last resort. What is left after a majority has lost its disks becomes a new cluster, and what may be
missing is named; nothing is made unless that is accepted, and what it is made of stays as it is."""
import json
import pathlib
import re
import shutil
import signal
import subprocess

from harness import BIN, Cluster, ClusterTest, Sender, die_with_parent, run, wait_for
from test_inspect import tree


class Rescued(Cluster):
    """A cluster that `paxosd rescue` made."""

    def __init__(self, directories, *arguments, f=1):
        self.place(f)
        self.code, out, self.err = run("paxosd", "rescue", *directories, "--accept-data-loss", "-o", self.config, "--base-port",
                                       self.base_port, "--json", *arguments)
        self.report = json.loads(out) if out else None


class Load:
    """One paxoschat that sends without end; nobody has to read its receipts."""

    def __init__(self, cluster, room):
        lines = cluster.folder / f"lines-{room}"
        lines.write_text("".join(f"{room} {n}\n" for n in range(200_000)))
        self.receipts = cluster.folder / f"receipts-{room}"
        with open(lines) as text, open(self.receipts, "w") as out:
            self.process = subprocess.Popen([str(BIN / "paxoschat"), "send", "--config", str(cluster.config), "--room", room, "--json", "-"],
                                            stdin=text, stdout=out, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)

    def acknowledged(self):
        return [json.loads(line) for line in self.receipts.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def end(self):
        self.process.kill()
        self.process.wait()
        return self.acknowledged()


def rooms_of(report):
    return {room["name"]: (room["unsure"], room["missing"]) for room in report["rooms"]}


class Rescue(ClusterTest):
    def rescued(self, directories, *arguments, f=1):
        cluster = Rescued(directories, *arguments, f=f)
        self.addCleanup(self._finish, cluster)
        self.assertEqual(cluster.code, 0, cluster.err)
        self.assertEqual(cluster.err, "")
        return cluster

    def started(self, cluster):
        """Patient: on a busy machine nobody else leads meanwhile, and fills holes."""
        text = re.sub(r"(?m)^(heartbeat_ms|election_timeout_ms):.*\n", "", cluster.config.read_text())
        cluster.config.write_text(text + "heartbeat_ms: 200\nelection_timeout_ms: 2000\n")
        for replica in range(cluster.replicas):
            cluster.start(replica)
        cluster.wait_healthy()
        return cluster

    def told(self, *arguments, code=1):
        """Without --accept-data-loss: nothing is made."""
        got, out, err = run("paxosd", "rescue", *arguments)
        self.assertEqual(got, code, out + err)
        return out, err

    def load(self, cluster, room):
        load = Load(cluster, room)
        self.addCleanup(load.end)
        return load

    def kill_all(self, cluster):
        """At once, so that nobody leads the rest."""
        for process in cluster.processes.values():
            process.send_signal(signal.SIGKILL)
        for replica in list(cluster.processes):
            cluster.kill(replica)

    def born(self):
        cluster = self.cluster(start=False)
        self.started(cluster)
        wait_for("the rules are raised", lambda: all(r.get("rules", 0) >= 2 for r in cluster.status()["replicas"]))
        return cluster

    def post(self, cluster, room, count):
        code, out, err = cluster.chat("send", "--room", room, "--name", "ann", "--json", "-", text="".join(f"{room} {n}\n" for n in range(count)))
        self.assertEqual(code, 0, err)
        return [json.loads(line) for line in out.splitlines()]

    def stands(self, history, receipts):
        """Each of them once, where its receipt says."""
        places = {(m["session"], m["client_seq"]): m for m in history}
        self.assertEqual(len(places), len(history), "a message stands twice")
        self.assertEqual([m["seq"] for m in history], list(range(1, len(history) + 1)))
        for receipt in receipts:
            found = places.get((receipt["session"], receipt["client_seq"]))
            self.assertIsNotNone(found, receipt)
            self.assertEqual((found["seq"], found["slot"], found["index"], found["text"]),
                             (receipt["seq"], receipt["slot"], receipt["index"], receipt["text"]))

    def test_one_directory_that_a_power_cut_under_load_left_becomes_a_cluster(self):
        cluster = self.born()
        receipts = {"ops": self.post(cluster, "ops", 300)}
        self.assertEqual(cluster.chat("send", "--room", "dev", "--key", "once", "a keyed one")[0], 0)
        self.assertEqual(cluster.ctl("redact", "ops", 7, "--reason", "a secret", "--name", "dora")[0], 0)
        loads = {room: self.load(cluster, room) for room in ("a", "b", "c")}
        wait_for("there is load", lambda: all(len(load.acknowledged()) > 300 for load in loads.values()))
        self.kill_all(cluster)
        for room, load in loads.items():
            receipts[room] = load.end()
        left = cluster.folder / "data" / "2"
        for lost in ("0", "1"):
            shutil.rmtree(cluster.folder / "data" / lost)
        before = tree(left)

        # What it would do, first for people and then for programs.
        target = cluster.folder / "new" / "cluster.yaml"
        target.parent.mkdir()
        out, err = self.told(left, "-o", target)
        self.assertIn(f"{left}: replica 2, state at slot ", out)
        self.assertIn("Nobody can tell from here: what the lost replicas chose above slot", out)
        self.assertIn("with --accept-data-loss it is made. Nothing was made", err)
        out, err = self.told(left, "-o", target, "--json")
        plan = json.loads(out)
        self.assertFalse(plan["done"])
        self.assertEqual(list(target.parent.iterdir()), [])

        other = self.rescued([left])
        self.assertEqual(tree(left), before, "what it was made of was written to")
        report = other.report
        self.assertEqual({k: v for k, v in report.items() if k in plan and k != "done"}, {k: v for k, v in plan.items() if k != "done"})
        self.assertEqual((report["done"], report["majority"]), (True, False))
        self.assertEqual((report["best"], report["from_cluster_id"]), (str(left), self.id_of(cluster)))
        self.assertNotEqual(report["cluster_id"], report["from_cluster_id"])
        self.assertNotEqual((other.folder / "cluster.key").read_text(), (cluster.folder / "cluster.key").read_text())
        self.assertEqual((other.folder / "cluster.key").stat().st_mode & 0o777, 0o600)
        self.assertEqual(len(report["replicas"]), 3)
        self.assertEqual(sorted(p.name for p in (other.folder / "data").iterdir()), ["0", "1", "2"])
        self.assertGreaterEqual(report["slot"], report["chosen"])
        self.assertEqual(report["holes"], [])

        self.started(other)
        status = other.status()
        self.assertEqual([r["first_slot"] for r in status["replicas"]], [report["slot"] + 1] * 3)
        code, verdict, err = other.verify()
        self.assertEqual(code, 0, err)
        known, histories = 0, {}
        for room, all_of in receipts.items():
            # Acknowledged by a quorum without this replica, and not heard of by it: nobody can know.
            could = [r for r in all_of if r["slot"] <= report["slot"]]
            known += len(could)
            histories[room] = other.history(room, "--timeout", "60s")
            if room != "ops":
                self.stands(histories[room], could)
        self.assertGreater(known, 1000)
        ops = histories["ops"]
        self.assertEqual([m["seq"] for m in ops], list(range(1, 301)))
        self.assertEqual((ops[6]["text"], ops[6]["redacted"]["by"]), ("", "dora"))
        # Each message in a slot that is in doubt is counted.
        unsure = {room["name"]: room["unsure"] for room in report["rooms"]}
        doubtful = {u["slot"] for u in report["unsure"]}
        for room in loads:
            self.assertEqual(sum(m["slot"] in doubtful for m in histories[room]), unsure.get(room, 0), report)
        # It goes on as any other: keys of messages, new ones, a leader that dies.
        code, out, err = other.chat("send", "--room", "dev", "--key", "once", "--json", "a keyed one")
        self.assertEqual((code, json.loads(out)["seq"]), (0, 1), err)
        other.kill(other.leader())
        code, out, err = other.chat("send", "--room", "ops", "--json", "after", timeout=120)
        self.assertEqual((code, json.loads(out)["seq"]), (0, 301), err)
        self.assert_consistent(other)

    def id_of(self, cluster):
        return next(line.split()[1] for line in cluster.config.read_text().splitlines() if line.startswith("id:"))

    def test_skipped_slots_are_holes_and_what_stands_above_is_kept(self):
        cluster = self.born()
        self.post(cluster, "ops", 5)
        code, out, err = cluster.ctl("skip", "--next", 2, "--json")
        self.assertEqual(code, 0, err)
        # Chosen above the holes, and never applied.
        sender = Sender(cluster, "late", ["one"])
        leader = cluster.leader()

        def voted():
            return all(r["accepted"] > r["chosen"] + 3 for r in cluster.status()["replicas"] if r["reachable"])
        wait_for("it stands above the holes everywhere", voted)
        self.kill_all(cluster)
        sender.process.kill()
        sender.finish()
        survivor = next(i for i in range(3) if i != leader)
        directory = cluster.folder / "data" / str(survivor)
        other = self.rescued([directory])
        holes = other.report["holes"]
        self.assertEqual([h["last_slot"] - h["first_slot"] for h in holes], [1], holes)
        self.assertFalse(holes[0]["chosen"])
        self.assertGreater(other.report["slot"], holes[0]["last_slot"])
        out, _ = self.told(directory, "-o", other.folder / "another.yaml")
        self.assertIn(f"slots {holes[0]['first_slot']} to {holes[0]['last_slot']}", out)
        self.started(other)
        log = {row["slot"]: row for row in other.log(0, "--from", holes[0]["first_slot"])}
        self.assertEqual(self.post(other, "ops", 1)[0]["seq"], 6, log)
        self.assert_consistent(other)

    def test_the_last_quorum_together_has_all_that_was_acknowledged_and_votes_that_one_alone_has(self):
        cluster = self.born()
        state = cluster.folder / "session"
        self.assertEqual(cluster.chat("send", "--room", "ops", "--state", state, "first")[0], 0)
        leader = cluster.leader()
        gone = next(i for i in range(3) if i != leader)
        cluster.kill(gone)
        load = self.load(cluster, "load")
        wait_for("there is load", lambda: len(load.acknowledged()) > 2000)
        leader = cluster.leader()
        follower = next(i for i in cluster.processes if i != leader)

        # What the leader votes for now nobody else hears. All that the load has sent may have come to both before
        # that, and it sends no more without receipts: so there is one more sender, which has its session and says
        # something now. The leader leads for an election timeout more.
        alone = subprocess.Popen([str(BIN / "paxoschat"), "send", "--config", str(cluster.config), "--room", "load", "--json", "-"], text=True,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        self.addCleanup(alone.wait)
        self.addCleanup(alone.kill)
        print("before", file=alone.stdin, flush=True)
        before = json.loads(alone.stdout.readline())["slot"]
        cluster.processes[follower].send_signal(signal.SIGSTOP)
        print("alone", file=alone.stdin, flush=True)

        def voted():
            code, out, _ = cluster.ctl("log", leader, "--json", "--from", before)
            return code == 0 and '"text":"alone"' in out
        wait_for("the leader has voted alone, and has that on its disk", voted)
        self.kill_all(cluster)
        receipts = load.end()
        directories = [str(cluster.folder / "data" / str(i)) for i in (follower, leader)]

        both = self.rescued(directories)
        report = both.report
        last = {d["directory"]: d["last_slot"] for d in report["directories"]}
        self.assertGreater(last[directories[1]], last[directories[0]])
        self.assertEqual(report["slot"], last[directories[1]])
        self.assertEqual((report["holes"], report["left_out"], report["majority"]), ([], [], True))
        most = max(d["chosen"] for d in report["directories"])
        self.assertEqual([d["chosen"] for d in report["directories"] if d["best"]], [most])
        alone = [u for u in report["unsure"] if u["slot"] > last[directories[0]]]
        self.assertEqual([u["slot"] for u in alone], list(range(last[directories[0]] + 1, report["slot"] + 1)))
        self.assertEqual({tuple(u["directories"]) for u in alone}, {(directories[1],)})
        self.started(both)
        history = both.history("load", "--timeout", "60s")
        self.stands(history, receipts)
        doubtful = {u["slot"] for u in report["unsure"]}
        self.assertEqual(rooms_of(report), {"load": (sum(m["slot"] in doubtful for m in history), 0)})
        out, _ = self.told(*directories, "-o", both.folder / "another.yaml")
        self.assertIn("\n    the best: ", out)
        self.assertIn("\nTHESE ARE A MAJORITY of the replicas.", out)
        self.assertIn("\nRooms in doubt:\n  load: ", out)
        # One of them has the acknowledged ones too, since it was in the quorum; into a cluster of another size.
        one = self.rescued(directories[:1], "-f", "0", f=0)
        self.assertEqual((len(one.report["replicas"]), one.report["slot"]), (1, last[directories[0]]))
        self.started(one)
        self.stands(one.history("load", "--timeout", "60s"), receipts)
        # A client's outbox is the old cluster's.
        code, _, err = both.chat("send", "--room", "ops", "--state", state, "x")
        self.assertEqual(code, 1, err)
        self.assertIn("cluster", err)

    def test_what_is_refused(self):
        cluster = self.born()
        self.post(cluster, "ops", 300)
        folder = cluster.folder / "new"
        folder.mkdir()
        config = folder / "cluster.yaml"
        data = [cluster.folder / "data" / str(i) for i in range(3)]
        yes = ("--accept-data-loss", "-o", config)

        def refused(sentence, *arguments, code=1):
            out, err = self.told(*arguments, code=code)
            self.assertEqual(out, "")
            self.assertIn(sentence, err)
            self.assertEqual(sorted(p.name for p in folder.rglob("*")), kept)
        kept = []
        refused(f"{data[1]}: is in use by a running replica, pid {cluster.processes[1].pid}", data[1], *yes)
        self.assertTrue(cluster.status()["healthy"])
        # Twice: a start makes tables of what it finds.
        for last in (False, True):
            cluster.wait_all_applied()
            for replica in range(3):
                self.assertEqual(cluster.stop(replica), 0)
            for replica in (() if last else range(3)):
                cluster.start(replica)
        refused("give DIR, the data_dir of a replica that is left", *yes, code=2)
        refused("is given twice", data[0], f"{data[0]}/", *yes, code=2)
        refused("there is no such folder", folder / "none", *yes)
        empty = cluster.folder / "empty"
        empty.mkdir()
        refused("there is no replica's data in it", empty, *yes)
        refused("there is no replica's data in it", data[0], empty, *yes)
        self.assertEqual(list(empty.iterdir()), [])
        kept = ["cluster.yaml"]
        config.write_text("mine\n")
        refused("cluster.yaml: is there already: move it away, or give another -o", data[0], *yes)
        self.assertEqual(config.read_text(), "mine\n")
        config.unlink()
        kept = ["1", "data", "kept"]
        (folder / "data" / "1").mkdir(parents=True)
        (folder / "data" / "1" / "kept").write_text("mine\n")
        refused("data/1: is there already, and not empty", data[0], *yes)
        shutil.rmtree(folder / "data")
        kept = []
        # The old directories themselves are never the new ones.
        refused("data/0: is there already, and not empty", data[0], *yes, "--data-root", cluster.folder / "data")

        def damaged(part, pattern):
            copy = pathlib.Path(cluster.folder / f"damaged-{part}")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(data[0], copy)
            file = max((copy / part).glob(pattern), key=lambda f: f.stat().st_size)
            bytes_ = bytearray(file.read_bytes())
            bytes_[20] ^= 4
            file.write_bytes(bytes_)
            return copy, file.name
        copy, name = damaged("state", "*.sst")
        refused(f"{copy}: is damaged: state/{name}: ", copy, *yes)
        refused("Move its state/ away (keep it) and say this again", copy, *yes, "--accept-damage")
        (copy / "state").rename(copy / "state.kept")
        again = self.rescued([copy])
        self.started(again)
        self.assertEqual(len(again.history("ops")), 300)
        copy, name = damaged("log", "*.sst")
        refused(f"{copy}: is damaged: log/{name}: ", copy, *yes)
        refused("else --accept-damage goes on with what reads in it", copy, *yes)
        # Its state reads; what the log had above is what may be missing.
        other = self.rescued([copy], "--accept-damage")
        self.assertFalse(other.report["directories"][0]["whole"])
        self.started(other)
        self.assertEqual(len(other.history("ops")), 300)
        # Two clusters are not one.
        stranger = self.cluster(f=0)
        self.post(stranger, "ops", 1)
        stranger.stop(0)
        refused("give directories of one cluster", data[0], stranger.folder / "data" / "0", *yes)


if __name__ == "__main__":
    import unittest
    unittest.main()
