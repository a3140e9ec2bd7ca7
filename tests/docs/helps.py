"""What the programs' own --help says: the truth that man pages and completion are held to."""
import functools
import re

import harness

PROGRAMS = ("paxosd", "paxosctl", "paxoschat")


class Flag:
    def __init__(self, name, letter, takes_value):
        self.name = name
        self.letter = letter
        self.takes_value = takes_value


@functools.cache
def text(*words):
    code, out, err = harness.run(words[0], *words[1:], "--help")
    assert code == 0, f"{' '.join(words)} --help: exit {code}\n{err}"
    return out


def verbs(*words):
    """The verbs below a program or verb: `paxosctl --help` lists them, the others have a|b in their usage."""
    said = text(*words)
    listed = re.findall(r"^  ([a-z][a-z-]*) +\S", said, re.M)
    if listed:
        return listed
    choice = re.search(rf"^(?:usage:)? +{' '.join(words)} ([a-z-]+(?:\|[a-z-]+)+)", said, re.M)
    return choice.group(1).split("|") if choice else []


def commands(*words):
    """All that can be said: ("paxosctl",), ("paxosctl", "config"), ("paxosctl", "config", "generate"), …"""
    found = [words]
    for verb in verbs(*words):
        found += commands(*words, verb)
    return found


def flags(*words):
    """The flags of a program or verb, by name."""
    found = {}
    for letter, name, meta in re.findall(r"^  (?:-(\w), |    )--([a-z-]+)(?: ([A-Z]+))? ", text(*words), re.M):
        found[name] = Flag(name, letter, bool(meta))
    return found
