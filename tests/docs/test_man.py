"""Every verb and flag of --help stands in the man page, and nothing else does; the same for the keys of cluster.yaml."""
import pathlib
import re
import shutil
import subprocess
import unittest

import harness
import helps

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = {"paxosd": "paxosd.8.scd", "paxosctl": "paxosctl.1.scd", "paxoschat": "paxoschat.1.scd"}
# Every command has these; they are told once a page.
EVERYWHERE = {"help", "version"}


def page(name):
    return (ROOT / "docs/man" / name).read_text()


def sections(text):
    """{title: body} of a page's # and ## sections; a ## section is not part of its # section."""
    found = {}
    title = ""
    for line in text.splitlines():
        heading = re.match(r"##? (.*)", line)
        if heading:
            title = heading.group(1).strip()
            assert title not in found, f"the section {title} is there twice"
        found.setdefault(title, []).append(line)
    return {title: "\n".join(lines) for title, lines in found.items()}


def flags_of(body):
    """The flags that a section explains: lines that begin with *--flag* or *-f*, *--flag*, perhaps with a _VALUE_."""
    return {name: helps.Flag(name, letter, bool(meta))
            for letter, name, meta in re.findall(r"^(?:\*-(\w)\*, )?\*--([a-z-]+)\*(?: _([A-Z]+)_)?$", body, re.M)}


class ManPages(unittest.TestCase):
    maxDiff = None

    def compare(self, program):
        name = f"docs/man/{PAGES[program]}"
        parts = sections(page(PAGES[program]))
        general = flags_of(parts.get("GENERAL OPTIONS") or parts["OPTIONS"])
        wrong = []
        explained = set()
        for command in helps.commands(program):
            verb = " ".join(command[1:])
            if helps.verbs(*command) and not helps.flags(*command):
                continue  # `paxosctl`, `paxosctl config`: only their verbs do something
            # paxoschat without a verb is the interactive chat.
            title = verb or ("INTERACTIVE" if "INTERACTIVE" in parts else "OPTIONS")
            explained.add(title)
            if title not in parts:
                wrong.append(f"{name}: the verb `{verb}` is missing; add a section `## {verb}`")
                continue
            here = flags_of(parts[title])
            said = helps.flags(*command)
            for flag in said.values():
                written = here.get(flag.name) or general.get(flag.name)
                if not written:
                    wrong.append(f"{name}: section `{title}` lacks the flag *--{flag.name}*")
                elif (written.letter, written.takes_value) != (flag.letter, flag.takes_value):
                    wrong.append(f"{name}: section `{title}` writes --{flag.name} otherwise than `{' '.join(command)} --help` "
                                 "(its letter, or whether it takes a value)")
            for flag in here:
                if flag not in said and flag not in EVERYWHERE:
                    wrong.append(f"{name}: section `{title}` explains --{flag}, which `{' '.join(command)} --help` doesn't know")
        for title in parts:
            if title.islower() and title not in explained:
                wrong.append(f"{name}: section `{title}` explains a verb that {program} doesn't have")
        self.assertFalse(EVERYWHERE - set(general), f"{name}: these flags are missing")
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))

    def test_paxosd(self):
        self.compare("paxosd")

    def test_paxosctl(self):
        self.compare("paxosctl")

    def test_paxoschat(self):
        self.compare("paxoschat")

    def test_commands_of_the_interactive_chat(self):
        source = (ROOT / "client/chat/chat_interactive.cc").read_text()
        known = set(re.findall(r'word == "(/[a-z]+)"', source))
        written = set(re.findall(r"\*(/[a-z]+)\*", sections(page(PAGES["paxoschat"]))["INTERACTIVE"]))
        self.assertEqual(known, written, "the commands of paxoschat in its source, and in its man page")

    def test_keys_of_cluster_yaml(self):
        parts = sections(page("cluster.yaml.5.scd"))
        cluster = harness.Cluster(start=False)
        self.addCleanup(shutil.rmtree, cluster.folder, ignore_errors=True)
        whole = cluster.config.read_text()
        for title, bad in (("KEYS", whole + "surprise: 1\n"), ("KEYS OF A REPLICA", whole.replace("{id: 0,", "{surprise: 1, id: 0,"))):
            cluster.config.write_text(bad)
            code, _, said = harness.run("paxosctl", "config", "check", cluster.config)
            self.assertEqual(code, 1, said)
            known = set(re.search(r"allowed are: ([a-z_, ]+)", said).group(1).split(", "))
            written = {key.replace("\\", "") for key in re.findall(r"^\*([a-z_\\]+)\*$", parts[title], re.M)}
            self.assertEqual(known, written, f"the keys that paxosctl allows, and those in section {title} of cluster.yaml.5.scd")

    @unittest.skipIf(shutil.which("scdoc") is None, "there is no scdoc")
    def test_the_pages_are_well_formed(self):
        for scd in sorted((ROOT / "docs/man").glob("*.scd")):
            made = subprocess.run(["scdoc"], input=scd.read_bytes(), capture_output=True)
            self.assertEqual(made.returncode, 0, f"{scd.name}: {made.stderr.decode()}")
            if shutil.which("man"):
                shown = subprocess.run(["man", "--warnings", "-l", "-"], input=made.stdout, capture_output=True,
                                       env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "100"})
                self.assertEqual((shown.returncode, shown.stderr.decode()), (0, ""), scd.name)
