"""The project's own files: what git tracks, or, where git is not installed, everything outside build/ and hidden folders."""
import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]


def tracked(ending=""):
    """Names relative to the root, sorted."""
    if shutil.which("git") and (ROOT / ".git").exists():
        done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
        if done.returncode == 0:
            return sorted(name for name in done.stdout.split("\n") if name and name.endswith(ending))
    names = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [f for f in folders if not f.startswith(".") and f not in ("build", "__pycache__")]
        names += [str((pathlib.Path(folder) / f).relative_to(ROOT)) for f in files if f.endswith(ending)]
    return sorted(names)
