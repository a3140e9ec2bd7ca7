"""The alert rules and the dashboard, judged by Prometheus itself: series made up for each alert, and a live cluster that is
scraped. Skipped, with the reason, where Debian's package `prometheus` is not installed: scripts/install leaves it out, since
its server would listen on all addresses of the machine from then on. The one started here listens on loopback."""
import json
import pathlib
import re
import shutil
import socket
import subprocess
import unittest
import urllib.error
import urllib.parse
import urllib.request

from harness import BIN, ClusterTest, die_with_parent, free_ports, wait_for

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RULES = ROOT / "docs/alerts.yaml"
CASES = HERE / "alerts_test.yaml"


def missing(program):
    return "" if shutil.which(program) else f"there is no {program} (package prometheus)"


@unittest.skipIf(missing("promtool"), missing("promtool"))
class Rules(unittest.TestCase):
    def promtool(self, *arguments):
        done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=240)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_the_rules_are_sound(self):
        alerts = re.findall(r"^ +- alert: (\w+)$", RULES.read_text(), re.M)
        self.assertIn(f"SUCCESS: {len(alerts)} rules found", self.promtool("check", "rules", RULES))

    def test_each_alert_fires_on_what_it_is_meant_for_and_not_on_a_healthy_cluster(self):
        self.assertIn("SUCCESS", self.promtool("test", "rules", CASES))
        # Nothing to fire: promtool would be content with rules that nobody tries.
        cases = CASES.read_text()
        alone = re.findall(r'labels: \'ALERTS\{alertname="(\w+)",alertstate="firing"', cases)
        rendered = re.findall(r"^ +- alertname: (\w+)\n.*\n +exp_alerts:\n +- exp_labels", cases, re.M)
        self.assertEqual(sorted(alone + rendered), sorted(re.findall(r"^ +- alert: (\w+)$", RULES.read_text(), re.M)))


@unittest.skipIf(missing("prometheus"), missing("prometheus"))
class Scraped(ClusterTest):
    """A Prometheus that scrapes a busy cluster each second."""

    def setUp(self):
        self.live = self.cluster(metrics=True)
        self.port = free_ports(1, socket.SOCK_STREAM)
        folder = self.live.folder
        targets = ", ".join(f'"127.0.0.1:{self.live.metrics_port + i}"' for i in range(3))
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            f"rule_files: [{json.dumps(str(RULES))}]\n"
            f"scrape_configs: [{{job_name: paxosd, static_configs: [{{targets: [{targets}]}}]}}]\n")
        log = open(folder / "prometheus.log", "wb")
        server = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
             f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)
        log.close()
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        wait_for("three targets that are scraped", lambda: self.value_of("sum(up)") == 3)
        # Work all along, a few datagrams lost, and one large message in parts.
        self.live.ctl_done("loss", 0.01)
        bench = subprocess.Popen([str(BIN / "paxosctl"), "bench", "--config", str(self.live.config), "--clients", "4",
                                  "--duration", "120s", "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        self.addCleanup(bench.wait)
        self.addCleanup(bench.kill)

    def api(self, path, **arguments):
        query = urllib.parse.urlencode(arguments, doseq=True)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}", timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refused:
            if refused.code == 503:
                return None  # it still reads its own disk
            self.fail(f"{arguments}: {refused.read().decode()}")
        except urllib.error.URLError:
            return None  # not listening yet

    def series(self, expr):
        data = self.api("query", query=expr)
        return data["result"] if data else []

    def value_of(self, expr):
        found = self.series(expr)
        return float(found[0]["value"][1]) if found else None

    def test_every_panel_of_the_dashboard_has_data_on_a_busy_cluster(self):
        board = json.loads((ROOT / "docs/grafana.json").read_text())
        tried = 0
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                # As Grafana fills its variables in: the cluster, all replicas, four scrapes.
                expr = target["expr"].replace("$cluster", "demo").replace("$replica", ".*").replace("$__rate_interval", "15s")
                self.assertNotIn("$", expr)
                tried += 1

                def shown(expr=expr):
                    return [s["metric"] for s in self.series(expr) if s["value"][1] != "NaN"]
                # Nothing fails to be sent on loopback.
                if "paxosd_datagrams_unsent_total" in expr:
                    shown()
                    continue
                found = wait_for(f"data for '{panel['title']}': {expr}", shown)
                for label in re.findall(r"\{\{ *(\w+) *\}\}", target["legendFormat"]):
                    for metric in found:
                        self.assertIn(label, metric, f"the legend of '{panel['title']}'")
        self.assertGreater(tried, 50)
        # What the variables offer.
        self.assertEqual(self.api("label/cluster/values", **{"match[]": "paxosd_build_info"}), ["demo"])
        self.assertEqual(self.api("label/replica/values", **{"match[]": 'paxosd_build_info{cluster="demo"}'}), ["0", "1", "2"])

    def test_alerts_are_quiet_until_a_replica_is_gone(self):
        alerts = re.findall(r"^ +- alert: (\w+)$", RULES.read_text(), re.M)

        def rules():
            data = self.api("rules", type="alert")
            found = [r for g in data["groups"] for r in g["rules"]]
            return {r["name"]: r for r in found} if all(r["health"] == "ok" for r in found) else None
        evaluated = wait_for("all rules evaluated", rules)
        self.assertEqual(sorted(evaluated), sorted(alerts))
        self.assertEqual([name for name, rule in evaluated.items() if rule["state"] == "firing"], [])
        leader = self.live.leader()
        victim = (leader + 1) % 3
        self.live.kill(victim)
        expected = {"PaxosdReplicaDown", "PaxosdQuorumAtRisk", "PaxosdDisconnected"}

        def pending():
            now = rules()
            return now and all(now[name]["state"] in ("pending", "firing") for name in expected)
        wait_for("alerts of a missing replica", pending)
        down = rules()["PaxosdReplicaDown"]["alerts"]
        self.assertEqual([a["labels"]["instance"] for a in down], [f"127.0.0.1:{self.live.metrics_port + victim}"])
        self.assertTrue(all(a["value"] == "1e+00" for a in rules()["PaxosdDisconnected"]["alerts"]))
