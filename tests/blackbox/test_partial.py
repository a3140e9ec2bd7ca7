"""Partial connectivity over real processes: five replicas in network namespaces of their own, links cut by nftables.

The scenarios are those of Omni-Paxos (Ng, Haridi, Carbone, EuroSys 2023, section 2): a quorum-connected replica exists, and
nobody else has a quorum. Clients sit on the switch and reach everybody. The simulator runs every graph of five
(tests/sim/topology_test.cc); here is what it can't have: kernels, sockets, clocks. Needs root, ip and nft; skips itself
without them."""
import time
import unittest

import harness
import netns

TIMEOUT = 1.0  # election timeout, seconds: long beside the noise of a busy machine
ROUNDS = 4     # it must go on within so many of them
REASON = netns.reason("nft")


class Graph(netns.SeparateMachines):
    """Separate machines whose links can be cut."""

    def __init__(self, f):
        super().__init__(f, settings={"heartbeat_ms": int(TIMEOUT * 200), "election_timeout_ms": int(TIMEOUT * 1000)})

    def links(self, pairs):
        """Exactly these links between replicas work, both ways; clients reach everybody."""
        joined = {frozenset(pair) for pair in pairs}
        for replica in range(self.replicas):
            away = [self.address(other) for other in range(self.replicas)
                    if other != replica and frozenset((replica, other)) not in joined]
            self.rules(replica, away and (" chain in { type filter hook input priority 0;"
                                          f" ip saddr {{ {', '.join(away)} }} drop; }}"))

    def all_links(self):
        self.links([(a, b) for a in range(self.replicas) for b in range(a)])

    def ballots(self):
        """What each replica says that it is, and the ballot that it follows."""
        return [(r["id"], r.get("role"), r.get("ballot")) for r in self.status()["replicas"]]


@unittest.skipIf(REASON, REASON)
class PartialConnectivity(harness.ClusterTest):
    def setUp(self):
        self.net = Graph(2)
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
