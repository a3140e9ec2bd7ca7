#!/usr/bin/env python3
"""The same seeds give the same trace hash in this tree's build and in the release build: same_trace.py OURS RELEASE SEEDS"""
import pathlib
import re
import subprocess
import sys

ours, release, seeds = sys.argv[1:]
if not pathlib.Path(release).exists():
    print(f"no release build to compare with: scripts/build release makes {release}")
    sys.exit(77)  # meson: skipped
traces = []
for program in (ours, release):
    done = subprocess.run([program, "--seeds", seeds, "--jobs", "1"], capture_output=True, text=True)
    found = re.search(r"violations, trace ([0-9a-f]{16})", done.stdout)
    if done.returncode != 0 or not found:
        sys.exit(f"{program}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    traces.append(found[1])
print(f"{seeds} seeds: {' and '.join(traces)}")
sys.exit(traces[0] != traces[1])
