"""Partial connectivity over real processes: five replicas in network namespaces of their own, links cut by nftables.

The scenarios are those of Omni-Paxos (Ng, Haridi, Carbone, EuroSys 2023, section 2): a quorum-connected replica exists, and
nobody else has a quorum. Clients sit on the switch and reach everybody. The simulator runs every graph of five
(tests/sim/topology_test.cc); here is what it can't have: kernels, sockets, clocks. Needs root, ip and nft; skips itself
without them."""
import os
import re
import shutil
import subprocess
import time
import unittest

import harness

TIMEOUT = 1.0  # election timeout, seconds: long beside the noise of a busy machine
ROUNDS = 4     # it must go on within so many of them


def able():
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    for tool in ("ip", "nft"):
        if shutil.which(tool) is None:
            return f"needs {tool}"
    probe = subprocess.run(["ip", "netns", "add", f"paxos{os.getpid()}p"], capture_output=True, text=True)
    if probe.returncode != 0:
        return f"no network namespaces here: {probe.stderr.strip()}"
    bridge = subprocess.run(["ip", "-n", f"paxos{os.getpid()}p", "link", "add", "b0", "type", "bridge"], capture_output=True,
                            text=True)
    rules = subprocess.run(["ip", "netns", "exec", f"paxos{os.getpid()}p", "nft", "add", "table", "inet", "t"],
                           capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", f"paxos{os.getpid()}p"], check=True)
    for tried in (bridge, rules):
        if tried.returncode != 0:
            return f"no bridges or nftables here: {tried.stderr.strip()}"
    return None


REASON = able()


class SeparateMachines(harness.Cluster):
    """2f+1 replicas, each in a namespace with its own address on one switch; the switch is where the clients are."""

    def __init__(self, f):
        super().__init__(f=f, start=False)
        self.name = f"paxos{os.getpid()}"
        hosts = [word for replica in range(self.replicas) for word in ("--host", self.address(replica))]
        code, _, err = harness.run("paxosctl", "config", "generate", "-f", f, "-o", self.config, "--force", *hosts)
        assert code == 0, err
        text = self.config.read_text()
        text = re.sub(r"heartbeat_ms: \d+", f"heartbeat_ms: {int(TIMEOUT * 200)}", text)
        text = re.sub(r"election_timeout_ms: \d+", f"election_timeout_ms: {int(TIMEOUT * 1000)}", text)
        self.config.write_text(text)
        self.ip("netns", "add", self.switch())
        self.ip("-n", self.switch(), "link", "add", "b0", "type", "bridge")
        self.ip("-n", self.switch(), "addr", "add", "10.77.0.100/24", "dev", "b0")
        for device in ("lo", "b0"):
            self.ip("-n", self.switch(), "link", "set", device, "up")
        for replica in range(self.replicas):
            space = self.space(replica)
            self.ip("netns", "add", space)
            self.ip("-n", space, "link", "add", "e0", "type", "veth", "peer", "name", f"v{replica}", "netns", self.switch())
            self.ip("-n", space, "addr", "add", f"{self.address(replica)}/24", "dev", "e0")
            for device in ("lo", "e0"):
                self.ip("-n", space, "link", "set", device, "up")
            self.ip("-n", self.switch(), "link", "set", f"v{replica}", "master", "b0", "up")
        for replica in range(self.replicas):
            self.start(replica)
        self.wait_healthy()

    @staticmethod
    def ip(*words):
        done = subprocess.run(["ip", *words], capture_output=True, text=True)
        assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"

    def switch(self):
        return f"{self.name}s"

    def space(self, replica):
        return f"{self.name}r{replica}"

    @staticmethod
    def address(replica):
        return f"10.77.0.{replica + 1}"

    def start(self, replica):
        log = open(self.folder / f"replica{replica}.log", "ab")
        self.processes[replica] = subprocess.Popen(
            ["ip", "netns", "exec", self.space(replica), str(harness.BIN / "paxosd"), "--config", str(self.config), "--id",
             str(replica)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=harness.die_with_parent)
        log.close()

    def ctl(self, verb, *arguments, **options):
        return self.on_switch("paxosctl", verb, "--config", self.config, *arguments)

    def chat(self, verb, *arguments, **options):
        return self.on_switch("paxoschat", verb, "--config", self.config, *arguments)

    def on_switch(self, program, *arguments):
        done = subprocess.run(["ip", "netns", "exec", self.switch(), str(harness.BIN / program), *map(str, arguments)],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=120, preexec_fn=harness.die_with_parent)
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def links(self, pairs):
        """Exactly these links between replicas work, both ways; clients reach everybody."""
        joined = {frozenset(pair) for pair in pairs}
        for replica in range(self.replicas):
            away = [self.address(other) for other in range(self.replicas)
                    if other != replica and frozenset((replica, other)) not in joined]
            rules = "table inet cut\ndelete table inet cut\n"
            if away:
                rules += ("table inet cut {\n chain in { type filter hook input priority 0;"
                          f" ip saddr {{ {', '.join(away)} }} drop; }}\n}}\n")
            done = subprocess.run(["ip", "netns", "exec", self.space(replica), "nft", "-f", "-"], input=rules, text=True,
                                  capture_output=True)
            assert done.returncode == 0, done.stderr

    def all_links(self):
        self.links([(a, b) for a in range(self.replicas) for b in range(a)])

    def ballots(self):
        """What each replica says that it is, and the ballot that it follows."""
        return [(r["id"], r.get("role"), r.get("ballot")) for r in self.status()["replicas"]]

    def close(self):
        super().close()
        for space in [self.switch(), *map(self.space, range(self.replicas))]:
            subprocess.run(["ip", "netns", "del", space], capture_output=True)


@unittest.skipIf(REASON, REASON)
class PartialConnectivity(harness.ClusterTest):
    def setUp(self):
        self.net = SeparateMachines(2)
        self.addCleanup(self._finish, self.net)
        self.sent = 0

    def send(self):
        self.sent += 1
        code, _, err = self.net.chat("send", "--room", "ops", f"message {self.sent}")
        self.assertEqual(code, 0, err)

    def goes_on_and_stays(self, what, may_lead):
        """A command is answered within ROUNDS timeouts, and from then on nothing changes any more."""
        began = time.monotonic()
        self.send()
        took = (time.monotonic() - began) / TIMEOUT
        print(f"# {what}: answered after {took:.2f} election timeouts", flush=True)
        self.assertLess(took, ROUNDS)

        def leaders():
            return [(r, ballot) for r, role, ballot in self.net.ballots() if role == "leader" and r in may_lead]
        # Two of a row may try at once, and one of them wins; what is not settled by then never is.
        while time.monotonic() < began + ROUNDS * TIMEOUT:
            self.send()
        settled = harness.wait_for("somebody with a quorum leads", leaders)
        end = time.monotonic() + 10 * TIMEOUT
        while time.monotonic() < end:
            self.send()
            self.assertEqual(leaders(), settled, "the leadership moved though the links did not")
        self.net.all_links()
        self.assertEqual(len({m["text"] for m in self.net.history("ops")}), self.sent)
        self.assert_consistent(self.net)

    def elsewhere(self, *taken):
        return [r for r in range(5) if r not in taken]

    def test_quorum_loss_only_one_replica_still_has_a_quorum(self):
        leader = self.net.leader()
        self.send()
        hub = self.elsewhere(leader)[0]
        self.net.links([(hub, other) for other in range(5) if other != hub])
        self.goes_on_and_stays("quorum loss", {hub})

    def test_constrained_election_the_only_candidate_lacks_the_newest_messages(self):
        leader = self.net.leader()
        hub = self.elsewhere(leader)[0]
        self.net.links([(a, b) for a in range(5) for b in range(a) if hub not in (a, b)])
        for _ in range(20):
            self.send()
        # The old leader is gone for everybody; the others hear the one that missed all of it, and nobody else.
        self.net.links([(hub, other) for other in self.elsewhere(leader, hub)])
        self.goes_on_and_stays("constrained election", {hub})

    def test_chained_replicas_in_a_row_do_not_depose_each_other(self):
        leader = self.net.leader()
        self.send()
        row = [leader, *self.elsewhere(leader)]  # the leader at one end: it loses its quorum
        self.net.links(list(zip(row, row[1:])))
        self.goes_on_and_stays("chained", set(row[1:4]))


if __name__ == "__main__":
    unittest.main()
