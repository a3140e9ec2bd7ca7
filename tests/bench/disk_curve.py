#!/usr/bin/env python3
"""What a steady stream takes on one replica's disk, and in its memory, message by message: log, state, both.

A cluster on loopback, a stream of messages of `paxosctl bench`, and a sample a second. With a bounded log the curve of log/
levels off, and with --keep-messages, which has the room keep its last so many, that of state/ too. It ends after so many messages, or
seconds, whichever comes first. Writes an SVG and prints one JSON object.
    tests/bench/disk_curve.py [--messages 0] [--seconds 60] [--keep-mib 64] [--keep-messages 0] [--size 100] [--clients 16] [-o curve.svg]
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/blackbox"))
os.environ.setdefault("PAXOSD_BIN", str(ROOT / "build/bin"))
from harness import BIN, Cluster, die_with_parent, wait_for  # noqa: E402

MIB = 1 << 20


def size_of(folder):
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except FileNotFoundError:  # RocksDB deletes while we look
            pass
    return total


def svg(samples, keep):
    """One line each for log/, state/ and both, over the messages posted."""
    width, height, left, bottom = 760, 420, 70, 50
    right = max(s["messages"] for s in samples) or 1
    top = max(s["log"] + s["state"] for s in samples) / MIB * 1.05 or 1
    x = lambda s: left + s["messages"] / right * (width - left - 20)  # noqa: E731
    y = lambda mib: height - bottom - mib / top * (height - bottom - 30)  # noqa: E731
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>',
           f'<text x="{left}" y="18">MiB on one replica\'s disk, kept: {keep}</text>']
    for part in range(6):
        mib = top * part / 5
        out.append(f'<line x1="{left}" x2="{width - 20}" y1="{y(mib):.1f}" y2="{y(mib):.1f}" stroke="#ddd"/>'
                   f'<text x="{left - 8}" y="{y(mib) + 4:.1f}" text-anchor="end">{mib:.0f}</text>')
        messages = right * part / 5
        at = left + part / 5 * (width - left - 20)
        out.append(f'<text x="{at:.1f}" y="{height - bottom + 18}" text-anchor="middle">{messages:,.0f}</text>')
    out.append(f'<text x="{(width + left) / 2}" y="{height - 8}" text-anchor="middle">messages posted</text>')
    for row, (name, colour, of) in enumerate((("log/", "#c33", lambda s: s["log"]), ("state/", "#36c", lambda s: s["state"]),
                                              ("both", "#333", lambda s: s["log"] + s["state"]))):
        points = " ".join(f"{x(s):.1f},{y(of(s) / MIB):.1f}" for s in samples)
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>')
        out.append(f'<text x="{left + 12}" y="{44 + 16 * row}" fill="{colour}">{name}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


def room_of(cluster):
    """How many messages the stream has posted, and the first one that is kept."""
    for line in cluster.ctl("rooms", "--local", "--json")[1].splitlines():
        room = json.loads(line)
        if room["name"] == "bench":
            return room["messages"], room.get("first_seq", 1)
    return 0, 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=0, help="0: as many as come")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep-mib", type=int, default=64, help="of the log; 0: all of it")
    parser.add_argument("--keep-messages", type=int, default=0, help="of the room; 0: all of them")
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path("disk_curve.svg"))
    options = parser.parse_args()
    cluster = Cluster(f=1, start=False)
    samples = []
    try:
        cluster.config.write_text(cluster.config.read_text() + f"log_keep_mib: {options.keep_mib}\n")
        for replica in range(3):
            cluster.start(replica)
        cluster.wait_healthy()
        wait_for("rules 2", lambda: all(r.get("rules") == 2 for r in cluster.status()["replicas"]))
        if options.keep_messages:
            code, _, err = cluster.ctl("retention", "--all", "--count", options.keep_messages, "--yes")
            if code != 0:
                sys.exit(err)
        load = subprocess.Popen([str(BIN / "paxosctl"), "bench", "--config", str(cluster.config), "--clients", str(options.clients),
                                 "--size", str(options.size), "--outstanding", "16", "--duration", f"{options.seconds}s", "--json"],
                                stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        data = cluster.folder / "data" / "0"
        began = time.monotonic()
        while load.poll() is None:
            time.sleep(1)
            one = cluster.status()["replicas"][0]
            messages, first = room_of(cluster)
            if one["reachable"] and messages:
                samples.append({"applied": one["applied"], "first_slot": one["first_slot"], "messages": messages, "first_seq": first,
                                "log": size_of(data / "log"), "state": size_of(data / "state"), "seconds": time.monotonic() - began})
            if options.messages and messages >= options.messages:
                load.kill()
        load.wait()
    finally:
        cluster.close()
    kept = [f"{options.keep_mib} MiB of the log" if options.keep_mib else "all of the log",
            f"the last {options.keep_messages:,} messages" if options.keep_messages else "all messages"]
    options.output.write_text(svg(samples, " and ".join(kept)))
    half = samples[len(samples) // 2:]
    span = lambda rows, of: [round(min(s[of] for s in rows) / MIB, 1), round(max(s[of] for s in rows) / MIB, 1)]  # noqa: E731
    last = samples[-1]
    print(json.dumps({"messages": last["messages"], "throughput": round(last["messages"] / last["seconds"]), "samples": len(samples),
                      "log_mib_max": span(samples, "log")[1], "log_mib_second_half": span(half, "log"),
                      "state_mib_second_half": span(half, "state"), "state_mib": round(last["state"] / MIB, 1),
                      "first_slot": last["first_slot"], "applied": last["applied"], "first_seq": last["first_seq"]}))


if __name__ == "__main__":
    main()
