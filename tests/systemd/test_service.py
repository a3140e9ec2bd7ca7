"""The operator's three stories against a real systemd: replicas started as services; status, kill and skip; a crashed one
comes back and is shown to have recovered. Skipped, with the reason, where no systemd can be booted (node.py)."""
import json
import pathlib
import re
import statistics
import time
import unittest

import harness
import machines
import node
from machines import service, status, verify, wait_healthy

REASON = node.why_not()
VERSION = re.search(r"^  version: '([^']+)'", (pathlib.Path(__file__).parents[2] / "meson.build").read_text(), re.M)[1]


def told(test, *nodes):
    """Shows the nodes' journals when the test failed."""
    outcome = getattr(test, "_outcome", None)
    result = getattr(outcome, "result", None)
    if result is not None and [t for t, _ in result.failures + result.errors if t is test]:
        for one in nodes:
            for line in one.journal("-u", "paxosd@*", "-n", "120").splitlines():
                print(f"# {one.name}: {line}", flush=True)


@unittest.skipIf(REASON, REASON)
class OnOneMachine(unittest.TestCase):
    """Three replicas of one machine."""

    @classmethod
    def setUpClass(cls):
        # Long beside the noise of a busy machine: some times below are counted in heartbeats.
        cls.machine = machines.OneMachine(
            settings="sed -i 's/heartbeat_ms: 50/heartbeat_ms: 150/; s/election_timeout_ms: 250/election_timeout_ms: 750/' "
            "/etc/paxosd/cluster.yaml")
        cls.node = cls.machine.node
        cls.machine.start()

    @classmethod
    def tearDownClass(cls):
        cls.machine.close()

    def setUp(self):
        self.addCleanup(told, self, self.node)
        self.node.run("systemctl", "reset-failed")
        self.node.run("systemctl", "start", *map(service, range(3)))
        self.leader = wait_healthy(self.node, 3)["leader"]

    def assert_exactly_once(self, room, receipts):
        found = machines.history(self.node, room)
        self.assertEqual([m["seq"] for m in found], list(range(1, len(found) + 1)))
        self.assertEqual([m["text"] for m in found], [f"{room} {i}" for i in range(1, len(found) + 1)],
                         "lost, doubled or out of order")
        self.assertEqual({(r["seq"], r["slot"], r["text"]) for r in receipts} - {(m["seq"], m["slot"], m["text"]) for m in found},
                         set())

    def test_services_are_ready_and_tell_where_they_stand(self):
        for i in range(3):
            told_by = self.node.show(service(i), "ActiveState", "SubState", "Type", "StatusText", "User")
            self.assertEqual((told_by["ActiveState"], told_by["SubState"], told_by["Type"], told_by["User"]),
                             ("active", "running", "notify", "paxosd"))
            role = "leader" if i == self.leader else "follower"
            harness.wait_for(f"a status line of replica {i}", lambda i=i, role=role: re.match(
                rf"{role}, ballot \d+\.\d.*, slot \d+", self.node.show(service(i), "StatusText")["StatusText"]))

    def test_the_service_is_confined(self):
        verdict = self.node.run("systemd-analyze", "security", service(0), "--no-pager").stdout.splitlines()[-1]
        self.assertLessEqual(float(re.search(r"([0-9.]+) OK", verdict).group(1)), 1.1, verdict)

    def test_a_killed_leader_is_restarted_recovers_and_is_verified(self):
        before = status(self.node)["replicas"][self.leader]
        writer = machines.Writer(self.node, "killed")
        writer.wait_more(20)
        self.node.run("paxosctl", "kill", "leader")
        wait_healthy(self.node, 3)
        writer.wait_more(20)
        receipts = writer.finish()
        after = status(self.node)["replicas"][self.leader]
        self.assertEqual(after["boot"], before["boot"] + 1)
        self.assertEqual(after["incarnation"], before["incarnation"])
        self.assertEqual(self.node.show(service(self.leader), "NRestarts")["NRestarts"], "1")
        verdict = verify(self.node)
        self.assertTrue(verdict["consistent"])
        self.assertEqual(len(verdict["replicas"]), 3)
        self.assert_exactly_once("killed", receipts)

    def test_skipped_slots_become_noops_when_the_leader_dies(self):
        writer = machines.Writer(self.node, "skipped")
        writer.wait_more(10)
        slots = json.loads(self.node.run("paxosctl", "skip", "--next", 2, "--json").stdout)["skipped"]
        self.node.run("paxosctl", "kill", "leader")
        wait_healthy(self.node, 3)
        writer.wait_more(10)
        self.assert_exactly_once("skipped", writer.finish())
        self.assertTrue(verify(self.node)["consistent"])
        for replica in range(3):
            out = self.node.run("paxosctl", "log", replica, "--from", min(slots), "--to", max(slots), "--json").stdout
            kinds = {row["slot"]: row["kind"] for row in map(json.loads, out.splitlines())}
            self.assertEqual([kinds[slot] for slot in slots], ["noop", "noop"])

    def test_reload_takes_fault_settings_and_level_and_refuses_a_broken_config(self):
        pid = self.node.show(service(0), "MainPID")["MainPID"]
        self.node.run("sed", "-i", "s/^loss: 0.0/loss: 0.01/", "/etc/paxosd/cluster.yaml")
        self.node.run("sh", "-c", "echo 'log_level: debug' >>/etc/paxosd/cluster.yaml")
        self.node.run("systemctl", "reload", service(0))
        harness.wait_for("the new loss", lambda: status(self.node)["replicas"][0].get("loss") == 0.01)
        self.assertIn("reloaded", self.node.journal("-u", service(0)))
        self.node.run("sed", "-i", "s/^loss: 0.01/loss: much/", "/etc/paxosd/cluster.yaml")
        self.node.run("systemctl", "reload", service(0))
        harness.wait_for("the refusal in the journal", lambda: "reload refused" in self.node.journal("-u", service(0)))
        self.assertIn("key 'loss'", self.node.journal("-u", service(0)))
        self.node.run("sed", "-i", "s/^loss: much/loss: 0.0/; /^log_level/d", "/etc/paxosd/cluster.yaml")
        self.node.run("systemctl", "reload", service(0))
        harness.wait_for("no loss again", lambda: status(self.node)["replicas"][0].get("loss") == 0)
        self.assertEqual(self.node.show(service(0), "MainPID", "ActiveState"), {"MainPID": pid, "ActiveState": "active"})

    def test_reload_takes_how_many_crash_dumps_are_kept(self):
        folder = "/var/lib/paxosd/0/crash"
        self.node.run("runuser", "-u", "paxosd", "--", "touch", *(f"{folder}/flight-{boot}.bin" for boot in (9001, 9002, 9003)))
        self.node.run("sh", "-c", "echo 'crash_dumps_kept: 2' >>/etc/paxosd/cluster.yaml")
        self.node.run("systemctl", "reload", service(0))
        harness.wait_for("only the newest two", lambda: self.node.run("ls", folder).stdout.split() == ["flight-9002.bin", "flight-9003.bin"])
        self.assertIn("crash dumps kept 2", self.node.journal("-u", service(0)))
        self.node.run("sh", "-c", f"sed -i /^crash_dumps_kept/d /etc/paxosd/cluster.yaml; rm {folder}/flight-900?.bin")
        self.node.run("systemctl", "reload", service(0))

    def test_restarting_one_after_another_loses_and_doubles_nothing(self):
        writer = machines.Writer(self.node, "rolling")
        writer.wait_more(20)
        for i in range(3):
            self.node.run("systemctl", "restart", service(i))
            wait_healthy(self.node, 3)
            writer.wait_more(20)
        receipts = writer.finish()
        self.assertTrue(verify(self.node)["consistent"])
        self.assert_exactly_once("rolling", receipts)

    def test_a_clean_stop_of_the_leader_costs_clients_less_than_two_heartbeats(self):
        pauses = []
        for attempt in range(5):
            leader = wait_healthy(self.node, 3)["leader"]
            writer = machines.Writer(self.node, f"stop{attempt}")
            writer.wait_more(50)
            self.node.run("systemctl", "stop", service(leader))
            writer.wait_more(50)
            receipts = writer.finish()
            times = [m["time_ms"] for m in receipts]
            pauses.append(max(b - a for a, b in zip(times, times[1:])) / 150)
            self.node.run("systemctl", "start", service(leader))
        self.assertLess(statistics.median(pauses), 2, f"heartbeats without an answer: {pauses}")

    def test_a_replica_that_stands_still_is_killed_by_the_watchdog_and_comes_back(self):
        victim = (self.leader + 1) % 3
        self.node.run("sh", "-c", f"mkdir -p /run/systemd/system/{service(victim)}.service.d && printf '[Service]\\nWatchdogSec=2s\\n' "
                      f">/run/systemd/system/{service(victim)}.service.d/test.conf")
        self.node.run("systemctl", "daemon-reload")
        self.node.run("systemctl", "restart", service(victim))
        wait_healthy(self.node, 3)
        self.node.run("kill", "-STOP", self.node.show(service(victim), "MainPID")["MainPID"])
        harness.wait_for("the watchdog", lambda: "Watchdog timeout" in self.node.journal("-u", service(victim)))
        wait_healthy(self.node, 3)
        self.assertTrue(verify(self.node)["consistent"])
        self.node.run("sh", "-c", f"rm -r /run/systemd/system/{service(victim)}.service.d; systemctl daemon-reload; "
                      f"systemctl restart {service(victim)}")

    def test_role_changes_are_in_the_journal_with_fields(self):
        lines = [json.loads(line) for line in self.node.journal("EVENT=leader", "-o", "json").splitlines()]
        self.assertTrue(lines)
        for line in lines:
            self.assertIn(line["REPLICA"], "012")
            self.assertRegex(line["BALLOT"], r"^\d+\.[012]$")
            self.assertRegex(line["SLOT"], r"^\d+$")
            self.assertEqual(line["SYSLOG_IDENTIFIER"], "paxosd")

    def test_metrics_are_served_under_confinement(self):
        text = self.node.run("bash", "-c", 'exec 3<>/dev/tcp/127.0.0.1/9480; printf "GET /metrics HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3').stdout
        self.assertIn("200 OK", text.splitlines()[0])
        self.assertRegex(text, r'(?m)^paxosd_voting\{[^}]*\} 1$')

    def test_a_crash_leaves_a_flight_recorder_dump_that_explain_reads(self):
        victim = (self.leader + 1) % 3
        self.node.run("paxoschat", "send", "--room", "flight", "before the crash")
        boot = status(self.node)["replicas"][victim]["boot"]
        self.node.run("systemctl", "kill", "--kill-whom=main", "--signal=ABRT", service(victim))
        harness.wait_for("the next boot", lambda: status(self.node)["replicas"][victim].get("boot") == boot + 1)
        wait_healthy(self.node, 3)
        self.assertIn(f"flight-{boot}.bin", self.node.journal("-u", service(victim)))
        out = self.node.run("paxosctl", "explain", "--dump", f"/var/lib/paxosd/{victim}/crash/flight-{boot}.bin").stdout
        self.assertTrue(out.strip())

    def test_others_can_not_read_the_key_or_the_data(self):
        for path in ("/etc/paxosd/cluster.key", "/var/lib/paxosd/0/log"):
            done = self.node.run("runuser", "-u", "nobody", "--", "ls", "-l", path, check=False)
            read = self.node.run("runuser", "-u", "nobody", "--", "cat", path, check=False)
            self.assertNotEqual(read.returncode, 0, f"{path}: {done.stdout}")


@unittest.skipIf(REASON, REASON)
class OddMachines(unittest.TestCase):
    """What administrators and containers do to a service."""

    @classmethod
    def setUpClass(cls):
        cls.machine = machines.OneMachine(f=0)
        cls.node = cls.machine.node

    @classmethod
    def tearDownClass(cls):
        cls.machine.close()

    def setUp(self):
        self.addCleanup(told, self, self.node)
        self.sh("systemctl stop paxosd@0; systemctl reset-failed; rm -rf /var/lib/paxosd/0 /srv/paxos /etc/systemd/system/paxosd@.service.d; "
                "systemctl daemon-reload")

    def sh(self, words):
        return self.node.run("sh", "-c", words).stdout

    def last_words(self, unit="paxosd@0"):
        return self.node.journal("-u", unit, "-o", "cat", "-n", "40")

    def start(self):
        self.sh("systemctl start paxosd@0")
        return wait_healthy(self.node, 1)

    def fails_with(self, *words):
        self.node.run("systemctl", "start", service(0), check=False)
        harness.wait_for(f"its last words: {words}", lambda: all(w in self.last_words() for w in words))
        self.sh("systemctl stop paxosd@0; systemctl reset-failed")

    def test_a_data_directory_may_be_a_link(self):
        self.sh("mkdir -p /srv/paxos/disk; ln -s /srv/paxos/disk /var/lib/paxosd/0")
        self.start()
        self.assertEqual(self.sh("stat -c '%U %a' /srv/paxos/disk").strip(), "paxosd 700")
        self.sh("test -e /srv/paxos/disk/log/CURRENT")
        # The rest of the machine is as closed as before.
        self.assertEqual(self.node.show(service(0), "ProtectSystem")["ProtectSystem"], "strict")
        self.sh("systemctl stop paxosd@0; mv /srv/paxos/disk /srv/paxos/away")
        self.fails_with("/var/lib/paxosd/0 is a link to /srv/paxos/disk, which is not there")

    def test_started_once_as_root_is_refused_or_says_what_to_do(self):
        self.start()
        self.sh("systemctl stop paxosd@0")
        done = self.node.run("paxosd", "--config", "/etc/paxosd/cluster.yaml", "--id", "0", "--data-dir", "/var/lib/paxosd/0", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("/var/lib/paxosd/0 belongs to paxosd, and this runs as root", done.stderr)
        self.assertIn("systemctl start paxosd@ID", done.stderr)
        # An older version did start, and left this.
        self.sh("chown root:root /var/lib/paxosd/0/log/CURRENT; chmod 600 /var/lib/paxosd/0/log/CURRENT")
        self.fails_with("/var/lib/paxosd/0/log/CURRENT belongs to root", "chown -R paxosd: /var/lib/paxosd/0")
        self.sh("chown -R paxosd: /var/lib/paxosd/0")
        self.start()

    def test_a_data_root_elsewhere_than_the_units_is_told(self):
        self.sh("sed -i 's|data_dir: data/0|data_dir: /srv/paxos/0|' /etc/paxosd/cluster.yaml")
        self.addCleanup(self.sh, "sed -i 's|data_dir: /srv/paxos/0|data_dir: data/0|' /etc/paxosd/cluster.yaml")
        self.start()
        self.assertIn("the data lies in /var/lib/paxosd/0 (--data-dir); the config's data_dir, /srv/paxos/0, is not used", self.last_words())
        # Somebody who sends it there by hand meets the unit's confinement, and is told its name.
        self.sh("mkdir -p /etc/systemd/system/paxosd@.service.d /srv/paxos/0; chown paxosd: /srv/paxos/0; printf '%s\\n' '[Service]' 'ExecStart=' "
                "'ExecStart=/usr/local/bin/paxosd --config /etc/paxosd/cluster.yaml --id %i --data-dir /srv/paxos/%i' "
                "> /etc/systemd/system/paxosd@.service.d/data.conf; "
                "sed -i \"s|/usr/local/bin/paxosd|$(command -v paxosd)|\" /etc/systemd/system/paxosd@.service.d/data.conf; "
                "systemctl daemon-reload; systemctl stop paxosd@0")
        self.fails_with("Read-only file system", "ReadWritePaths=/srv/paxos/0")
        self.sh("echo ReadWritePaths=/srv/paxos/%i >>/etc/systemd/system/paxosd@.service.d/data.conf; systemctl daemon-reload")
        self.start()

    def test_a_container_without_credentials_gets_the_cause_and_a_group_for_the_key_helps(self):
        self.sh("mkdir -p /etc/systemd/system/paxosd@.service.d; printf '[Service]\\nLoadCredential=\\n' "
                "> /etc/systemd/system/paxosd@.service.d/key.conf; systemctl daemon-reload")
        self.fails_with("/etc/paxosd/cluster.key: can't be read: Permission denied; this runs as paxosd, who may not",
                        "chgrp paxosd /etc/paxosd/cluster.key; chmod 640 /etc/paxosd/cluster.key", "LoadCredential= in its unit; here it got none")
        self.sh("chgrp paxosd /etc/paxosd/cluster.key; chmod 640 /etc/paxosd/cluster.key")
        self.addCleanup(self.sh, "chgrp root /etc/paxosd/cluster.key; chmod 600 /etc/paxosd/cluster.key")
        self.start()
        self.sh("chmod 644 /etc/paxosd/cluster.key")
        self.node.run("systemctl", "restart", service(0), check=False)
        self.fails_with("may be read by others (mode 0644)", "or 640, where a group of its own")

    def test_a_stop_ends_before_systemd_loses_its_patience_and_tells_why(self):
        self.start()
        shown = self.node.show(service(0), "TimeoutStopUSec")["TimeoutStopUSec"]
        self.assertEqual(shown, "35s")
        began = time.monotonic()
        self.sh("systemctl stop paxosd@0")
        print(f"# a clean stop took {time.monotonic() - began:.2f} s", flush=True)
        self.assertEqual(self.node.show(service(0), "Result")["Result"], "success")


@unittest.skipIf(REASON, REASON)
class LateNetwork(unittest.TestCase):
    """What a power cut of a whole site leaves: everything boots at once, and addresses come when they come."""

    def setUp(self):
        hosts = "s/127.0.0.1:7400/10.79.0.1:7400/; s/127.0.0.1:7401/10.79.0.2:7401/; s/127.0.0.1:7402/10.79.0.3:7402/"
        self.machine = machines.OneMachine(settings=f"sed -i '{hosts}' /etc/paxosd/cluster.yaml")
        self.addCleanup(self.machine.close)
        self.node = self.machine.node
        self.addCleanup(told, self, self.node)

    def waits(self, replica):
        now = self.node.show(service(replica), "ActiveState", "StatusText")
        return now["ActiveState"] == "active" and "does not have that address" in now["StatusText"]

    def test_an_address_that_comes_late_ends_with_all_serving_and_no_unit_failed(self):
        # Not --no-block: a start does not hang on the network.
        self.node.run("systemctl", "start", *map(service, range(3)))
        harness.wait_for("they say what they wait for", lambda: all(self.waits(i) for i in range(3)))
        for i in range(3):
            self.node.run("ip", "addr", "add", f"10.79.0.{i + 1}/32", "dev", "lo")
        wait_healthy(self.node, 3)
        for i in range(3):
            self.assertEqual(self.node.show(service(i), "NRestarts", "ActiveState"), {"NRestarts": "0", "ActiveState": "active"})
        self.assertEqual(self.node.run("systemctl", "list-units", "--failed", "--no-legend", "paxosd@*").stdout.strip(), "")
        self.assertTrue(verify(self.node)["consistent"])

    def test_what_keeps_a_replica_from_running_is_never_given_up_on_and_the_pauses_grow(self):
        self.node.run("sh", "-c", "for i in 1 2 3; do ip addr add 10.79.0.$i/32 dev lo; done; sed -i 's/^heartbeat_ms: 50/heartbeat_ms: fast/' /etc/paxosd/cluster.yaml")
        self.node.run("systemctl", "start", service(0), check=False)
        harness.wait_for("more than a handful of starts", lambda: int(self.node.show(service(0), "NRestarts")["NRestarts"]) >= 5)
        self.assertEqual(self.node.show(service(0), "StartLimitIntervalUSec")["StartLimitIntervalUSec"], "0")
        self.assertRegex(self.node.journal("-u", service(0)), r"the last [3-9] lives of this replica ended within a minute: it starts in [0-9]+ s")
        self.node.run("sed", "-i", "s/^heartbeat_ms: fast/heartbeat_ms: 50/", "/etc/paxosd/cluster.yaml")
        self.node.run("systemctl", "start", service(1), service(2))
        wait_healthy(self.node, 3)  # nobody touched replica 0


@unittest.skipIf(REASON, REASON)
class Upgrade(unittest.TestCase):
    """`paxosctl rolling-restart`, plain and to the next version, while clients write."""

    def setUp(self):
        self.machine = machines.OneMachine()
        self.addCleanup(self.machine.close)
        self.node = self.machine.node
        self.addCleanup(told, self, self.node)
        self.machine.start()

    def install(self, program):
        # As a package does it: under another name, then renamed over the old one, which may be running.
        self.node.run("sh", "-c", f"cp {program} /usr/local/bin/paxosd.new && mv /usr/local/bin/paxosd.new /usr/local/bin/paxosd")

    def rules(self):
        return [r["rules"] for r in status(self.node)["replicas"]]

    def assert_exactly_once(self, room, receipts):
        found = [m["text"] for m in machines.history(self.node, room)]
        self.assertEqual(found, [f"{room} {i}" for i in range(1, len(found) + 1)])
        self.assertGreaterEqual(len(found), len(receipts))

    def test_rolling_restart_takes_one_after_another_and_loses_nothing(self):
        boots = {r["id"]: r["boot"] for r in status(self.node)["replicas"]}
        leader = status(self.node)["leader"]
        writer = machines.Writer(self.node, "roll")
        writer.wait_more(20)
        out = self.node.run("paxosctl", "rolling-restart", "--json").stdout
        writer.wait_more(20)
        self.assert_exactly_once("roll", writer.finish())
        *steps, end = [json.loads(line) for line in out.splitlines()]
        self.assertEqual({s["restarted"]: s["boot"] for s in steps}, {i: boot + 1 for i, boot in boots.items()})
        self.assertEqual(steps[-1]["restarted"], leader, "the leader last")
        self.assertEqual((end["done"], end["restarted"]), (True, 3))
        self.assertTrue(verify(self.node)["consistent"])

    def test_rolling_restart_stops_when_one_does_not_come_back(self):
        self.node.run("sh", "-c", "mkdir -p /run/systemd/system/paxosd@1.service.d && printf '[Service]\\nRestart=no\\n"
                      "RestartForceExitStatus=\\n' >/run/systemd/system/paxosd@1.service.d/test.conf; systemctl daemon-reload")
        boots = {r["id"]: r["boot"] for r in status(self.node)["replicas"]}
        done = self.node.run("paxosctl", "rolling-restart", "--timeout", "5s", "1", "0", "2", check=False)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        stopped = re.search(r"replica 1 did not come back within 5 s: stopped after ([012]) of 3", done.stderr)
        self.assertTrue(stopped, done.stderr)
        after = {r["id"]: r.get("boot") for r in status(self.node)["replicas"] if r["reachable"]}
        self.assertEqual(sum(boots[i] != boot for i, boot in after.items()), int(stopped.group(1)), "others were left alone")
        self.node.run("systemctl", "start", service(1))
        wait_healthy(self.node, 3)

    def test_rolling_restart_by_a_command_of_the_operators(self):
        boots = {r["id"]: r["boot"] for r in status(self.node)["replicas"]}
        self.node.run("paxosctl", "rolling-restart", "--command", "echo {id} {host} >>/run/asked && systemctl restart paxosd@{id}")
        self.assertEqual({r["id"]: r["boot"] for r in status(self.node)["replicas"]}, {i: boot + 1 for i, boot in boots.items()})
        asked = self.node.run("cat", "/run/asked").stdout.splitlines()
        self.assertEqual(sorted(asked), [f"{i} 127.0.0.1" for i in range(3)])
        done = self.node.run("paxosctl", "rolling-restart", "--command", "false", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("`false` failed; nothing more is restarted", done.stderr)

    def test_rolling_restart_refuses_to_begin_while_one_is_missing(self):
        self.node.run("systemctl", "stop", service(2))
        done = self.node.run("paxosctl", "rolling-restart", "--timeout", "1s", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("stopped after 0 of 3: replica 2 does not answer", done.stderr)

    def test_upgrade_to_the_next_version_while_clients_write(self):
        writer = machines.Writer(self.node, "upgrade")
        writer.wait_more(20)
        self.install("/node/paxosd-next")
        # Two of three: they work together with the old one, under the old rules.
        self.node.run("paxosctl", "rolling-restart", "0", "1")
        wait_healthy(self.node, 3)
        writer.wait_more(50)
        self.assertEqual(sorted(r["version"] for r in status(self.node)["replicas"]),
                         [VERSION, VERSION + "+rehearsal", VERSION + "+rehearsal"])
        self.assertEqual(self.rules(), [2, 2, 2])
        self.assertTrue(verify(self.node)["consistent"])
        # Until the last one, there is a way back.
        self.install("/node/root/usr/local/bin/paxosd")
        self.node.run("paxosctl", "rolling-restart", "0")
        self.assertEqual(status(self.node)["replicas"][0]["version"], VERSION)
        self.install("/node/paxosd-next")
        self.node.run("paxosctl", "rolling-restart", "2", "0")
        harness.wait_for("the next rules", lambda: self.rules() == [3, 3, 3])
        writer.wait_more(50)
        self.assert_exactly_once("upgrade", writer.finish())
        self.assertTrue(verify(self.node)["consistent"])
        # And once more from their disks, which say now whose they are.
        self.node.run("paxosctl", "rolling-restart")
        self.assertTrue(verify(self.node)["consistent"])
        self.install("/node/root/usr/local/bin/paxosd")
        self.node.run("systemctl", "restart", "--no-block", service(0))
        harness.wait_for("the refusal in the journal", lambda: "this program knows version" in self.node.journal("-u", service(0)))
        self.install("/node/paxosd-next")
        wait_healthy(self.node, 3)


@unittest.skipIf(REASON, REASON)
class OnThreeMachines(unittest.TestCase):
    """One replica a machine, each with a disk of its own."""

    @classmethod
    def setUpClass(cls):
        cls.machines = machines.SeveralMachines()
        cls.machines.start()

    @classmethod
    def tearDownClass(cls):
        cls.machines.close()

    def setUp(self):
        self.addCleanup(lambda: told(self, *self.machines.nodes.values()))

    def test_a_machine_that_lost_its_power_comes_back_and_is_verified(self):
        nodes = self.machines.nodes
        leader = wait_healthy(nodes[0], 3)["leader"]
        witness = nodes[(leader + 1) % 3]
        boot = status(witness)["replicas"][leader]["boot"]
        writer = machines.Writer(witness, "power")
        writer.wait_more(30)
        self.machines.lose_power(leader)
        writer.wait_more(30)
        back = self.machines.get_power(leader)
        back.run("systemctl", "start", service(leader))
        self.assertEqual(wait_healthy(witness, 3)["replicas"][leader]["boot"], boot + 1)
        writer.wait_more(30)
        receipts = writer.finish()
        verdict = verify(witness)
        self.assertTrue(verdict["consistent"])
        self.assertEqual(len(verdict["replicas"]), 3)
        found = {m["seq"]: m["text"] for m in machines.history(back, "power")}
        for receipt in receipts:
            self.assertEqual(found[receipt["seq"]], receipt["text"])
        self.assertEqual(sorted(found.values()), sorted(f"power {i}" for i in range(1, len(found) + 1)))

    def test_a_machine_whose_disk_hangs_gets_no_more_signs_of_life_and_comes_back(self):
        nodes = self.machines.nodes
        leader = wait_healthy(nodes[0], 3)["leader"]
        victim = nodes[leader]
        folder = f"/run/systemd/system/{service(leader)}.service.d"
        victim.run("sh", "-c", f"mkdir -p {folder} && printf '[Service]\\nWatchdogSec=3s\\n' >{folder}/test.conf && "
                   f"systemctl daemon-reload && systemctl restart {service(leader)}")
        witness = nodes[(leader + 1) % 3]
        wait_healthy(witness, 3)
        writer = machines.Writer(witness, "hung")
        writer.wait_more(20)
        boot = status(witness)["replicas"][leader]["boot"]
        self.machines.disks[leader].freeze()
        try:
            writer.wait_more(50)  # the others go on, whoever led
            harness.wait_for("what the replica says of its disk",
                             lambda: "no more signs of life" in victim.journal("-u", service(leader)))
            harness.wait_for("the watchdog", lambda: "Watchdog timeout" in victim.journal("-u", service(leader)))
        finally:
            self.machines.disks[leader].thaw()
        self.assertGreater(wait_healthy(witness, 3)["replicas"][leader]["boot"], boot)
        receipts = writer.finish()
        self.assertTrue(verify(witness)["consistent"])
        found = [m["text"] for m in machines.history(witness, "hung")]
        self.assertEqual(found, [f"hung {i}" for i in range(1, len(found) + 1)])
        self.assertGreaterEqual(len(found), len(receipts))
        victim.run("sh", "-c", f"rm -r {folder}; systemctl daemon-reload; systemctl restart {service(leader)}")
        wait_healthy(witness, 3)

    def test_a_crashed_daemon_is_restarted_by_its_machine(self):
        nodes = self.machines.nodes
        leader = wait_healthy(nodes[0], 3)["leader"]
        witness = nodes[(leader + 1) % 3]
        witness.run("paxoschat", "send", "--room", "crash", "before")
        nodes[leader].run("systemctl", "kill", "--signal=KILL", service(leader))
        harness.wait_for("the restart", lambda: nodes[leader].show(service(leader), "NRestarts")["NRestarts"] != "0")
        wait_healthy(witness, 3)
        self.assertTrue(verify(witness)["consistent"])
