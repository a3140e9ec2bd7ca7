#!/usr/bin/env python3
"""Loads 3 etcd members and 3 replicas of ours in turn, in one run on one disk, and prints both and the ratio.

Interleaved (A B A B ...), since machines drift; medians of the rounds. Every write is durable on a majority in both.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def free_ports(count, kind):
    held = [socket.socket(socket.AF_INET, kind) for _ in range(count)]
    for s in held:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def wait_until(what, condition, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.1)
    raise SystemExit(f"peers: {what}: not within {seconds} s")


class Etcd:
    name = "etcd"

    def __init__(self, directory, load):
        self.load = load
        ports = free_ports(6, socket.SOCK_STREAM)
        peers = [f"http://127.0.0.1:{p}" for p in ports[:3]]
        self.client_ports = ports[3:]
        cluster = ",".join(f"m{i}={peers[i]}" for i in range(3))
        self.processes = []
        for i in range(3):
            client = f"http://127.0.0.1:{self.client_ports[i]}"
            self.processes.append(subprocess.Popen(
                ["etcd", "--name", f"m{i}", "--data-dir", str(directory / f"m{i}"),
                 "--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i],
                 "--listen-client-urls", client, "--advertise-client-urls", client,
                 "--initial-cluster", cluster, "--initial-cluster-state", "new", "--logger", "zap",
                 "--log-level", "error", "--quota-backend-bytes", str(4 << 30)],
                stdout=subprocess.DEVNULL, stderr=open(directory / f"m{i}.log", "w")))
        wait_until("etcd elects a leader", lambda: self.leader() is not None)

    def leader(self):
        endpoints = ",".join(f"127.0.0.1:{p}" for p in self.client_ports)
        answer = subprocess.run(["etcdctl", "--endpoints", endpoints, "endpoint", "status", "-w", "json"],
                                env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, text=True)
        try:
            for one in json.loads(answer.stdout):
                if one["Status"]["header"]["member_id"] == one["Status"]["leader"]:
                    return int(one["Endpoint"].rsplit(":", 1)[1])
        except (ValueError, KeyError):
            pass
        return None

    def run(self, clients, seconds, warmup, size):
        # To the leader directly: a follower would add a hop that our client does not have either.
        answer = subprocess.run([self.load, "127.0.0.1", str(self.leader()), str(clients), str(seconds), str(warmup),
                                 str(size)], capture_output=True, text=True)
        if answer.returncode != 0:
            raise SystemExit(f"peers: the load on etcd failed: {answer.stderr}")
        return json.loads(answer.stdout)

    def stop(self):
        for p in self.processes:
            p.send_signal(signal.SIGKILL)
        for p in self.processes:
            p.wait()


class Ours:
    name = "paxosd"

    def __init__(self, directory, binaries):
        self.ctl = str(binaries / "paxosctl")
        port = free_ports(1, socket.SOCK_DGRAM)[0] % 20000 + 20000
        self.config = str(directory / "cluster.yaml")
        subprocess.run([self.ctl, "config", "generate", "-f", "1", "-o", self.config, "--base-port", str(port)],
                       check=True, stdout=subprocess.DEVNULL)
        self.processes = [subprocess.Popen([str(binaries / "paxosd"), "--config", self.config, "--id", str(i)],
                                           stdout=subprocess.DEVNULL, stderr=open(directory / f"r{i}.log", "w"))
                          for i in range(3)]
        wait_until("our replicas elect a leader", self.healthy)

    def healthy(self):
        return subprocess.run([self.ctl, "status", "--config", self.config, "--json"],
                              capture_output=True).returncode == 0

    def run(self, clients, seconds, warmup, size):
        answer = subprocess.run([self.ctl, "bench", "--config", self.config, "--clients", str(clients), "--size", str(size),
                                 "--duration", f"{seconds}s", "--warmup", f"{warmup}s", "--json"],
                                capture_output=True, text=True)
        if answer.returncode != 0:
            raise SystemExit(f"peers: paxosctl bench failed: {answer.stderr}")
        return json.loads(answer.stdout)

    stop = Etcd.stop


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="folder of paxosd and paxosctl")
    parser.add_argument("--clients", default="1 16 64")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--warmup", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--dir", type=pathlib.Path, help="where the data goes: a real disk, not a tmpfs")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="exit 1 below the figures that the project promises")
    options = parser.parse_args()
    if shutil.which("etcd") is None:
        raise SystemExit("peers: etcd is not installed: apt-get install etcd-server etcd-client")
    base = pathlib.Path(tempfile.mkdtemp(prefix="peers-", dir=options.dir))
    load = str(base / "etcd-load")
    subprocess.run(["clang++-19", "-std=c++20", "-O2", str(ROOT / "tests/bench/etcd_load.cc"), "-o", load, "-lnghttp2"],
                   check=True)
    results = {}
    try:
        for round_number in range(options.rounds):
            for make in (lambda d: Etcd(d, load), lambda d: Ours(d, options.bin.resolve())):
                directory = base / f"round{round_number}-{len(results)}-{time.monotonic_ns()}"
                directory.mkdir()
                peer = make(directory)
                try:
                    for clients in map(int, options.clients.split()):
                        one = peer.run(clients, options.seconds, options.warmup, options.size)
                        results.setdefault((clients, peer.name), []).append(one)
                finally:
                    peer.stop()
                shutil.rmtree(directory, ignore_errors=True)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    ok = True
    table = []
    for clients in map(int, options.clients.split()):
        row = {"clients": clients}
        for name in ("etcd", "paxosd"):
            runs = results[(clients, name)]
            row[name] = {"throughput": statistics.median(r["throughput"] for r in runs),
                         "p50_us": statistics.median(r["latency_us"]["p50"] for r in runs),
                         "p99_us": statistics.median(r["latency_us"]["p99"] for r in runs)}
        row["throughput_ratio"] = row["paxosd"]["throughput"] / row["etcd"]["throughput"]
        row["p50_ratio"] = row["paxosd"]["p50_us"] / row["etcd"]["p50_us"]
        table.append(row)
        if clients == 64:
            ok = ok and row["throughput_ratio"] >= 5 and row["p50_ratio"] <= 1 / 3
        if clients == 1:
            ok = ok and row["throughput_ratio"] >= 2
    if options.json:
        print(json.dumps(table))
    else:
        print(f"{'writers':>8} {'etcd /s':>10} {'p50 us':>8} {'p99 us':>8} {'paxosd /s':>11} {'p50 us':>8} {'p99 us':>8} "
              f"{'times':>6} {'p50 share':>9}")
        for r in table:
            e, o = r["etcd"], r["paxosd"]
            print(f"{r['clients']:>8} {e['throughput']:>10.0f} {e['p50_us']:>8.0f} {e['p99_us']:>8.0f} "
                  f"{o['throughput']:>11.0f} {o['p50_us']:>8.0f} {o['p99_us']:>8.0f} "
                  f"{r['throughput_ratio']:>6.1f} {r['p50_ratio']:>9.2f}")
        print(f"medians of {options.rounds} interleaved rounds, {options.size}-byte values, 3 replicas each, one disk")
    return 0 if ok or not options.check else 1


if __name__ == "__main__":
    sys.exit(main())
