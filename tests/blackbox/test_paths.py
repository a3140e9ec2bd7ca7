"""Paths that carry less than an Ethernet does: replicas in namespaces behind links of a small MTU (as WireGuard's or
Tailscale's), where the kernel refuses what is too big; and paths that swallow it and tell nobody. Big and small messages,
a bench, catching up and reading back must work on all of them, whatever `datagram_bytes` says. Needs root, ip and nft."""
import json
import time
import unittest

import harness
import netns

REASON = netns.reason("nft")
BIG = "x" * 16000


@unittest.skipIf(REASON, REASON)
class Paths(harness.ClusterTest):
    def machines(self, **options):
        machines = netns.SeparateMachines(1, **options)
        self.addCleanup(self._finish, machines)
        return machines

    def use(self, machines):
        """All that is more than one datagram, one after the other; nothing may hang."""
        code, out, err = machines.chat("send", "--room", "big", "--json", BIG)
        self.assertEqual(code, 0, err)
        code, out, err = machines.chat("send", "--room", "many", "--json", "-", text="".join(f"line {n}\n" for n in range(400)))
        self.assertEqual(code, 0, err)
        self.assertEqual(len(out.splitlines()), 400)
        code, out, err = machines.ctl("bench", "--clients", 64, "--duration", "1s", "--warmup", "0s", "--json")
        self.assertEqual(code, 0, err)
        bench = json.loads(out)
        self.assertGreater(bench["messages"], 64, out)
        self.assertEqual(bench["errors"], 0, out)

        away = (machines.leader() + 1) % machines.replicas
        machines.stop(away)
        code, _, err = machines.chat("send", "--room", "many", "-", text="".join(f"{n} {'y' * 900}\n" for n in range(400)))
        self.assertEqual(code, 0, err)
        machines.start(away)
        self.assert_consistent(machines)

        self.assertEqual([m["text"] for m in machines.history("big")], [BIG])
        self.assertEqual(len(machines.history("many", "--replica", away)), 800)
        self.assertEqual(len(machines.history("many", "--local", "--replica", machines.leader())), 800)

    def through(self, mtu, v6=False, datagram_bytes=None, **options):
        began = time.monotonic()
        settings = {} if datagram_bytes is None else {"datagram_bytes": datagram_bytes}
        machines = self.machines(mtu=mtu, v6=v6, settings=settings, **options)
        self.use(machines)
        print(f"# MTU {mtu}, IPv{6 if v6 else 4}, datagram_bytes {datagram_bytes}: {time.monotonic() - began:.1f} s", flush=True)
        return machines

    def said(self, machines, words):
        """How often the replicas' logs say it."""
        return sum(p.read_text(errors="replace").count(words) for p in machines.folder.glob("replica*.log"))

    def test_ipv4_over_1280_bytes_with_datagrams_for_jumbo_frames(self):
        """Nothing but what the kernel refuses tells the programs: sizes above what the link carries are in use until then."""
        machines = self.through(1280, datagram_bytes=8900)
        self.assertLessEqual(self.said(machines, "does not carry datagrams of"), 2 * machines.replicas, "once a path")

    def test_ipv6_over_1280_bytes(self):
        machines = self.through(1280, v6=True)
        self.assertEqual(self.said(machines, "sends failed"), 0, "1,232 bytes fit exactly")
        code, out, err = machines.ctl("doctor", "--json")
        self.assertIn(code, (0, 1), err)
        paths = [c for c in json.loads(out)["checks"] if c["check"] == "paths"]
        self.assertEqual([c["measured"] for c in paths], ["datagrams of 1232 bytes to all others"] * machines.replicas)

    def test_ipv4_over_1420_bytes_as_wireguard_has_them(self):
        self.through(1420, datagram_bytes=1400)

    def test_ipv4_over_1100_bytes_of_a_tunnel_in_a_tunnel(self):
        """IPv6 has no such link, IPv4 does: the default itself is too large."""
        machines = self.through(1100)
        self.assertGreater(self.said(machines, "does not carry datagrams of 1232 bytes"), 0)
        self.assertGreater(self.said(machines, "sends failed: "), 0)
        self.assertIn("EMSGSIZE", machines.logs() + "".join(p.read_text() for p in machines.folder.glob("replica*.log")))

    def test_ipv6_over_1420_bytes_with_datagrams_for_jumbo_frames(self):
        self.through(1420, v6=True, datagram_bytes=8900)

    def test_ipv4_and_ipv6_over_9000_bytes(self):
        for v6 in (False, True):
            self.through(9000, v6=v6, datagram_bytes=8900)

    def test_a_path_that_swallows_what_is_above_1300_bytes(self):
        """A black hole from the beginning: no error says so. Then it opens where larger datagrams were in use."""
        machines = self.machines(mtu=9000, settings={"datagram_bytes": 8900}, segments=False, start=False)
        machines.swallow_above(1300)
        for replica in range(machines.replicas):
            machines.start(replica)
        machines.wait_healthy()
        self.use(machines)


if __name__ == "__main__":
    unittest.main()
