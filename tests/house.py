#!/usr/bin/env python3
"""What stands at the root stays true: one version, one licence, links and paths that lead somewhere, limits as the code has
them, no address that nobody has. Prints TAP."""
import importlib.machinery
import importlib.util
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

from tracked import tracked

ROOT = pathlib.Path(__file__).resolve().parents[1]
AT_THE_ROOT = ("README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")

lines = []


def claim(ok, text, details=()):
    lines.append(f"{'ok' if ok else 'not ok'} {len(lines) + 1} - {text}")
    for d in details:
        print(f"# {d}")


def read(name):
    return (ROOT / name).read_text()


def first(pattern, name):
    found = re.search(pattern, read(name), re.M)
    return found[1] if found else f"no version found in {name}"


missing = [name for name in AT_THE_ROOT if not (ROOT / name).is_file()]
claim(not missing, "the files that a project has at its root are there", missing)

versions = {
    "meson.build": first(r"^  version: '([^']+)'", "meson.build"),
    "debian/changelog": first(r"\A\S+ \(([^)]+)\)", "debian/changelog"),
    "CHANGELOG.md": first(r"^## (\S+)", "CHANGELOG.md"),
}
claim(len(set(versions.values())) == 1, "meson.build, debian/changelog and CHANGELOG.md have the same version",
      [f"{name}: {version}" for name, version in versions.items()])

elsewhere = []
for name in tracked():
    if name in versions or name.startswith("docs/") or not (ROOT / name).is_file() or name.endswith(".svg"):
        continue
    for number, line in enumerate((ROOT / name).read_text(errors="replace").splitlines(), 1):
        if versions["meson.build"] in line and not re.search(r"[Vv]ersions? " + re.escape(versions["meson.build"]), line):
            elsewhere.append(f"{name}:{number}: {line.strip()}")
claim(not elsewhere, "the version stands nowhere else; take it from meson.build", elsewhere)


def words(text):
    return re.sub(r"^ \.$", "", text, flags=re.M).split()


# Expat is what debian/copyright calls the licence that others call MIT.
licence = words(read("LICENSE").split("\n\n", 2)[2])
in_debian = words(read("debian/copyright").split("License: Expat\n")[-1])
holder = re.search(r"^Copyright: (.*)$", read("debian/copyright"), re.M)[1]
wrong = []
if licence != in_debian:
    wrong.append("LICENSE and debian/copyright differ in the licence's text")
if f"Copyright (c) {holder}" not in read("LICENSE"):
    wrong.append(f"LICENSE does not say `Copyright (c) {holder}`")
if "license: 'MIT'" not in read("meson.build") or not read("LICENSE").startswith("MIT License\n"):
    wrong.append("meson.build and LICENSE do not both say MIT")
claim(not wrong, "one licence", wrong)

# Addresses come and go, and nobody would notice. RFC 2606 and 5737 keep some for examples.
example = re.compile(r"(^|[./@])(example\.(com|org|net)|localhost|[a-z]*\.?invalid)\b|127\.|10\.0\.0\.")
bad = []
documents = [n for n in tracked() if n.endswith(".md")] + ["LICENSE"]
for name in documents:
    for number, line in enumerate(read(name).splitlines(), 1):
        for address in re.findall(r"https?://[^\s)>`\"]+|[\w.+-]+@[\w-]+\.[a-z]{2,}\b", line):
            if not example.search(address) and not re.fullmatch(r"paxosd@\w*\.(service|socket)", address):
                bad.append(f"{name}:{number}: {address}")
claim(not bad, "no document names an address outside", bad)


def anchors(name):
    """GitHub's: lower case, spaces to dashes, what is neither letter, digit, dash nor underscore left out."""
    text = re.sub(r"^```.*?^```", "", read(name), flags=re.M | re.S)
    found = set()
    for title in re.findall(r"^#+ (.*)$", text, re.M):
        found.add(re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-"))
    return found


bad = []
for name in documents:
    text = re.sub(r"^ *```.*?^ *```", "", read(name), flags=re.M | re.S)
    links = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)
    for link in links:
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        if not target.exists():
            bad.append(f"{name}: {link}: there is no such file")
        elif anchor and anchor not in anchors(target.resolve().relative_to(ROOT)):
            bad.append(f"{name}: {link}: there is no such heading")
claim(not bad, "links lead somewhere", bad)

# The package has the documents in the same places to each other, so that their links work there, too.
in_package = set()
for line in read("debian/paxosd.docs").split("\n") + read("debian/paxosd.install").split("\n"):
    what, _, folder = line.partition(" ")
    if not what or folder and not folder.startswith("usr/share/doc/paxosd"):
        continue
    for path in ROOT.glob(what):
        place = pathlib.PurePosixPath(folder.removeprefix("usr/share/doc/paxosd").strip("/")) / path.name
        in_package |= {place} if path.is_file() else {place / file.relative_to(path) for file in path.rglob("*")}
in_package |= {pathlib.PurePosixPath(link).relative_to("usr/share/doc/paxosd") for _, link in map(str.split, read("debian/paxosd.links").splitlines())}
bad = [f"{name} links to {path}" for name in sorted(in_package) if name.suffix == ".md"
       for path in re.findall(r"\[[^\]]*\]\(([^)\s#]+)", re.sub(r"^ *```.*?^ *```", "", read(name), flags=re.M | re.S))
       if "://" not in path and name.parent / path not in in_package]
claim(not bad and len(in_package) > 15, "links lead somewhere in the package, too", bad)

# Commands and files that a document names by their path. Programs of build/ are named by their target.
bad = []
for name in documents:
    for number, line in enumerate(read(name).splitlines(), 1):
        for path in re.findall(r"(?<![\w/.-])((?:scripts|tests|docs|debian|systemd|client|chat|paxos|net|daemon|storage)/[\w./*-]+)", line):
            path = path.rstrip(".,-")
            if not path or (ROOT / path).exists() or list(ROOT.glob(path)) or list(ROOT.glob(path + ".*")):
                continue
            folder = (ROOT / path).parent  # a target of its folder's meson.build
            if (folder / "meson.build").exists() and path.split("/")[-1] in (folder / "meson.build").read_text():
                continue
            bad.append(f"{name}:{number}: {path}")
claim(not bad, "paths that documents name are there", bad)


def constant(header, name):
    """The value of a constant, by the text of its header alone: numbers, and + * - of numbers and its other constants."""
    found = re.search(rf"\b{name} =\s+([^;]+);", read(header))
    expression = re.sub(r"(?<=\d)'(?=\d)", "", found[1])
    expression = re.sub(r"(?<=\d)(?:LL|ULL|U|u)\b", "", expression)
    expression = re.sub(r"[a-z_]\w*", lambda m: str(constant(header, m[0])), expression)
    if not re.fullmatch(r"[\d\s+*<()-]+", expression):
        raise ValueError(f"{header}: {name} = {found[1]}")
    return eval(expression)  # only digits and operators are left


def spoken(value):
    """How a document may write it."""
    forms = {f"{value:,}"}
    for unit, size in (("KiB", 1024), ("MiB", 1024 * 1024), ("h", 3_600_000), ("s", 1000)):
        if value % size == 0:
            forms.add(f"{value // size:,} {unit}")
    return forms


bad = []
seen = 0
for label, limit, header, name in re.findall(r"^\| ([^|]+) \| ([^|]+) \| `([\w/]+\.h)`: `(\w+)` \|$", read("README.md"), re.M):
    seen += 1
    value = constant(header, name)
    if not any(re.search(rf"(?<![\d,]){re.escape(form)}(?![\d,])", limit) for form in spoken(value)):
        bad.append(f"README.md: {label}: {limit}; {header} has {name} = {value}")
claim(not bad and seen >= 8, "README's limits are the code's", bad or [f"{seen} rows found"])

bad = []
for name in tracked():
    if (ROOT / name).is_file():
        data = (ROOT / name).read_bytes()
        try:
            data.decode()
        except UnicodeDecodeError:
            bad.append(name)
for name in tracked(".svg"):
    tags = {element.tag.split("}")[-1] for element in ElementTree.parse(ROOT / name).iter()}
    if "var(" in read(name) or not tags <= {"svg", "title", "style", "rect", "path", "text"} or "prefers-color-scheme: dark" not in read(name):
        bad.append(f"{name}: {', '.join(sorted(tags))}")
    if name not in read("README.md") or pathlib.Path(name).stem not in read("scripts/pictures.py"):
        bad.append(f"{name}: not shown in README.md, or drawn by nothing")
told = re.search(r"\*\*([\d.]+ election timeouts)\*\* in the picture above \((\d+ ms);", read("README.md"))
if not told or not re.search(rf">{told[2]} [^<]*, {told[1]}<", read("docs/pictures/leader-dies.svg")):
    bad.append("README.md says another pause than its picture")
claim(not bad, "every file is text; pictures are drawn by scripts/pictures.py, for light and dark screens", bad)

built = re.search(r"release ((?:\w+/\w+ ?)+)$", read("demo"), re.M)[1].split()
linked = re.search(r"^for program in (.*); do$", read("scripts/link-binaries"), re.M)[1].split()
claim(built == linked and "/install\" build\n" in read("demo") and "--no-tests" in read("demo"),
      "demo installs and builds what its programs need, and no tests", [f"{built} built, {linked} linked"])

loader = importlib.machinery.SourceFileLoader("logged", str(ROOT / "scripts/logged"))
logged = importlib.util.module_from_spec(importlib.util.spec_from_loader("logged", loader))
sys.dont_write_bytecode = True
loader.exec_module(logged)
wrong = []
with tempfile.TemporaryDirectory() as folder:
    log = pathlib.Path(folder) / "log"
    for text, said in (("[1/20] Compiling a\n[12/345] Compiling [3/4]\n", "12 of 345, "), (" 1/47 paxosd:a OK\n17/47 paxosd:b / c OK 3s\n", "17 of 47, "),
                       ("nothing of that kind: 1/2\n", ""), ("", "")):
        log.write_text(text)
        if logged.how_far(log) != said:
            wrong.append(f"{text!r} reads as {logged.how_far(log)!r}")
    done = subprocess.run([ROOT / "scripts/logged", log, "sh", "-c", "echo out; echo err >&2; exit 7"], capture_output=True)
    if (done.returncode, done.stdout, log.read_text()) != (7, b"", "out\nerr\n"):
        wrong.append(f"exit {done.returncode}, {done.stdout!r}, log {log.read_text()!r}")
claim(not wrong, "scripts/logged says how far ninja and meson are, and ends as its command does", wrong)

print("\n".join(lines))
print(f"1..{len(lines)}")
sys.exit(any(line.startswith("not ok") for line in lines))
