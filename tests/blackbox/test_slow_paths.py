"""Slow and odd paths: delays of a satellite, NAT that gives a client another port in the middle, datagrams that come twice and
out of order. The replicas and the clients are real, a relay of the test's own is the network between them."""
import re
import threading
import time
import unittest

import harness
import relay


class Relayed(harness.Cluster):
    """Every replica has its own idea of the others' ports: those of the relay. Clients have one, too."""

    def __init__(self, heartbeat_ms, election_timeout_ms, **path):
        super().__init__(start=False)
        self.relay = relay.Relay()
        for key, value in path.items():
            setattr(self.relay, key, value)
        text = self.config.read_text()
        text = re.sub(r"(?m)^(heartbeat_ms|election_timeout_ms):.*\n", "", text)
        text += f"heartbeat_ms: {heartbeat_ms}\nelection_timeout_ms: {election_timeout_ms}\n"
        ports = [self.base_port + replica for replica in range(self.replicas)]
        views = [list(ports) for _ in ports]
        for a in range(self.replicas):
            for b in range(a):
                views[a][b], views[b][a] = self.relay.link(ports[a], ports[b])
        self.configs = [self.write(f"replica{replica}", text, ports, views[replica]) for replica in range(self.replicas)]
        self.config = self.write("client", text, ports, [self.relay.front(port) for port in ports])
        self.direct = self.write("direct", text, ports, ports)
        for replica in range(self.replicas):
            self.start(replica)

    def write(self, name, text, ports, view):
        file = self.folder / f"{name}.yaml"
        for port, other in zip(ports, view):
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:@{other}")
        file.write_text(text.replace("@", ""))
        return file

    def start(self, replica):
        shared, self.config = self.config, self.configs[replica]
        super().start(replica)
        self.config = shared

    def close(self):
        super().close()
        self.relay.close()


class SlowPaths(harness.ClusterTest):
    def relayed(self, *arguments, **path):
        cluster = Relayed(*arguments, **path)
        self.addCleanup(self._finish, cluster)
        return cluster

    def use(self, cluster, lines, timeout):
        code, out, err = cluster.chat("send", "--room", "big", "--timeout", timeout, "--json", "x" * 16000)
        self.assertEqual(code, 0, err)
        code, out, err = cluster.chat("send", "--room", "many", "--timeout", timeout, "--json", "-",
                                      text="".join(f"line {n}\n" for n in range(lines)))
        self.assertEqual(code, 0, err)
        history = cluster.history("many", "--timeout", timeout)
        self.assertEqual([m["text"] for m in history], [f"line {n}" for n in range(lines)])
        self.assertEqual(len(cluster.history("big", "--timeout", timeout)), 1)

    def catch_up(self, cluster, timeout):
        away = (cluster.leader() + 1) % cluster.replicas
        cluster.stop(away)
        code, _, err = cluster.chat("send", "--room", "missed", "--timeout", timeout, "-",
                                    text="".join(f"{n} {'y' * 900}\n" for n in range(200)))
        self.assertEqual(code, 0, err)
        cluster.start(away)
        self.assert_consistent(cluster)

    def test_a_round_trip_of_150_ms(self):
        cluster = self.relayed(200, 1000, delay=0.075)
        cluster.wait_healthy()
        self.use(cluster, 400, "30s")
        self.catch_up(cluster, "30s")

    def test_a_round_trip_of_600_ms(self):
        cluster = self.relayed(600, 3000, delay=0.3)
        cluster.wait_healthy()
        self.use(cluster, 100, "60s")
        leader = cluster.leader()
        self.catch_up(cluster, "60s")
        self.assertEqual(cluster.leader(), leader, "a slow link is no reason for another leader")

    def test_datagrams_that_come_twice_and_out_of_order(self):
        cluster = self.relayed(50, 500, jitter=0.03, repeated=0.3, lost=0.02)
        cluster.wait_healthy()
        self.use(cluster, 300, "30s")
        self.catch_up(cluster, "30s")

    def test_nat_gives_a_client_another_port_in_the_middle(self):
        cluster = self.relayed(50, 500, delay=0.002)
        cluster.wait_healthy()
        stop = threading.Event()

        def forget():
            while not stop.wait(0.4):
                cluster.relay.other_ports()
        nat = threading.Thread(target=forget)
        nat.start()
        try:
            began = time.monotonic()
            sender = harness.Sender(cluster, "ops", [f"{n}" for n in range(3000)], "--timeout", "30s")
            code, receipts, err = sender.finish()
            took = time.monotonic() - began
            self.assertEqual(code, 0, err)
            self.assertEqual(len(receipts), 3000)
            code, _, err = cluster.chat("send", "--room", "big", "--timeout", "30s", "x" * 16000)
            self.assertEqual(code, 0, err)
            self.assert_exactly_once(cluster, "ops", receipts)
        finally:
            stop.set()
            nat.join()
        print(f"# 3000 lines in {took:.1f} s, the port changed every 0.4 s", flush=True)


if __name__ == "__main__":
    unittest.main()
