"""Somebody on the network who has no key, but records what goes by and says it again: to every replica, from an address of his
own, right away and after a restart. Nothing may change, and nobody may get more than he sent. And programs of the first
version, whose datagrams name nobody: they get a word, and nothing else."""
import collections
import json
import os
import pathlib
import re
import select
import socket
import subprocess
import threading
import unittest

import harness

FIRST_FORMAT = pathlib.Path(os.environ.get("PAXOSD_FIRST_FORMAT", harness.BIN.parent / "release/tests/blackbox/first-format"))
AMPLIFICATION_MAX = 3  # of what came, to whom has proved nothing


class Tap:
    """Stands between clients and replicas, and keeps all that clients say."""

    def __init__(self, ports):
        self.fronts = {self._bound(): replica for replica, _ in enumerate(ports)}
        self.backs = {}  # socket towards a replica: (front, client)
        self.clients = {}
        self.ports = ports
        self.tape = []  # (replica, datagram)
        self.wake, self.woken = socket.socketpair()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    @staticmethod
    def _bound():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        s.bind(("127.0.0.1", 0))
        return s

    def addresses(self):
        return [front.getsockname()[1] for front in self.fronts]

    def _run(self):
        while True:
            ready, _, _ = select.select([self.woken, *self.fronts, *self.backs], [], [])
            for s in ready:
                if s is self.woken:
                    return
                try:
                    data, sender = s.recvfrom(65536)
                except OSError:
                    continue  # nobody listens there now
                if s in self.fronts:
                    replica = self.fronts[s]
                    self.tape.append((replica, data))
                    back = self.clients.get((replica, sender))
                    if back is None:
                        back = self.clients[(replica, sender)] = self._bound()
                        self.backs[back] = (s, sender)
                    try:
                        back.sendto(data, ("127.0.0.1", self.ports[replica]))
                    except OSError:
                        pass
                else:
                    front, client = self.backs[s]
                    try:
                        front.sendto(data, client)
                    except OSError:
                        pass

    def close(self):
        self.wake.send(b"x")
        self.thread.join()
        for s in [*self.fronts, *self.backs, self.wake, self.woken]:
            s.close()


class Replay(harness.ClusterTest):
    def tapped(self, cluster):
        tap = Tap([cluster.base_port + replica for replica in range(cluster.replicas)])
        self.addCleanup(tap.close)
        text = cluster.config.read_text()
        for replica, port in enumerate(tap.addresses()):
            text = text.replace(f"127.0.0.1:{cluster.base_port + replica}", f"127.0.0.1:{port}")
        config = cluster.folder / "tapped.yaml"
        config.write_text(text)
        return tap, config

    def standing(self, cluster):
        """What a recording might change."""
        slot = cluster.wait_all_applied()
        status = cluster.status()
        return {"applied": slot, "room": cluster.history("tape"), "leader": status["leader"],
                "replicas": [(r["id"], r["boot"], r["pid"], r["loss"], r["sessions"], r.get("hole")) for r in status["replicas"]]}

    def replay(self, cluster, tape):
        """Every recorded datagram to every replica, each from an address of its own; what came back by (replica, datagram)."""
        answers = collections.Counter()
        for begin in range(0, len(tape), 100):  # within the number of open files
            sockets = {}
            for meant, data in tape[begin:begin + 100]:
                for replica in range(cluster.replicas):
                    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    s.bind(("127.0.0.1", 0))
                    s.sendto(data, ("127.0.0.1", cluster.base_port + replica))
                    sockets[s] = (replica, meant, data)
            # What comes later is answered later: each replica has taken all of it, and what it reads for an answer, too.
            cluster.status()
            cluster.verify("--full")
            for s, key in sockets.items():
                s.setblocking(False)
                while True:
                    try:
                        answers[key] += len(s.recv(65536))
                    except BlockingIOError:
                        break
                s.close()
        return answers

    def assert_worthless(self, cluster, tape, before):
        answers = self.replay(cluster, tape)
        self.assertEqual(self.standing(cluster), before)
        for (replica, meant, data), size in answers.items():
            self.assertLessEqual(size, len(data), f"replica {replica} answers what was said to replica {meant}")
        return answers

    def test_what_is_recorded_is_worth_nothing_anywhere(self):
        cluster = self.cluster()
        tap, config = self.tapped(cluster)
        verbs = set()

        def said(program, verb, *arguments, codes=(0,), **options):
            before = len(tap.tape)
            code, out, err = harness.run(program, verb, "--config", config, *arguments, **options)
            self.assertIn(code, codes, f"{program} {verb}: {out}{err}")
            self.assertGreater(len(tap.tape), before, f"{program} {verb} says nothing")
            verbs.add(verb)

        text = "".join(f"{n} " + "x" * 4000 + "\n" for n in range(40))
        said("paxoschat", "send", "--room", "tape", "-", text=text)
        said("paxoschat", "send", "--room", "tape", "a lone one")
        said("paxoschat", "history", "--room", "tape")
        said("paxoschat", "history", "--room", "tape", "--local")
        said("paxoschat", "follow", "--room", "tape", "--from", "1", "--count", "3")
        for verb, *arguments in (["status"], ["doctor"], ["top", "--once"], ["verify", "--full"], ["log", "0"], ["explain", "1"],
                                 ["loss", "0"], ["bench", "--clients", "2", "--duration", "100ms", "--warmup", "100ms"]):
            said("paxosctl", verb, *arguments, codes=(0, 1, 3))
        said("paxosctl", "pause", "1", "--for", "20ms", codes=(0, 3))
        said("paxosctl", "isolate", "2", "--for", "20ms", codes=(0, 3))
        cluster.wait_healthy()
        said("paxosctl", "rolling-restart", "0", codes=(1,))  # nobody would start it again
        said("paxosctl", "skip", "--next", "1", codes=(0, 3))
        leader = cluster.leader()
        said("paxosctl", "kill", "leader", codes=(0, 3))
        cluster.processes.pop(leader).wait(timeout=30)
        cluster.start(leader)
        cluster.wait_healthy()
        self.assertEqual(len(verbs), 16)

        tape = list(tap.tape)
        before = self.standing(cluster)
        answers = self.assert_worthless(cluster, tape, before)
        # Only the one that was killed may not know who was there before, and says hello to them: once.
        self.assertLessEqual({replica for replica, _, _ in answers}, {leader})
        for replica in range(cluster.replicas):
            cluster.stop(replica)
            cluster.start(replica)
        cluster.wait_healthy()
        before = self.standing(cluster)
        self.assert_worthless(cluster, tape, before)
        self.assertFalse(self.assert_worthless(cluster, tape, before), "the second time nobody says anything")


@unittest.skipUnless(FIRST_FORMAT.exists(), f"{FIRST_FORMAT} is not built")
class FirstFormat(harness.ClusterTest):
    def ask(self, cluster, replica, verb, *arguments):
        """What a program of the first version gets: its answer, or nothing."""
        done = subprocess.run([str(FIRST_FORMAT), str(cluster.folder / "cluster.key"), str(cluster.base_port + replica), verb,
                               *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        self.assertIn(done.returncode, (0, 3), done.stderr.decode())
        return json.loads(done.stdout) if done.returncode == 0 else None

    def test_an_old_program_gets_a_clear_word_and_nothing_else(self):
        cluster = self.cluster()
        code, _, err = cluster.chat("send", "--room", "old", "-", text="x" * 9000 + "\n")
        self.assertEqual(code, 0, err)

        def raised():
            return all(r.get("rules", 0) >= 2 for r in cluster.status()["replicas"])
        harness.wait_for("the rules are raised", raised)
        before = cluster.status()
        for replica in range(cluster.replicas):
            boot = before["replicas"][replica]["boot"]
            for verb, *arguments in (["status"], ["kill", boot], ["restart", boot], ["loss", boot], ["skip", boot], ["hash"], ["log"],
                                     ["history"], ["local"], ["follow"], ["open"]):
                # Said again as the old programs do: loopback under load loses datagrams, too.
                answer = harness.wait_for(f"a word about {verb}", lambda: self.ask(cluster, replica, verb, *arguments))
                self.assertLessEqual(answer["bytes"], AMPLIFICATION_MAX * answer["sent"], answer)
                if verb == "open":
                    self.assertEqual(answer["kind"], "waiting", answer)  # it may stand in the log: nothing is certain
                    continue
                self.assertIn("format 2", answer["words"], answer)
                self.assertIn("install", answer["words"], answer)
        after = cluster.status()
        for key in ("boot", "pid", "loss", "applied", "hash", "sessions"):
            self.assertEqual([r[key] for r in before["replicas"]], [r[key] for r in after["replicas"]], key)


if __name__ == "__main__":
    unittest.main()
