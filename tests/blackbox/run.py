#!/usr/bin/env python3
"""Runs the black-box tests of the modules named and prints TAP, one line a test."""
import pathlib
import sys
import traceback
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))


class Tap(unittest.TestResult):
    count = 0
    bad = 0

    def line(self, ok, test, extra="", details=""):
        Tap.count += 1
        print(f"{'ok' if ok else 'not ok'} {Tap.count} - {test.id()}{extra}", flush=True)
        for row in details.splitlines():
            print(f"# {row}", flush=True)

    def addSuccess(self, test):
        self.line(True, test)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        Tap.bad += 1
        self.line(False, test, details="".join(traceback.format_exception(*error)))

    addError = addFailure

    def addSkip(self, test, reason):
        self.line(True, test, f" # SKIP {reason}")


names = sys.argv[1:]
suite = unittest.defaultTestLoader.loadTestsFromNames(names)
suite.run(Tap())
print(f"1..{Tap.count}")
sys.exit(1 if Tap.bad or Tap.count == 0 else 0)
