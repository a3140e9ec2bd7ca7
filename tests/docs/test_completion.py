"""bash completion: asked in a bash that runs no terminal, what it would put into COMPREPLY."""
import os
import pathlib
import shutil
import subprocess
import unittest

import harness
import helps

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Words as bash breaks them: at blanks and at =, the last one under the cursor.
ASK = r"""
set -u
. "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE} COMPREPLY=()
function=$(complete -p "$1" | sed -E 's/.*-F ([^ ]+) .*/\1/')
"$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""
FILES = {"paxosd": "paxosd", "paxosctl": "paxosctl", "paxoschat": "paxosctl"}


@unittest.skipIf(shutil.which("bash") is None, "there is no bash")
class Completion(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.cluster = harness.Cluster(start=False)
        cls.folder = cls.cluster.folder

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder, ignore_errors=True)

    def ask(self, *words, folder=None, **environment):
        done = subprocess.run(["bash", "--norc", "-c", ASK, "ask", ROOT / "completions" / FILES[words[0]], *words],
                              capture_output=True, text=True, cwd=folder or self.folder,
                              env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **environment})
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return sorted(done.stdout.split())

    def test_every_verb(self):
        wrong = []
        for program in helps.PROGRAMS:
            for command in helps.commands(program):
                known = set(helps.verbs(*command))
                offered = set(self.ask(*command, "")) if known else set()
                wrong += [f"completions/{FILES[program]}: after `{' '.join(command)}` the verb {v} is missing" for v in sorted(known - offered)]
                wrong += [f"completions/{FILES[program]}: after `{' '.join(command)}` there is no verb {v}" for v in sorted(offered - known)]
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))

    def test_every_flag(self):
        wrong = []
        for program in helps.PROGRAMS:
            for command in helps.commands(program):
                if helps.verbs(*command) and not helps.flags(*command):
                    continue
                known = {f"--{name}" for name in helps.flags(*command)}
                offered = set(self.ask(*command, "--"))
                wrong += [f"completions/{FILES[program]}: `{' '.join(command)}` lacks {f}" for f in sorted(known - offered)]
                wrong += [f"completions/{FILES[program]}: `{' '.join(command)}` has no {f}" for f in sorted(offered - known)]
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))

    def test_after_a_flag_with_a_value_no_flags_or_verbs_come(self):
        wrong = []
        for program in helps.PROGRAMS:
            for command in helps.commands(program):
                for flag in helps.flags(*command).values():
                    offered = self.ask(*command, f"--{flag.name}", "--")
                    if flag.takes_value and offered:
                        wrong.append(f"completions/{FILES[program]}: `{' '.join(command)} --{flag.name}` takes a value; write {flag.name}=")
                    if not flag.takes_value and not offered:
                        wrong.append(f"completions/{FILES[program]}: `{' '.join(command)} --{flag.name}` takes no value")
        # paxosd's own file knows these by name, not by table.
        wrong = [w for w in wrong if "completions/paxosd:" not in w]
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))

    def test_beginnings(self):
        self.assertEqual(self.ask("paxosctl", "st"), ["status"])
        self.assertEqual(self.ask("paxosctl", "config", "g"), ["generate"])
        self.assertEqual(self.ask("paxoschat", "his"), ["history"])
        self.assertEqual(self.ask("paxosctl", "status", "--w"), ["--watch"])
        self.assertEqual(self.ask("paxosctl", "--v"), ["--version"])
        self.assertEqual(self.ask("paxosctl", "status", ""), [])

    def test_replicas_of_the_config(self):
        self.assertEqual(self.ask("paxosctl", "log", ""), ["0", "1", "2"])
        self.assertEqual(self.ask("paxosctl", "kill", ""), ["0", "1", "2", "leader"])
        self.assertEqual(self.ask("paxosctl", "kill", "1", "le"), ["leader"])
        self.assertEqual(self.ask("paxosctl", "pause", "--for", "5s", ""), ["0", "1", "2", "leader"])
        self.assertEqual(self.ask("paxosctl", "pause", "1", ""), [])
        self.assertEqual(self.ask("paxoschat", "send", "--replica", ""), ["0", "1", "2"])
        self.assertEqual(self.ask("paxosd", "--id", ""), ["0", "1", "2"])

    def test_the_config_that_the_command_would_read(self):
        block = self.folder / "block.yaml"
        block.write_text("cluster: b\nid: 12345678-7f0e-4b7e-9d58-0c5be0a6b0aa\nreplicas:\n"
                         "  - id: 0\n    address: 'a:1'\n  # - id: 7\n  - address: 'a:2'\n    id: 1   # two\n  - { id: 2 , address: 'a:3'}\n")
        for ask in (("--config", str(block)), ("--config", "=", str(block)), ("--json", "--config", "block.yaml")):
            self.assertEqual(self.ask("paxosctl", "log", *ask, ""), ["0", "1", "2"], ask)
        self.assertEqual(self.ask("paxosctl", "log", "--config", "nowhere.yaml", ""), [])
        away = self.folder / "away"
        away.mkdir(exist_ok=True)
        self.assertEqual(self.ask("paxosctl", "log", "", folder=away, PAXOSCTL_CONFIG=str(block)), ["0", "1", "2"])
        self.assertEqual(self.ask("paxosd", "--config", "=", str(block), "--id", "", folder=away), ["0", "1", "2"])

    def test_files_and_folders(self):
        (self.folder / "bot.state").write_text("")
        (self.folder / "data folder").mkdir(exist_ok=True)
        self.assertEqual(self.ask("paxosctl", "status", "--config", "cluster.y"), ["cluster.yaml"])
        self.assertEqual(self.ask("paxosctl", "status", "--config", "=", "cluster.y"), ["cluster.yaml"])
        self.assertEqual(self.ask("paxosctl", "config", "check", "cluster.y"), ["cluster.yaml"])
        self.assertEqual(self.ask("paxosctl", "config", "generate", "-o", "cluster.y"), ["cluster.yaml"])
        self.assertEqual(self.ask("paxoschat", "send", "--room", "ops", "--state", "bot"), ["bot.state"])
        self.assertEqual(self.ask("paxosctl", "run", "--dir", "data"), ["data", "folder"])
        self.assertEqual(self.ask("paxosctl", "run", "--dir", "bot"), [])
        self.assertEqual(self.ask("paxosd", "--log-level", "w"), ["warning"])
