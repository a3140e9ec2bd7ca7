#!/usr/bin/env python3
"""The planted bugs stand in the patches and in what is built from them, and nowhere else:
planting_test.py [BUILT OUTPUT ... -- PROGRAM ...]

BUILT: the build's tests/mutants; OUTPUT: the planted sources that it made; PROGRAM: what they are linked into. Without them: only
what needs no build. Prints TAP."""
import pathlib
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import planting
from planting import PATCHES, ROOT

sys.path.append(str(ROOT / "tests"))
from tracked import tracked

words = sys.argv[1:]
programs = [pathlib.Path(word) for word in words[words.index("--") + 1:]] if words else []
built, outputs = pathlib.Path((words + ["."])[0]), words[1:words.index("--")] if words else []
lines = []


def claim(ok, text, details=()):
    lines.append(f"{'ok' if ok else 'not ok'} {len(lines) + 1} - {text}")
    for d in details:
        print(f"# {d}")


listed, patched = planting.mutants_listed(), planting.all_patches()

made = {str(pathlib.Path(out).resolve().relative_to(built.resolve())): pathlib.Path(out) for out in outputs}
bad = [f"{name}: has a patch, and is not built" for name in patched if name not in made]
bad += [f"{name}: is built, and has no patch" for name in made if name not in patched]
bad += [f"{left}: of an earlier build, and in the way of the real one: remove it" for left in sorted(built.glob("*/**/*.h"))
        if str(left.relative_to(built)) not in made and ".p/" not in str(left)]
if sys.argv[1:]:
    claim(not bad and len(made) > 10, "what has a patch is built with it, and nothing else", bad)

planted = "".join(path.read_text() for path in made.values()) if outputs else "".join(
    planting.patch_of(name).read_text() for name in patched)
bad = [f"{name}: is in tests/mutants/mutants.h, and planted nowhere" for name in sorted(listed) if f"mutant(Mutant::{name})" not in planted]
bad += [f"{name}: is planted, and not in tests/mutants/mutants.h" for name in sorted(set(planting.NAMED.findall(planted)) - listed)]
claim(not bad and len(listed) > 50, f"each of the {len(listed)} mutants is planted", bad)

bad = []
for name in patched:
    source, patch = (ROOT / name).read_text(), planting.patch_of(name).read_text()
    try:
        text = planting.planted(name, source, patch)
        if name in made and made[name].read_text() != planting.head(name, text) + text:
            bad.append(f"{made[name]}: is not {name} with its patch: build again")
        if planting.make(name, source, text) != patch:
            bad.append(f"{planting.patch_of(name).relative_to(ROOT)}: not as tests/mutants/replant writes it")
    except planting.Misfit as misfit:
        bad.append(str(misfit))
claim(not bad, "each patch fits its source, and is as replant writes it", bad)

# What has no patch is linked as the other programs link it. So nothing may be left that was compiled from a file as it is without
# its bugs, or that includes one; and each bug must be in the programs that are said to show it.
if programs:
    tree = built.resolve().parents[1]

    def asked(*tool):
        return subprocess.run(["ninja", "-C", str(tree), "-t", *tool], check=True, capture_output=True, text=True).stdout.splitlines()

    unplanted, bad, looked_at = {ROOT / name: name for name in patched}, [], set()
    for program in programs:
        objects = [line for line in asked("inputs", str(program.resolve().relative_to(tree))) if line.endswith(".o")]
        at = None
        for line in asked("deps", *objects):
            if line[:1].strip():
                at = line.split(": ")[0]
                if line.endswith("(VALID)"):
                    looked_at.add(at)
            elif line.strip() and (name := unplanted.get((tree / line.strip()).resolve())):
                bad.append(f"{program.name}: {at} is compiled from {name} without its bugs")
        bad += [f"{program.name}: nobody knows what {left} was compiled from: build again" for left in objects if left not in looked_at]
    claim(not bad and len(looked_at) > len(programs), "no program with planted bugs has a file without them", bad)

    from run import KILLERS
    inside = {program.name: program.read_bytes() for program in programs}
    bugs = {(name, mutant) for name in patched for mutant in planting.NAMED.findall(planting.patch_of(name).read_text())}
    bad = [f"{mutant}: {program} is to show it, and is not linked with {name}" for killed, program, *_ in KILLERS
           for name, mutant in sorted(bugs) if mutant == killed and planting.mark(name, mutant).encode() not in inside[program]]
    claim(not bad, "each planted bug is in the programs that must show it", bad)

# Who reads a rule reads the rule alone. What test programs need to choose one of them is in choose.h.
word = re.compile(r"\bmutants?\b|\bMutant|PAXOS_MUTANT|mutants\.h", re.I)
bad = [f"{name}:{number}: {line.strip()}" for name in tracked()
       if name.endswith((".cc", ".h")) and not name.startswith("tests/") and (ROOT / name).is_file()
       for number, line in enumerate((ROOT / name).read_text().splitlines(), 1) if word.search(line)]
claim(not bad, "no source of the programs knows of planted bugs", bad)

FILE = "paxos/any.cc"
SOURCE = "one\ntwo\nthree\n\nfour\nfive\nsix\nseven\neight\n"
EDITED = SOURCE.replace("four\n", "four, or not mutant(Mutant::less)\n").replace("eight\n", "eight\nmutant(Mutant::more)\n")
patch = planting.make(FILE, SOURCE, EDITED)
claim(planting.planted(FILE, SOURCE, patch) == EDITED and planting.planted(FILE, "new\n" + SOURCE.replace("six\n", "six\nand a half\n"), patch)
      == "new\n" + EDITED.replace("six\n", "six\nand a half\n"), "a patch is found wherever its lines stand")


def misfit(source):
    try:
        return planting.planted(FILE, source, patch) and "it fits"
    except planting.Misfit as wrong:
        return str(wrong)


said = [misfit(SOURCE.replace("five", "5")), misfit(SOURCE + SOURCE), misfit("one\ntwo\n")]
wrong = [f"{text!r} does not say {want!r}" for text, wants in (
    (said[0], ["tests/mutants/paxos/any.cc.patch:1: less: ", "paxos/any.cc:6 is\n    5\nand was\n    five", "replant edit paxos/any.cc"]),
    (said[1], ["stands 2 times in paxos/any.cc, in lines 3 and 12"]), (said[2], ["does not fit"])) for want in wants if want not in text]
claim(not wrong, "one that does not fit any more names the patch, the line of the source and what renews it", wrong)

twice = "x\n" * 9 + "y\n" + "x\n" * 9
edited = twice.replace("x\n" * 9 + "y\n", "x\n" * 7 + "mutant(Mutant::one)\n" + "x\n" * 2 + "y\n", 1)
try:
    planting.make(FILE, twice, edited.replace("y\n", "y, without a name\n"))
    unnamed = "a change without a mutant was taken"
except planting.Misfit as wrong:
    unnamed = "" if "by no mutant" in str(wrong) else str(wrong)
claim(planting.planted(FILE, twice, planting.make(FILE, twice, edited)) == edited and not unnamed,
      "a patch takes as many lines around it as it needs to be found, and plants nothing without a name", filter(None, [unnamed]))

# The whole way, in a folder of its own: a line of the source changes, the bug is put in again, a second one is planted.
wrong = []
with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    for name in ("planting.py", "plant.py", "replant", "mutants.h"):
        (root / "tests/mutants" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "tests/mutants" / name).write_bytes((PATCHES / name).read_bytes())
    (root / "paxos").mkdir()
    (root / "tests/mutants/paxos").mkdir()
    (root / FILE).write_text(SOURCE.replace("five", "5"))
    kept = root / "tests/mutants" / (FILE + ".patch")
    kept.write_text(patch)

    def run(*words):
        done = subprocess.run([sys.executable, root / "tests/mutants" / words[0], *words[1:]], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def expect(what, got, code, text):
        if got[0] != code or text not in got[1]:
            wrong.append(f"{what}: exit {got[0]}: {got[1]!r}")

    build = ("plant.py", FILE, root / FILE, kept, root / "out.cc")
    expect("building", run(*build), 1, "replant edit paxos/any.cc")
    if (root / "out.cc").exists():
        wrong.append("a source without its bugs was left behind")
    expect("laying out", run("replant", "edit"), 0, "1 of its bugs to be put in again")
    expect("making too early", run("replant"), 1, "still has a bug between")
    edited = EDITED.replace("five", "5").replace("two\n", "two\nmutant(Mutant::second)\n")
    (root / "build/planted" / FILE).write_text(edited)
    expect("laying out once more", run("replant", "edit"), 1, "holds an edit")
    expect("making", run("replant", "build/planted/" + FILE), 0, "any.cc.patch")
    expect("building again", run(*build), 0, "")
    if not (root / "out.cc").exists() or (root / "out.cc").read_text() != planting.head(FILE, edited) + edited:
        wrong.append("what is built is not what was edited")
    expect("nothing more", run("replant"), 1, "nothing is laid out")
claim(not wrong, "replant lays out what does not fit any more, and makes patches of what was edited", wrong)

print("\n".join(lines))
print(f"1..{len(lines)}")
sys.exit(any(line.startswith("not ok") for line in lines))
