#!/usr/bin/env python3
"""No installed program is compiled with planted bugs, or with the simulator's cipher: shipped.py BUILD PLANTED-PROGRAM ...

The markers must be in the programs that have them, or looking for them elsewhere would prove nothing."""
import json
import pathlib
import subprocess
import sys

MARKER = b"compiled with planted bugs: never ship this"
CIPHER = b"this cipher hides nothing: never ship it"

build, *planted = sys.argv[1:]
targets = json.loads(subprocess.run(["meson", "introspect", "--targets", build], check=True, capture_output=True).stdout)
installed = [pathlib.Path(name) for t in targets if t["installed"] and t["type"] == "executable" for name in t["filename"]]
wrong = []
for name in ("paxosd", "paxosctl", "paxoschat"):
    if name not in (path.name for path in installed):
        wrong.append(f"{name} is not among what is installed")
for path in installed:
    if not path.exists():
        wrong.append(f"{path.name} was not built")
    elif MARKER in path.read_bytes():
        wrong.append(f"{path.name} is compiled with planted bugs")
    elif CIPHER in path.read_bytes():
        wrong.append(f"{path.name} has the simulator's cipher, which hides nothing")
for name in planted:
    if MARKER not in pathlib.Path(name).read_bytes():
        wrong.append(f"{pathlib.Path(name).name} lacks the marker, so that looking for it proves nothing")
    if "sim" in pathlib.Path(name).name and CIPHER not in pathlib.Path(name).read_bytes():
        wrong.append(f"{pathlib.Path(name).name} lacks the marker of the simulator's cipher, so that looking for it proves nothing")
for line in wrong:
    print(line)
print(f"{len(installed)} installed programs without planted bugs, {len(planted)} test programs with them" if not wrong else "failed")
sys.exit(1 if wrong else 0)
