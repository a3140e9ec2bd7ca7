"""Patches that turn a source file into the same one with planted bugs, each behind `mutant(...)` (tests/mutants/mutants.h).

A patch has one part a place: `@@` with the names of its mutants, then lines as in a unified diff. A part is found by its text
alone, so that it moves with its surroundings; it must stand in its file exactly once, letter by letter. Made by
tests/mutants/replant, put in while building by plant.py."""
import difflib
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATCHES = ROOT / "tests/mutants"
EDITED = ROOT / "build/planted"      # where replant lays files out to be edited,
UNEDITED = ROOT / "build/unplanted"  # and what their sources were then
CONTEXT, CONTEXT_MAX = 2, 40
NAMED = re.compile(r"\bMutant::(\w+)")


class Misfit(Exception):
    """A patch that is not one for its file; says where, and what renews it."""


class Part:
    """One place: its mutants, its lines ('+', '-' or ' ' first), and the line of the patch that it begins in."""

    def __init__(self, names, lines, number=0):
        self.names, self.lines, self.number = names, lines, number
        self.old = [line[1:] for line in lines if line[0] != "+"]
        self.new = [line[1:] for line in lines if line[0] != "-"]

    def text(self):
        return "@@ " + ", ".join(self.names) + "\n" + "".join(line if line != " \n" else "\n" for line in self.lines)


def mark(name, mutant):
    """Stands in a program that has this bug of this file."""
    return f"planted: {name}: {mutant};"


def head(name, text):
    """What a planted file begins with. planting_test.py looks for the marks in what was linked."""
    marks = "".join(mark(name, mutant) for mutant in sorted(set(NAMED.findall(text))))
    symbol = re.sub(r"\W", "_", name)
    return f'#include "tests/mutants/mutants.h"\n[[gnu::used]] inline const char planted_{symbol}[] = "{marks}";\n'


def patch_of(name):
    return PATCHES / (name + ".patch")


def all_patches():
    """The names of the files that have one."""
    return sorted(str(path.relative_to(PATCHES))[:-len(".patch")] for path in PATCHES.rglob("*.patch"))


def mutants_listed():
    return set(re.findall(r"^  M\((\w+),", (PATCHES / "mutants.h").read_text(), re.M))


def read(text):
    """The parts of a patch."""
    parts = []
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if line.startswith("@@ "):
            parts.append((line[3:].strip().split(", "), [], number))
        elif parts and line[0] in "+- \n":
            parts[-1][1].append(line if line != "\n" else " \n")
        elif parts:
            raise Misfit(f"line {number} of the patch begins with none of '+', '-', ' '")
    return [Part(*part) for part in parts]


def places(lines, wanted):
    return [at for at in range(len(lines) - len(wanted) + 1) if lines[at:at + len(wanted)] == wanted]


def nearest(lines, wanted):
    """Where most of it stands: the index of its first line there."""
    best = difflib.SequenceMatcher(None, lines, wanted, autojunk=False).find_longest_match()
    return max(0, best.a - best.b)


def misfit(name, part, lines, found):
    where = f"{patch_of(name).relative_to(ROOT)}:{part.number}: {', '.join(part.names)}: "
    renew = (f"\nRenew the patch: tests/mutants/replant edit {name}, mend build/planted/{name}, then "
             f"tests/mutants/replant {name}")
    if found:
        seen = " and ".join(str(at + 1) for at in found)
        return Misfit(f"{where}stands {len(found)} times in {name}, in lines {seen}" + renew)
    at = nearest(lines, part.old)
    here = next((i for i, line in enumerate(part.old) if at + i >= len(lines) or lines[at + i] != line), 0)
    there = lines[at + here].strip() if at + here < len(lines) else "the end of the file"
    return Misfit(f"{where}does not fit {name} any more. {name}:{at + here + 1} is\n    {there}\nand was\n"
                  f"    {part.old[here].strip()}{renew}")


def planted(name, source, patch, keep_misfits=False):
    """The source with the patch's bugs in it. `keep_misfits`: parts that don't fit stand between <<<<<<< and >>>>>>> near
    where they belong, instead of an error."""
    lines = source.splitlines(keepends=True)
    changes = []  # (first line, lines to take away, lines to put there)
    for part in read(patch):
        found = places(lines, part.old)
        if len(found) == 1:
            at = found[0]
            for line in part.lines:
                if line[0] == " ":
                    at += 1
                elif line[0] == "-":
                    changes.append((at, 1, []))
                    at += 1
                else:
                    changes.append((at, 0, [line[1:]]))
        elif keep_misfits:
            title = ", ".join(part.names)
            changes.append((nearest(lines, part.old), 0, [f"<<<<<<< {title}\n", *part.lines, f">>>>>>> {title}\n"]))
        else:
            raise misfit(name, part, lines, found)
    out, at = [], 0
    for first, taken, put in sorted(changes, key=lambda change: change[0]):  # stable: a part's own order stays
        out += lines[at:first] + put
        at = max(at, first + taken)
    return "".join(out + lines[at:])


def make(name, source, edited):
    """The patch that makes `edited` of `source`; empty when they are the same."""
    old, new = source.splitlines(keepends=True), edited.splitlines(keepends=True)
    changes = [op[1:] for op in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if op[0] != "equal"]

    def part(group, context):
        first, last = max(0, group[0][0] - context), min(len(old), group[-1][1] + context)
        lines, at = [], first
        for a, b, c, d in group:
            lines += [" " + line for line in old[at:a]] + ["-" + line for line in old[a:b]] + ["+" + line for line in new[c:d]]
            at = b
        lines += [" " + line for line in old[at:last]]
        names = list(dict.fromkeys(NAMED.findall("".join(line for line in lines if line[0] == "+"))))
        if not names:
            raise Misfit(f"{name}:{group[0][0] + 1} is changed, but by no mutant: what is right for all belongs into the source")
        return Part(names, lines)

    groups = []
    for change in changes:
        if groups and change[0] - groups[-1][-1][1] <= CONTEXT:
            groups[-1].append(change)
        else:
            groups.append([change])
    parts = []
    for group in groups:
        for context in range(CONTEXT, CONTEXT_MAX):
            made = part(group, context)
            if len(places(old, made.old)) == 1:
                break
        else:
            raise Misfit(f"{name}:{group[0][0] + 1} stands in it more than once with {CONTEXT_MAX} lines around it")
        parts.append(made)
    return "".join(made.text() for made in parts)
