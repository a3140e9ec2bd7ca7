#!/usr/bin/env python3
"""The demonstration: five replicas elect a primary, ten clients chat through it, the primary dies, slots are skipped and
healed, packets are lost, the dead come back; at the end five equal hashes and no message lost or doubled."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/blackbox"))
os.environ["PAXOSD_BIN"] = sys.argv[1] if len(sys.argv) > 1 else str(pathlib.Path(__file__).resolve().parents[1] / "build/bin")
from harness import Cluster, Sender, wait_for  # noqa: E402

COLOUR = sys.stdout.isatty()
MESSAGES = 100
CLIENTS = 10


def say(text, style="1"):
    print(f"\033[{style}m{text}\033[0m" if COLOUR else text, flush=True)


def step(text):
    print(flush=True)
    say(f"== {text}", "1;34")


def show(*words):
    print(f"$ {' '.join(map(str, words))}", flush=True)


def start_clients(cluster, phase):
    return [Sender(cluster, "incident", [f"{phase}: client {c} message {m}" for m in range(MESSAGES)],
                   "--name", f"client{c}", "--timeout", "60s") for c in range(CLIENTS)]


def finish(senders, receipts):
    for sender in senders:
        code, lines, err = sender.finish()
        if code != 0 or len(lines) != MESSAGES:
            raise AssertionError(f"a client got {len(lines)} of {MESSAGES} receipts (exit {code}): {err}")
        receipts += lines
    print(f"  {len(senders)} clients: {len(senders) * MESSAGES} messages acknowledged", flush=True)


def table(cluster):
    show("paxosctl status")
    print(cluster.ctl("status")[1], end="", flush=True)


def main():
    began = time.monotonic()
    step("Five replicas start; the first start needs every one of them once, then they elect a primary")
    cluster = Cluster(f=2, start=False)
    try:
        show("paxosctl config generate -f 2")
        for replica in range(5):
            show(f"paxosd --config cluster.yaml --id {replica} &")
            cluster.start(replica)
        cluster.wait_healthy()
        table(cluster)
        receipts = []

        step(f"Normal operation: {CLIENTS} clients chat through the primary")
        finish(start_clients(cluster, "calm"), receipts)

        step("The primary dies in the middle of it, as if its power failed")
        senders = start_clients(cluster, "crash")
        seen = len(receipts)
        wait_for("messages are on their way", lambda: len(cluster.history("incident", "--local")) > seen)
        first = cluster.leader()
        show("paxosctl kill leader")
        cluster.kill(first)
        finish(senders, receipts)
        print(f"  replica {first} is dead, replica {cluster.leader()} leads", flush=True)

        step("Slots are skipped: the log stands still above a hole, until the next primary fills it with a no-op")
        code, out, err = cluster.ctl("skip", "--next", 2, "--json")
        if code != 0:
            raise AssertionError(err)
        skipped = json.loads(out)["skipped"]
        show("paxosctl skip --next 2")
        print(f"  slots {skipped} are left empty", flush=True)
        code, _, err = cluster.chat("send", "--room", "incident", "--timeout", "1s", "does anyone read this?")
        if code != 3:
            raise AssertionError(f"a message was acknowledged above a hole (exit {code})")
        print(f"  {err.strip().splitlines()[-1]}", flush=True)
        second = cluster.leader()
        show("paxosctl kill leader")
        cluster.kill(second)
        cluster.wait_healthy()
        finish(start_clients(cluster, "healed"), receipts)

        step("The dead come back and catch up")
        for replica in (first, second):
            show(f"paxosd --config cluster.yaml --id {replica} &")
            cluster.start(replica)
        cluster.wait_all_applied()
        kinds = {e["slot"]: e["kind"] for e in cluster.log(first, "--from", skipped[0], "--to", skipped[-1])}
        print(f"  in the log of replica {first}, which slept through it: "
              + ", ".join(f"slot {s} is a {kinds[s]}" for s in skipped), flush=True)
        if any(kinds[s] != "noop" for s in skipped):
            raise AssertionError("a skipped slot did not become a no-op")

        step("A tenth of all packets is lost")
        show("paxosctl loss 10%")
        cluster.ctl("loss", "10%")
        finish(start_clients(cluster, "lossy"), receipts)
        cluster.ctl("loss", "0")

        step("What is left: five equal hashes, and every message exactly once")
        cluster.wait_all_applied()
        table(cluster)
        show("paxosctl verify --full")
        code, out, err = cluster.ctl("verify", "--full")
        print(out, end="", flush=True)
        if code != 0:
            raise AssertionError(err)
        history = cluster.history("incident")
        texts = [m["text"] for m in history]
        lost = sum(1 for r in receipts if r["text"] not in set(texts))
        doubled = len(texts) - len(set(texts))
        print(flush=True)
        if lost or doubled:
            raise AssertionError(f"{lost} messages lost, {doubled} doubled")
        say(f"{len(receipts)} messages acknowledged, 0 lost, 0 doubled; "
            f"2 crashes, 2 skipped slots, 10 % loss; {time.monotonic() - began:.0f} s", "1;32")
        return 0
    except (AssertionError, subprocess.TimeoutExpired, json.JSONDecodeError) as trouble:
        kept = pathlib.Path(tempfile.mkdtemp(prefix="paxosd-demo-"))
        for log in cluster.folder.glob("*.log"):
            shutil.copy(log, kept)
        say(f"The demonstration failed: {trouble}", "1;31")
        print(f"The replicas' logs are in {kept}. Please report them.", flush=True)
        return 1
    finally:
        cluster.close()


if __name__ == "__main__":
    sys.exit(main())
