"""Names and addresses that come late, change, or are taken: what may pass is waited for, whoever moved is followed, and nobody is
kept waiting by somebody else's name."""
import ctypes
import json
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import time
import unittest
import urllib.error
import urllib.request

import harness
from harness import BIN, Cluster, ClusterTest, run, wait_for

SHIM = pathlib.Path(os.environ.get("PAXOSD_TEST_NAMES", BIN.parent / "release/tests/blackbox/libnames.so")).resolve()
CLONE_NEWNET = 0x40000000
ETH_P_IP = 0x0800
PATIENT = 150  # names are looked up every 30 s at most


def own_network():
    """Why this process can't have a network of its own; empty once it has one: every address below is there alone."""
    if os.geteuid() != 0:
        return "a network namespace needs root"
    if shutil.which("ip") is None:
        return "there is no ip (package iproute2)"
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        return f"no network namespace here: {os.strerror(ctypes.get_errno())}"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    return ""


NO_NETWORK = own_network()


class NamedCluster(Cluster):
    """Three replicas at names of their own; `say` is what the resolver answers from now on."""

    def __init__(self, **options):
        super().__init__(f=1, start=False, **options)
        self.hosts = self.folder / "hosts"
        self.literal = self.folder / "literal.yaml"
        text = self.config.read_text()
        self.literal.write_text(text)
        for replica in range(3):
            text = text.replace(f'"127.0.0.1:{self.base_port + replica}"', f'"r{replica}.test:{self.base_port + replica}"')
        self.config.write_text(text)
        self.say({0: "127.0.0.1", 1: "127.0.0.1", 2: "127.0.0.1"})

    def say(self, addresses):
        beside = self.folder / "hosts.new"
        beside.write_text("".join(f"r{replica}.test {address}\n" for replica, address in addresses.items()))
        beside.rename(self.hosts)

    def log_of(self, replica):
        return (self.folder / f"replica{replica}.log").read_text(errors="replace")


def replica_status(cluster, replica):
    return cluster.status()["replicas"][replica]


class Resolving(ClusterTest):
    """With a resolver of ours in front of every program."""

    def named(self):
        if not SHIM.exists():
            self.skipTest(f"there is no {SHIM.name}: the tests are not built")
        cluster = NamedCluster()
        self.addCleanup(self._finish, cluster)
        for key, value in (("LD_PRELOAD", str(SHIM)), ("PAXOSD_TEST_HOSTS", str(cluster.hosts))):
            os.environ[key] = value
            self.addCleanup(os.environ.pop, key)
        return cluster

    def start_all(self, cluster, replicas=(0, 1, 2)):
        for replica in replicas:
            cluster.start(replica)

    def stop_all(self, cluster):
        for replica in list(cluster.processes):
            self.assertEqual(cluster.stop(replica), 0)

    def wait_reachable(self, cluster, replica, deadline=PATIENT):
        return wait_for(f"replica {replica} takes part", lambda: (
            lambda r: r if r["reachable"] and r.get("voting") and r.get("leader") is not None else None)(replica_status(cluster, replica)), deadline)

    def test_a_name_that_does_not_resolve_keeps_nobody_and_is_taken_once_it_does(self):
        cluster = self.named()
        self.start_all(cluster)
        cluster.wait_healthy()
        self.stop_all(cluster)
        for replica in range(3):
            (cluster.folder / f"data/{replica}/addresses").unlink(missing_ok=True)
        cluster.say({0: "127.0.0.1", 1: "127.0.0.1"})
        self.start_all(cluster)
        status = cluster.wait_healthy()
        missing = status["replicas"][2]
        self.assertFalse(missing["reachable"])
        self.assertRegex(missing["error"], r"name 'r2\.test' does not resolve: .")
        code, out, err = cluster.ctl("status")
        self.assertIn("r2.test", out + err)
        self.assertEqual(cluster.chat("send", "--room", "ops", "without the third")[0], 0)
        wait_for("what the replicas say of it", lambda: "r2.test" in cluster.log_of(0) and "does not resolve" in cluster.log_of(2))
        self.assertEqual([u["id"] for u in replica_status(cluster, 0).get("unresolved", [])], [2])
        self.assertIsNone(cluster.processes[2].poll(), "it waits for its own address")
        cluster.say({0: "127.0.0.1", 1: "127.0.0.1", 2: "127.0.0.1"})
        self.wait_reachable(cluster, 2)
        self.assertNotIn("unresolved", replica_status(cluster, 2))
        self.assert_consistent(cluster)

    def test_a_client_without_any_name_says_so(self):
        cluster = self.named()
        cluster.say({})
        code, out, err = cluster.ctl("status", "--json")
        self.assertEqual(code, 3)
        status = json.loads(out)
        self.assertEqual({r["id"] for r in status["replicas"] if "does not resolve" in r["error"]}, {0, 1, 2})
        code, out, err = cluster.chat("send", "--room", "ops", "--timeout", "2s", "anyone?")
        self.assertEqual(code, 3, err)
        self.assertIn("does not resolve", err)

    def test_without_a_name_server_the_last_addresses_are_used(self):
        cluster = self.named()
        self.start_all(cluster)
        cluster.wait_healthy()
        files = [cluster.folder / f"data/{replica}/addresses" for replica in range(3)]
        wait_for("each has written down all three", lambda: all(
            f.exists() and len(re.findall(r"(?m)^[012] r[012]\.test", f.read_text())) == 3 for f in files))
        for file in files:
            self.assertEqual(file.stat().st_mode & 0o7777, 0o600)
        self.stop_all(cluster)
        cluster.say({replica: "hangs" for replica in range(3)})
        self.start_all(cluster)

        def healthy():  # asked by address: a client remembers nothing
            status = json.loads(run("paxosctl", "status", "--json", "--config", cluster.literal)[1])
            return status["healthy"] and all(r["reachable"] for r in status["replicas"])
        wait_for("the cluster is whole without a name server", healthy)
        # A client waits for the name server only for a moment, and says what it waits for.
        code, out, err = cluster.ctl("status", "--json", timeout=30)
        self.assertEqual(code, 3)
        self.assertIn("has not answered", json.loads(out)["replicas"][0]["error"])

    def test_a_damaged_memory_is_left_out(self):
        cluster = self.named()
        self.start_all(cluster)
        cluster.wait_healthy()
        file = cluster.folder / "data/0/addresses"
        wait_for("it is written", file.exists)
        self.stop_all(cluster)
        file.write_text(file.read_text().replace("127.0.0.1", "127.0.0.7", 1))
        self.start_all(cluster)
        cluster.wait_healthy()
        self.assertIn("checksum", cluster.log_of(0))

    def test_a_replica_whose_name_moves_is_followed_by_replicas_and_clients(self):
        cluster = self.named()
        self.start_all(cluster)
        cluster.wait_healthy()
        follower = subprocess.Popen([str(BIN / "paxoschat"), "follow", "--config", str(cluster.config), "--room", "ops", "--count", "2", "--from", "1"],
                                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=harness.die_with_parent)
        self.addCleanup(follower.kill)
        self.assertEqual(cluster.chat("send", "--room", "ops", "before")[0], 0)
        # All of them, one after the other, so that the client that runs has nobody left where it knew them.
        addresses = {0: "127.0.0.1", 1: "127.0.0.1", 2: "127.0.0.1"}
        for replica in range(3):
            cluster.stop(replica)
            addresses[replica] = f"127.0.0.{replica + 10}"
            cluster.say(addresses)
            cluster.start(replica)
            self.wait_reachable(cluster, replica)
            wait_for("all three hear each other", lambda: all(
                len(r.get("connected", [])) == 3 or not r.get("missing", [1]) for r in cluster.status()["replicas"]))
        self.assertEqual(cluster.chat("send", "--room", "ops", "after")[0], 0)
        out, _ = follower.communicate(timeout=PATIENT)
        self.assertEqual([line.split(": ", 1)[1] for line in out.decode().splitlines()], ["before", "after"])
        self.assert_consistent(cluster)


class Moving(ClusterTest):
    """Addresses without names."""

    def elsewhere(self, cluster, replica, address):
        """The replica listens there from now on; nobody else's config says so."""
        config = cluster.folder / f"moved{replica}.yaml"
        port = cluster.base_port + replica
        config.write_text(cluster.config.read_text().replace(f'"127.0.0.1:{port}"', f'"127.0.0.1:{port}", listen: "{address}:{port}"'))
        log = open(cluster.folder / f"replica{replica}.log", "ab")
        cluster.processes[replica] = subprocess.Popen([str(BIN / "paxosd"), "--config", str(config), "--id", str(replica)],
                                                      stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=harness.die_with_parent)
        log.close()
        return config

    def test_a_replica_that_speaks_from_elsewhere_is_followed(self):
        cluster = self.cluster(f=1)
        leader = cluster.leader()
        mover, third = [i for i in range(3) if i != leader]
        cluster.stop(mover)
        self.elsewhere(cluster, mover, "127.0.0.66")
        where = f"127.0.0.66:{cluster.base_port + mover}"
        wait_for("the others have followed it", lambda: all(
            {"id": mover, "address": where} in replica_status(cluster, i).get("moved", []) for i in (leader, third)))
        # What is said to it arrives: it is needed for a quorum now.
        cluster.kill(third)
        self.assertEqual(cluster.chat("send", "--room", "ops", "--timeout", "60s", "by the one that moved")[0], 0)
        # The others' memory outlives a restart.
        file = cluster.folder / f"data/{leader}/addresses"
        wait_for("its place is written down", lambda: file.exists() and where in file.read_text())
        cluster.kill(leader)
        cluster.start(leader)
        cluster.start(third)
        cluster.wait_healthy()
        code, out, _ = cluster.ctl("doctor", "--json")
        names = [c for c in json.loads(out)["checks"] if c["check"] == "names" and "127.0.0.66" in c["measured"]]
        self.assertTrue(names, out)
        self.assertIn("config", names[0]["advice"])

    @unittest.skipIf(NO_NETWORK, NO_NETWORK)
    def test_recorded_datagrams_move_nobody(self):
        cluster = self.cluster(f=1)
        leader = cluster.leader()
        victim, mover = [i for i in range(3) if i != leader]
        to, of = cluster.base_port + victim, cluster.base_port + mover
        recorded = []
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP)) as tap:
            tap.bind(("lo", ETH_P_IP))
            tap.settimeout(1)

            def listened():
                try:
                    packet = tap.recv(65535)
                except socket.timeout:
                    return False
                header = (packet[0] & 15) * 4
                if packet[9] == socket.IPPROTO_UDP and struct.unpack("!HH", packet[header:header + 4]) == (of, to):
                    recorded.append(packet[header + 8:])
                return len(recorded) >= 40
            wait_for("datagrams to record", listened)
        # The one is dead, the other has forgotten which counters it saw.
        cluster.kill(mover)
        cluster.kill(victim)
        cluster.start(victim)
        wait_for("it is back", lambda: replica_status(cluster, victim).get("voting"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
            thief.bind(("127.0.0.99", 0))
            thief.setblocking(False)
            for datagram in recorded:
                thief.sendto(datagram, ("127.0.0.1", to))
            seen = 0

            def settled():
                nonlocal seen
                try:
                    while True:
                        seen += len(thief.recv(65535)) > 0
                except BlockingIOError:
                    pass
                now = replica_status(cluster, victim)
                self.assertNotIn("moved", now)
                return now.get("uptime_ms", 0) > 4000
            wait_for("it had the time to be taken in", settled)
        self.assertLess(seen, 60, "a probe now and then, and no more of the protocol")
        cluster.start(mover)
        self.assert_consistent(cluster)


class Late(ClusterTest):
    """What is not there yet, or is taken."""

    def test_a_taken_metrics_port_costs_the_metrics_alone(self):
        cluster = self.cluster(f=1, metrics=True, start=False)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", cluster.metrics_port))
            other.listen()
            for replica in range(3):
                cluster.start(replica)
            cluster.wait_healthy()
            self.assertTrue(wait_for("it votes", lambda: replica_status(cluster, 0).get("voting")))
            self.assertRegex(replica_status(cluster, 0)["metrics_error"], "the port is in use")
            self.assertIn("goes on without", (cluster.folder / "replica0.log").read_text())
            code, out, _ = cluster.ctl("doctor", "--json")
            found = [c for c in json.loads(out)["checks"] if c["check"] == "metrics"]
            self.assertEqual([(c["replica"], c["verdict"]) for c in found], [(0, "warn")])

        def served():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{cluster.metrics_port}/metrics", timeout=5) as page:
                    return page.status == 200
            except (urllib.error.URLError, OSError):
                return False
        wait_for("metrics once the port is free", served)
        self.assertNotIn("metrics_error", replica_status(cluster, 0))

    def test_a_port_that_another_program_has_is_waited_for_loudly(self):
        cluster = self.cluster(f=1, start=False)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", cluster.base_port + 2))
            for replica in range(3):
                cluster.start(replica)
            log = cluster.folder / "replica2.log"
            wait_for("what it says", lambda: "the port is in use" in log.read_text())
            self.assertIsNone(cluster.processes[2].poll())
        cluster.wait_healthy()
        wait_for("it takes part", lambda: replica_status(cluster, 2).get("voting"))
        self.assert_consistent(cluster)

    @unittest.skipIf(NO_NETWORK, NO_NETWORK)
    def test_an_address_that_comes_late_is_waited_for(self):
        cluster = self.cluster(f=1, start=False)
        text = cluster.config.read_text()
        for replica in range(3):
            text = text.replace(f'"127.0.0.1:{cluster.base_port + replica}"', f'"10.99.0.{replica + 1}:{cluster.base_port + replica}"')
        cluster.config.write_text(text)
        for replica in (0, 1):
            subprocess.run(["ip", "addr", "add", f"10.99.0.{replica + 1}/32", "dev", "lo"], check=True)
        for replica in range(3):
            cluster.start(replica)
        log = cluster.folder / "replica2.log"
        wait_for("what it waits for", lambda: "does not have that address" in log.read_text())
        wait_for("the others are there", lambda: all(replica_status(cluster, i)["reachable"] for i in (0, 1)))
        held = time.monotonic()
        wait_for("some seconds of it", lambda: self.assertIsNone(cluster.processes[2].poll()) or time.monotonic() > held + 5)
        self.assertEqual(log.read_text().count("does not have that address"), 1, "said once, and again only after a minute")
        subprocess.run(["ip", "addr", "add", "10.99.0.3/32", "dev", "lo"], check=True)
        cluster.wait_healthy()
        wait_for("it takes part", lambda: replica_status(cluster, 2).get("voting"))
        self.assert_consistent(cluster)

    def test_listen_is_what_is_bound(self):
        cluster = self.cluster(f=1, start=False)
        text = cluster.config.read_text()
        for replica in range(3):
            port = cluster.base_port + replica
            text = text.replace(f'"127.0.0.1:{port}"', f'"127.0.0.1:{port}", listen: "0.0.0.0:{port}"')
        cluster.config.write_text(text)
        for replica in range(3):
            cluster.start(replica)
        cluster.wait_healthy()
        self.assertEqual([r["listens_on"] for r in cluster.status()["replicas"] if r["reachable"]][0], f"0.0.0.0:{cluster.base_port}")
        self.assert_consistent(cluster)


class Checked(unittest.TestCase):
    """`config check` names what can't work."""

    def check(self, *addresses):
        import tempfile
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "cluster.yaml"
            self.assertEqual(run("paxosctl", "config", "generate", "-f", 1, "-o", file)[0], 0)
            text = file.read_text()
            for replica, address in enumerate(addresses):
                text = text.replace(f'"127.0.0.1:{7400 + replica}"', f'"{address}"')
            file.write_text(text)
            code, out, err = run("paxosctl", "config", "check", file)
            self.assertEqual(code, 0, err)
            return out

    def test_what_is_fine_has_no_warning(self):
        self.assertNotIn("warning", self.check())
        self.assertNotIn("warning", self.check("10.0.0.1:7400", "10.0.0.2:7400", "10.0.0.3:7400"))

    def test_ipv4_and_ipv6_mixed(self):
        out = self.check("10.0.0.1:7400", "[fd00::2]:7400", "10.0.0.3:7400")
        self.assertRegex(out, r"IPv4 and IPv6 mixed: replicas 0 and 2 have only IPv4, replica 1 only IPv6")
        self.assertIn("listen", out)

    def test_a_loopback_address_among_others(self):
        out = self.check("10.0.0.1:7400", "127.0.1.1:7400", "10.0.0.3:7400")
        self.assertRegex(out, r"replica 1: 127\.0\.1\.1:7400 is a loopback address")
        self.assertIn('listen: "0.0.0.0:7400"', out)

    def test_a_name_that_does_not_resolve(self):
        self.assertIn("name 'nowhere.invalid' does not resolve", self.check("nowhere.invalid:7400"))


if __name__ == "__main__":
    unittest.main()
