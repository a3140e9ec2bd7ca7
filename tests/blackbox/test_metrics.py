"""What a replica serves to Prometheus, over HTTP, and the documents that speak of it."""
import json
import pathlib
import re
import socket
import time
import urllib.error
import urllib.request

from harness import ClusterTest, run, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLE = re.compile(r'^([a-z_]+)(?:\{(.*)\})? (\S+)$')


def scrape(cluster, replica):
    """(family -> type, (name, labels) -> value); labels without cluster and replica, as a sorted tuple."""
    with urllib.request.urlopen(f"http://127.0.0.1:{cluster.metrics_port + replica}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    values = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, labels, value = SAMPLE.match(line).groups()
        labels = dict(re.findall(r'(\w+)="([^"]*)"', labels or ""))
        assert labels.pop("cluster") == "demo" and labels.pop("replica") == str(replica), line
        values[name, tuple(sorted(labels.items()))] = float(value)
    return types, values


def value(cluster, replica, name, **labels):
    return scrape(cluster, replica)[1][name, tuple(sorted(labels.items()))]


class Metrics(ClusterTest):
    def test_the_table_in_the_docs_is_what_is_served(self):
        cluster = self.cluster(metrics=True)
        types, values = scrape(cluster, 0)
        table = {}
        for name, kind, labels in re.findall(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \| ([^|]*) \|",
                                             (ROOT / "docs/METRICS.md").read_text(), re.M):
            self.assertNotIn(name, table)
            table[name] = (kind, set(re.findall(r"`(\w+)`", labels)))
        served = {name: (kind, set()) for name, kind in types.items()}
        for name, labels in values:
            family = name if name in served else re.sub(r"_(bucket|sum|count)$", "", name)
            served[family][1].update(key for key, _ in labels if key != "le")
        self.assertEqual(table, served)

    def test_dashboard_and_alerts_speak_of_what_is_served(self):
        cluster = self.cluster(metrics=True)
        types, values = scrape(cluster, 0)
        known = {name for name, _ in values}
        board = json.loads((ROOT / "docs/grafana.json").read_text())
        self.assertEqual(len({p["id"] for p in board["panels"]}), len(board["panels"]))
        words = [t["expr"] for p in board["panels"] for t in p.get("targets", [])]
        named = set(re.findall(r"\b(?:paxosd|process)_[a-z_]+", " ".join(words)))
        self.assertEqual(named - known, set())
        shown = {re.sub(r"_(bucket|sum|count)$", "", n) if n not in types else n for n in named}
        self.assertEqual(set(types) - shown, {
            "paxosd_build_info", "paxosd_boots_total", "paxosd_replicas", "paxosd_messages_oversized_total",
            "paxosd_reassembly_bytes", "paxosd_stored_answer_bytes", "paxosd_http_refused_total", "paxosd_disk_full", "paxosd_disk_reserve_bytes", "process_open_fds", "process_start_time_seconds"},
            "what no panel shows is left out on purpose")
        rules = (ROOT / "docs/alerts.yaml").read_text()
        expressions = re.findall(r"^ +expr: (.*)$", rules, re.M)
        alerts = re.findall(r"^ +- alert: (\w+)$", rules, re.M)
        self.assertEqual(len(alerts), len(set(alerts)))
        self.assertEqual(len(alerts), len(expressions))
        self.assertEqual(set(re.findall(r"\bpaxosd_[a-z_]+", " ".join(expressions))) - known, set())
        runbooks = re.findall(r"^ +runbook: docs/OPERATIONS\.md#([a-z-]+)$", rules, re.M)
        self.assertEqual(len(runbooks), len(alerts))
        guide = ROOT / "docs/OPERATIONS.md"
        if guide.exists():
            headings = {re.sub(r"[^a-z0-9 -]", "", h.lower()).strip().replace(" ", "-")
                        for h in re.findall(r"^#+ (.*)$", guide.read_text(), re.M)}
            self.assertEqual(set(runbooks) - headings, set(), "a runbook without its section")
        rows = re.findall(r"^\| `(Paxosd\w+)` \|", (ROOT / "docs/METRICS.md").read_text(), re.M)
        self.assertEqual(sorted(rows), sorted(alerts))

    def test_the_dashboard_is_built_as_grafana_expects(self):
        board = json.loads((ROOT / "docs/grafana.json").read_text())
        self.assertGreaterEqual(board["schemaVersion"], 36)
        self.assertRegex(board["uid"], r"^[A-Za-z0-9_-]{1,40}$")
        source = {"type": "prometheus", "uid": "${datasource}"}
        variables = {v["name"]: v for v in board["templating"]["list"]}
        self.assertEqual((variables["datasource"]["type"], variables["datasource"]["query"]), ("datasource", "prometheus"))
        for name in set(variables) - {"datasource"}:
            self.assertEqual((variables[name]["type"], variables[name]["datasource"]), ("query", source))
            self.assertRegex(variables[name]["query"]["query"], r"^label_values\(paxosd_\w+(\{.*\})?, \w+\)$")
        taken = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
            self.assertTrue(cells, panel["title"])
            self.assertEqual(cells & taken, set(), f"'{panel['title']}' covers another panel")
            taken |= cells
            if panel["type"] == "row":
                self.assertEqual(panel.get("targets", []), [])
                continue
            self.assertIn(panel["type"], ("stat", "timeseries"))
            self.assertEqual(panel["datasource"], source, panel["title"])
            self.assertTrue(panel["targets"], panel["title"])
            refs = [t["refId"] for t in panel["targets"]]
            self.assertEqual(len(refs), len(set(refs)), panel["title"])
            for target in panel["targets"]:
                self.assertEqual(target["datasource"], source)
                used = set(re.findall(r"\$\{?(\w+)", target["expr"])) - {"__rate_interval"}
                self.assertEqual(used - set(variables), set(), target["expr"])

    def test_counters_rise_with_messages_and_count_a_leader_change(self):
        cluster = self.cluster(metrics=True)
        leader = cluster.leader()
        before = [scrape(cluster, replica)[1] for replica in range(3)]
        code, _, err = cluster.chat("send", "--room", "counted", "-", text="".join(f"line {i}\n" for i in range(200)))
        self.assertEqual(code, 0, err)
        cluster.wait_all_applied()
        after = [scrape(cluster, replica)[1] for replica in range(3)]

        def grew(replica, name, **labels):
            key = name, tuple(sorted(labels.items()))
            return after[replica][key] - before[replica][key]

        for replica in range(3):
            self.assertGreaterEqual(grew(replica, "paxosd_commands_applied_total", verdict="done"), 200)
            self.assertGreater(grew(replica, "paxosd_slots_applied_total"), 0)
            self.assertGreater(grew(replica, "paxosd_log_sync_duration_seconds_count"), 0)
            self.assertGreater(grew(replica, "paxosd_log_sync_duration_seconds_sum"), 0)
            self.assertGreater(grew(replica, "paxosd_ring_completions_total"), 0)
            self.assertEqual(after[replica]["paxosd_rooms", ()], 1)
            self.assertEqual(after[replica]["paxosd_role", (("role", "leader"),)], replica == leader)
        self.assertGreater(after[leader]["paxosd_disk_free_bytes", ()], 0)
        self.assertGreater(after[leader]["paxosd_rocksdb_wal_bytes", (("db", "log"),)], 0)
        # Times are of the leader's own slots, all of them.
        self.assertGreater(grew(leader, "paxosd_slots_proposed_total"), 0)
        def all_timed():
            now = scrape(cluster, leader)[1]
            return now["paxosd_commit_duration_seconds_count", ()] == now["paxosd_slots_proposed_total", ()]
        wait_for("every proposed slot is timed", all_timed)
        changes = {r: after[r]["paxosd_leader_changes_total", ()] for r in range(3)}
        cluster.kill(leader)
        cluster.wait_healthy()
        for replica in set(range(3)) - {leader}:
            wait_for("the change is counted", lambda r=replica: value(cluster, r, "paxosd_leader_changes_total") > changes[r])
            self.assertEqual(value(cluster, replica, "paxosd_voting"), 1)
            wait_for("the loss is noticed", lambda r=replica: value(cluster, r, "paxosd_connected_replicas") == 2)

    def test_dropped_datagrams_are_counted_by_reason(self):
        cluster = self.cluster(metrics=True)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for junk in (b"x", b"y" * 200):
                stranger.sendto(junk, ("127.0.0.1", cluster.base_port))
        for reason in ("short", "magic"):
            wait_for(reason, lambda r=reason: value(cluster, 0, "paxosd_datagrams_dropped_total", reason=r) >= 1)
        cluster.ctl_done("loss", 0.5, "--replica", 0)
        wait_for("lost ones", lambda: value(cluster, 0, "paxosd_datagrams_dropped_total", reason="injected_loss") > 0)

    def status_of(self, cluster, method, path):
        request = urllib.request.Request(f"http://127.0.0.1:{cluster.metrics_port}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as refused:
            return refused.code

    def test_a_replica_that_stands_still_answers_503(self):
        cluster = self.cluster(metrics=True)
        self.assertEqual(self.status_of(cluster, "GET", "/"), 404)
        self.assertEqual(self.status_of(cluster, "POST", "/metrics"), 405)
        cluster.ctl_done("pause", 0, "--for", "4s")
        wait_for("the 503", lambda: self.status_of(cluster, "GET", "/metrics") == 503, deadline=20)
        wait_for("it goes on", lambda: self.status_of(cluster, "GET", "/metrics") == 200)
        self.assertGreaterEqual(value(cluster, 0, "paxosd_http_responses_total", code="503"), 1)

    def test_slow_and_many_clients_stall_nobody(self):
        cluster = self.cluster(metrics=True)
        leader = cluster.leader()
        held = []
        for i in range(40):
            s = socket.create_connection(("127.0.0.1", cluster.metrics_port + leader), timeout=10)
            self.addCleanup(s.close)
            s.sendall(b"GET /metrics HTTP/1.1\r\n" + (b"\r\n" if i % 2 else b""))  # half of them never end their request
            held.append(s)
        started = time.monotonic()
        code, _, err = cluster.chat("send", "--room", "busy", "-", text="".join(f"line {i}\n" for i in range(50)))
        self.assertEqual(code, 0, err)
        self.assertLess(time.monotonic() - started, 30)
        self.assertEqual(cluster.leader(), leader)
        # The slow ones are cut off after 5 s, and there is room again.
        wait_for("a scrape", lambda: self.room(cluster, leader), deadline=30)

    @staticmethod
    def room(cluster, replica):
        try:
            return value(cluster, replica, "paxosd_http_refused_total") > 0
        except OSError:
            return False

    def test_a_metrics_address_that_is_taken_costs_the_metrics_alone_until_it_is_free(self):
        cluster = self.cluster(metrics=True, start=False)
        log = cluster.folder / "replica0.log"
        with socket.create_server(("127.0.0.1", cluster.metrics_port)):
            for replica in range(cluster.replicas):
                cluster.start(replica)
            cluster.wait_healthy()
            wait_for("the word of what is not served", lambda: "goes on without, and tries again" in log.read_text())
            line = next(line for line in log.read_text().splitlines() if "goes on without" in line)
            self.assertIn(f"127.0.0.1:{cluster.metrics_port} (key 'metrics'", line)
            self.assertIn("in use", line)
        wait_for("served once the port is free", lambda: "metrics on http://" in log.read_text())
        self.assertEqual(value(cluster, 0, "paxosd_replicas"), cluster.replicas)

    def test_a_metrics_address_that_can_not_be_read_is_named_with_its_place(self):
        cluster = self.cluster(metrics=True, start=False)
        cluster.config.write_text(cluster.config.read_text().replace(f'"127.0.0.1:{cluster.metrics_port}"', '"nowhere"'))
        code, _, err = run("paxosctl", "config", "check", cluster.config)
        self.assertEqual(code, 1, err)
        self.assertRegex(err, r"cluster\.yaml:\d+: key 'metrics': write host:port")

    def test_without_the_key_nothing_listens(self):
        cluster = self.cluster()
        for process in cluster.processes.values():
            sockets = {p.readlink().name for p in pathlib.Path(f"/proc/{process.pid}/fd").iterdir()
                       if p.readlink().name.startswith("socket:")}
            tcp = pathlib.Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]
            listening = {f"socket:[{line.split()[9]}]" for line in tcp if line.split()[3] == "0A"}
            self.assertEqual(sockets & listening, set())
