#!/usr/bin/env python3
"""Every header compiles alone, one claim a room. Prints TAP. Without ccache: what is precompiled names its own place, and a cache that
several working trees share gives one of them what another precompiled.

Most of the time went into the same headers of the libraries, read again for each of ours. So some sets of them are precompiled, and
each header is compiled with the one that helps it most among those of which it has every part itself, by its own includes or
through other headers of ours: what is precompiled can't hide one that it lacks."""
import collections
import concurrent.futures
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

from tracked import tracked

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCRATCH = ROOT / "build/headers"
COMPILER = ["clang++-19"]
FLAGS = ["-std=c++20", "-Wno-pragma-once-outside-header", "-I.", '-DPAXOSD_VERSION="0"', "-x"]
SETS = 12
# In hundredths of a second of the compiler, about; others take 5.
COSTS = {"<nlohmann/json.hpp>": 150, "<gtest/gtest.h>": 150, "<fmt/format.h>": 70, "<rocksdb/db.h>": 60, "<functional>": 40, "<regex>": 80,
         "<chrono>": 40, "<thread>": 30, "<filesystem>": 50, "<random>": 40, "<algorithm>": 35, "<string>": 40, "<memory>": 30,
         "<sstream>": 40, "<unordered_map>": 20, "<map>": 15, "<variant>": 15, "<mutex>": 20}
INCLUDE = re.compile(r'\s*#\s*include\s*(?:"(.*?)"|(<.*?>))')

headers = tracked(".h")


def unconditional(header):
    """What it includes whatever is defined: (headers of ours, of others)."""
    ours, others, depth = [], [], 0
    for line in (ROOT / header).read_text().splitlines():
        word = line.strip().removeprefix("#").strip()
        if line.strip().startswith("#") and word.startswith("if"):
            depth += 1
        elif line.strip().startswith("#") and word.startswith("endif"):
            depth -= 1
        elif depth == 0 and (found := INCLUDE.match(line)):
            (ours if found[1] else others).append(found[1] or found[2])
    return ours, others


def reached(header, seen=None):
    """The headers of others that it has, itself or through ours. A name that isn't ours is looked for beside it."""
    seen = {} if seen is None else seen
    if header in seen or not (ROOT / header).is_file():
        return set()
    seen[header] = True
    ours, others = unconditional(header)
    found = set(others)
    for name in ours:
        beside = os.path.normpath(os.path.join(os.path.dirname(header), name))
        found |= reached(name if (ROOT / name).is_file() else beside, seen)
    return found


def cost(includes):
    return sum(COSTS.get(include, 5) for include in includes)


def best(sets, having):
    return max((one for one in sets if one <= having), key=cost, default=frozenset())


def choose(having):
    """Up to SETS of them, one after the other, each the one that saves most after those before."""
    chosen = []
    candidates = sorted({frozenset(one) for one in having.values() if one}, key=sorted)
    while len(chosen) < SETS:
        def saved(one):
            return sum(max(0, cost(one) - cost(best(chosen, all_of))) for all_of in having.values() if one <= all_of) - cost(one)
        next_one = max(candidates, key=saved, default=None)
        if next_one is None or saved(next_one) <= 0:
            break
        chosen.append(next_one)
    return chosen


def compiled(*words):
    """What the compiler says against it; empty when nothing."""
    done = subprocess.run([*COMPILER, *FLAGS, *words], cwd=ROOT, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr[:2000] or f"status {done.returncode}"


def precompile(one):
    """The name of its file; empty when it can't be: the headers show why."""
    text = "#pragma once\n" + "".join(f"#include {include}\n" for include in sorted(one))
    name = SCRATCH / (hashlib.sha256(text.encode()).hexdigest()[:16] + ".h")
    name.write_text(text)
    out = str(name.relative_to(ROOT)) + ".pch"
    return "" if compiled("c++-header", "-c", str(name.relative_to(ROOT)), "-o", out) else out


def complaint(header):
    prefix = precompiled.get(best(precompiled, having[header]), "")
    return compiled("c++", *(["-include-pch", prefix] if prefix else []), "-fsyntax-only", header)


shutil.rmtree(SCRATCH, ignore_errors=True)
SCRATCH.mkdir(parents=True, exist_ok=True)
having = {header: reached(header) for header in headers}
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    chosen = choose(having)
    precompiled = dict(zip(chosen, pool.map(precompile, chosen)))
    said = dict(zip(headers, pool.map(complaint, headers)))
shutil.rmtree(SCRATCH, ignore_errors=True)

if "--explain" in sys.argv:
    with_it = collections.Counter(best(precompiled, having[header]) for header in headers)
    for one, number in with_it.most_common():
        print(f"# {number} headers with {' '.join(sorted(one)) or 'nothing'}")

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
