#!/usr/bin/env python3
"""Branch sides of paxos/ and chat/ that no test took, from llvm-cov's counters: coverage.py PROFILE OBJECT [-object OBJECT ...]

tests/coverage-explained.txt names those that need none: `file | source text | side | why`, matched by the text of the line, so
that lines may move. Exit 1 when a side is neither taken nor explained, when an explanation matches nothing any more, or when a
source file of the two rooms is in none of the objects."""
import collections
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
ROOMS = ("paxos/", "chat/")
# Not ours to take: the side of an assertion that aborts, comparisons that the compiler writes.
LEFT_OUT = ("PAXOS_ASSERT(", "= default;")


def counters(arguments):
    """(file, line, column) -> [times true, times false], summed over objects and template instances."""
    out = subprocess.run(["llvm-cov-19", "export", "-format=text", "-skip-expansions", "-instr-profile", *arguments],
                         check=True, capture_output=True, text=True).stdout
    sides = collections.defaultdict(lambda: [0, 0])
    seen = set()
    for unit in json.loads(out)["data"][0]["functions"]:
        for name in unit["filenames"]:
            if name.startswith(str(ROOT)):
                seen.add(str(pathlib.Path(name).relative_to(ROOT)))
        for branch in unit.get("branches", []):
            line, column, _, _, true, false, file_id, _, kind = branch[:9]
            name = unit["filenames"][file_id]
            try:
                name = str(pathlib.Path(name).resolve().relative_to(ROOT))
            except ValueError:
                continue
            if name.startswith(ROOMS):
                sides[name, line, column][0] += true
                sides[name, line, column][1] += false
    return sides, seen


def explanations():
    found = []
    for row in (ROOT / "tests/coverage-explained.txt").read_text().splitlines():
        if row.strip() and not row.startswith("#"):
            name, text, side, why = (part.strip() for part in row.split(" | "))
            found.append({"file": name, "text": text, "side": side, "why": why, "used": False})
    return found


def main():
    sides, seen = counters(sys.argv[1:])
    explained = explanations()
    sources = {}
    table = collections.defaultdict(lambda: [0, 0, 0])  # sides, taken, explained
    missing = []
    for (name, line, column), counts in sorted(sides.items()):
        lines = sources.setdefault(name, (ROOT / name).read_text().splitlines())
        text = lines[line - 1]
        if any(left_out in text for left_out in LEFT_OUT):
            continue
        for side, count in zip(("true", "false"), counts):
            row = table[name]
            row[0] += 1
            if count:
                row[1] += 1
                continue
            for reason in explained:
                if reason["file"] == name and reason["text"] in text and reason["side"] == side:
                    reason["used"] = True
                    row[2] += 1
                    break
            else:
                missing.append(f"{name}:{line}:{column}: never {side}: {text.strip()}")
    print(f"{'file':<28} {'sides':>6} {'taken':>6} {'explained':>9} {'missing':>8}")
    for name, (total, taken, because) in sorted(table.items()):
        print(f"{name:<28} {total:>6} {taken:>6} {because:>9} {total - taken - because:>8}")
    total, taken, because = (sum(row[i] for row in table.values()) for i in range(3))
    print(f"{'all':<28} {total:>6} {taken:>6} {because:>9} {total - taken - because:>8}   {100 * taken / total:.1f} % taken")
    for row in missing:
        print(row)
    stale = [f"{e['file']} | {e['text']}" for e in explained if not e["used"]]
    absent = [name for room in ROOMS for name in sorted(str(p.relative_to(ROOT)) for p in (ROOT / room).glob("*.cc"))
              if name not in seen]
    for name in absent:
        print(f"{name}: in none of the tests")
    for row in stale:
        print(f"tests/coverage-explained.txt: matches nothing: {row}")
    return 1 if missing or stale or absent else 0


sys.exit(main())
