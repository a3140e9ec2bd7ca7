#!/usr/bin/env python3
"""Every source file is formatted as .clang-format says, by clang-format 19 (others break lines otherwise). Prints TAP.

To format: git ls-files '*.cc' '*.h' | xargs clang-format-19 -i; files with planted bugs: CONTRIBUTING.md, "Add a mutant"."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

from tracked import tracked

ROOT = pathlib.Path(__file__).resolve().parents[1]
FORMATTER = "clang-format-19"

if shutil.which(FORMATTER) is None:
    print(f"ok 1 - sources are formatted # SKIP {FORMATTER} is not installed: scripts/install test\n1..1")
    sys.exit(0)

sources = [name for name in tracked() if name.endswith((".cc", ".h")) and (ROOT / name).is_file()]
seen = subprocess.run([FORMATTER, "--dry-run", "--Werror", *sources], cwd=ROOT, capture_output=True, text=True)
wrong = re.findall(r"^(\S+?):(\d+):\d+: error: code should be clang-formatted", seen.stderr, re.M)
ok = seen.returncode == 0 and not wrong and len(sources) > 300
print(f"{'ok' if ok else 'not ok'} 1 - {len(sources)} source files are formatted")
for name, line in wrong[:40]:
    print(f"# {name}:{line}: {FORMATTER} -i {os.path.basename(name)} would change it")
if seen.returncode != 0 and not wrong:
    print("# " + seen.stderr.strip().replace("\n", "\n# "))
print("1..1")
sys.exit(not ok)
