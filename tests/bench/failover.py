#!/usr/bin/env python3
"""How long writes stand still when the primary is killed, in multiples of the election timeout.

One client writes in a closed loop; the primary gets kill -9; the time to the next receipt is measured; the dead one comes
back; again. Prints the quantiles; exit 1 when the p99 is above 4 election timeouts.
    tests/bench/failover.py [--trials 50]
"""
import argparse
import os
import pathlib
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/blackbox"))
os.environ.setdefault("PAXOSD_BIN", str(ROOT / "build/bin"))
from harness import BIN, Cluster, die_with_parent, wait_for  # noqa: E402

ELECTION_TIMEOUT = 0.25  # as `paxosctl config generate` writes it


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=50)
    trials = parser.parse_args().trials
    cluster = Cluster(f=1)
    gaps = []
    try:
        client = subprocess.Popen([str(BIN / "paxoschat"), "send", "--config", str(cluster.config), "--room", "failover",
                                   "--timeout", "60s", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  preexec_fn=die_with_parent)
        receipts = []
        stop = threading.Event()

        def loop():
            n = 0
            while not stop.is_set():
                client.stdin.write(f"message {n}\n".encode())
                client.stdin.flush()
                if not client.stdout.readline():
                    return
                receipts.append(time.monotonic())
                n += 1
        writer = threading.Thread(target=loop)
        writer.start()
        for _ in range(trials):
            leader = cluster.leader()
            count = len(receipts)
            wait_for("writes go on", lambda: len(receipts) > count + 3)
            at = time.monotonic()
            cluster.kill(leader)
            wait_for("a write after the crash", lambda: receipts[-1] > at + 0.001)
            gaps.append(next(r for r in receipts if r > at + 0.001) - at)
            cluster.start(leader)
            wait_for("the dead one is back", lambda: all(
                r["reachable"] and r["voting"] for r in cluster.status()["replicas"]))
        stop.set()
        writer.join(timeout=60)
        client.stdin.close()
        client.wait(timeout=60)
    finally:
        cluster.close()
    gaps.sort()
    in_timeouts = [g / ELECTION_TIMEOUT for g in gaps]
    at = lambda q: in_timeouts[min(len(gaps) - 1, int(q * len(gaps)))]  # noqa: E731
    print(f"{len(gaps)} crashes of the primary; writes stood still for, in election timeouts of {ELECTION_TIMEOUT * 1000:.0f} ms: "
          f"p50 {at(0.5):.2f}, p90 {at(0.9):.2f}, p99 {at(0.99):.2f}, max {in_timeouts[-1]:.2f}")
    return 0 if at(0.99) <= 4 else 1


if __name__ == "__main__":
    sys.exit(main())
