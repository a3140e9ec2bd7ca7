#!/usr/bin/env python3
"""Every header compiles alone, one claim a room. Prints TAP. Through ccache where it is there, so only the first run is slow."""
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from tracked import tracked

ROOT = pathlib.Path(__file__).resolve().parents[1]
COMPILER = (["ccache"] if shutil.which("ccache") else []) + ["clang++-19"]
FLAGS = ["-std=c++20", "-Wno-pragma-once-outside-header", "-I.", '-DPAXOSD_VERSION="0"', "-x", "c++", "-c"]

headers = tracked(".h")


def complaint(header, folder):
    """What the compiler says against it; empty when nothing."""
    out = os.path.join(folder, header.replace("/", "-") + ".o")
    done = subprocess.run([*COMPILER, *FLAGS, header, "-o", out], cwd=ROOT, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr[:2000] or f"status {done.returncode}"


with tempfile.TemporaryDirectory() as scratch, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    said = dict(zip(headers, pool.map(lambda header: complaint(header, scratch), headers)))

rooms = sorted({header.split("/")[0] for header in headers})
bad = 0
for number, room in enumerate(rooms, 1):
    wrong = [header for header in headers if header.split("/")[0] == room and said[header]]
    for header in wrong:
        for line in said[header].splitlines():
            print(f"# {header}: {line}")
    bad += bool(wrong)
    print(f"{'not ok' if wrong else 'ok'} {number} - the headers of {room}/ compile alone")
print(f"1..{len(rooms)}")
sys.exit(1 if bad or not rooms else 0)
