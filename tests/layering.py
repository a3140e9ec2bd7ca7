#!/usr/bin/env python3
"""Which room may include which (docs/ARCHITECTURE.md), read from the #include lines. Prints TAP."""
import pathlib
import re
import sys

from tracked import tracked

ROOT = pathlib.Path(__file__).resolve().parents[1]
PURE = {"paxos", "chat"}
MAY = {
    "paxos": {"paxos"},
    "chat": {"paxos", "chat"},
    "config": {"config", "paxos"},
    "storage": {"storage", "chat", "paxos"},
    "net": {"net", "chat", "paxos"},
    "client": {"client", "client/session", "client/terminal", "net", "chat", "config", "paxos"},
    "client/terminal": {"client/terminal", "chat"},
    "client/session": {"client/session", "client/terminal", "net", "chat", "config", "paxos"},
    "client/ctl": {"client/ctl", "client", "client/session", "client/terminal", "net", "chat", "config", "paxos"},
    "client/chat": {"client/chat", "client", "client/session", "client/terminal", "net", "chat", "config", "paxos"},
    "daemon": {"daemon", "net", "storage", "chat", "config", "paxos"},
}
# What pure code may have from outside the standard library.
PURE_LIBRARIES = {"paxos": set(), "chat": {"tl/expected.hpp", "xxhash.h"}}
NOT_PURE = {"thread", "mutex", "condition_variable", "iostream", "fstream", "filesystem", "random", "future", "coroutine"}

lines = []


def claim(ok, text, details=()):
    lines.append(f"{'ok' if ok else 'not ok'} {len(lines) + 1} - {text}")
    for d in details:
        print(f"# {d}")


for room, allowed in MAY.items():
    bad = []
    for file in sorted(ROOT.glob(f"{room}/*.[hc]*")):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            found = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
            if not found:
                continue
            kind, name = found.groups()
            where = f"{room}/{file.name}:{number}: {name}"
            first = name.rpartition("/")[0]
            if kind == '"' and first not in allowed:
                bad.append(where)
            if kind == "<" and room in PURE:
                own = name in PURE_LIBRARIES[room]
                standard = re.fullmatch(r"[a-z_]+", name) is not None
                if not own and (not standard or name in NOT_PURE):
                    bad.append(where)
    claim(not bad, f"{room}/ includes only what it may", bad)

past = re.compile(r"\bfmt::print\b|\bstd::(?:v?f?printf|f?puts|f?putc|putchar|fwrite|cout|cerr|clog)\b|::write\((?:1|2|STD)|(?<![:\w])(?:printf|puts)\(")
bad = [f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
       for file in sorted((ROOT / "client").rglob("*.[hc]*")) if file.name not in {"say.cc", "screen.cc", "terminal.cc"}
       for number, line in enumerate(file.read_text().splitlines(), 1) if past.search(line)]
claim(not bad, "client/ prints through say() alone, which lets no foreign text move the terminal", bad)

bad = []
home = re.compile(r"/(root|home/[a-z]+|work)/(main|shared|\.library)\b")
for name in tracked():
    path = ROOT / name
    if path.is_file() and path.suffix not in {".png"}:
        if home.search(path.read_text(errors="replace")):
            bad.append(name)
claim(not bad, "no file names a path of one machine", bad)

overloads = re.compile(r"using\s+\w+::operator\(\)\s*\.\.\.")
bad = [name for name in tracked() if name.endswith((".h", ".cc")) and (ROOT / name).is_file()
       and name != "paxos/overloaded.h" and overloads.search((ROOT / name).read_text())]
claim(not bad, "there is one Overloaded, in paxos/overloaded.h", bad)

# Comments and literals, whose commas are nobody's operators; lines are kept.
WORDS = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', re.S)
ARGUMENTS = re.compile(r"(\w)\s*<[^<>;=]*>")  # of templates


def comma_returns(text):
    """Lines of `return` statements with a comma operator, which do one thing and return another."""
    text = WORDS.sub(lambda m: "\n" * m.group(0).count("\n"), text)
    for at in re.finditer(r"\b(?:co_)?return\b", text):
        depth, end, outer = 0, at.end(), ""
        while end < len(text) and depth >= 0 and not (depth == 0 and text[end] == ";"):
            depth += (text[end] in "([{") - (text[end] in ")]}")
            outer += text[end] if depth == 0 else " "
            end += 1
        while outer != (outer := ARGUMENTS.sub(r"\1", outer)):
            pass
        if "," in outer:
            yield text.count("\n", 0, at.start()) + 1


bad = [f"{name}:{line}" for name in tracked() if name.endswith((".h", ".cc")) and (ROOT / name).is_file()
       for line in comma_returns((ROOT / name).read_text())]
claim(not bad, "no return does one thing and gives another, behind a comma", bad)

long_files = [f"{n}: {c} lines" for n in tracked() if n.endswith((".h", ".cc"))
              for c in [len((ROOT / n).read_text().splitlines())] if (ROOT / n).is_file() and c > 900]
claim(not long_files, "no source file swallows its room", long_files)

print("\n".join(lines))
print(f"1..{len(lines)}")
sys.exit(any(line.startswith("not ok") for line in lines))
