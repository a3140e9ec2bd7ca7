#!/usr/bin/env python3
"""While building: plant.py NAME SOURCE PATCH OUT writes the source file NAME with its planted bugs. Exit 1, and no OUT, when a
part of the patch doesn't fit any more."""
import pathlib
import sys

sys.dont_write_bytecode = True
import planting

name, source, patch, out = sys.argv[1:]
try:
    text = planting.planted(name, pathlib.Path(source).read_text(), pathlib.Path(patch).read_text())
except planting.Misfit as wrong:
    sys.exit(str(wrong))
pathlib.Path(out).write_text(planting.head(name, text) + text)
