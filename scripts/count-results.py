#!/usr/bin/env python3
"""Counts single test cases in JUnit files (FILE:EXITCODE ...) and prints `N passed, N failed, N skipped` last."""
import sys
import xml.etree.ElementTree as ElementTree

passed = failed = skipped = 0
broken = []
for word in sys.argv[1:]:
    path, code = word.rsplit(":", 1)
    before = failed
    try:
        suites = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        broken.append(f"{path}: {error}")
        continue
    for case in suites.iter("testcase"):
        kinds = {child.tag for child in case}
        if "failure" in kinds or "error" in kinds:
            failed += 1
            print(f"failed: {case.get('classname') or ''} {case.get('name')}")
        elif "skipped" in kinds:
            skipped += 1
        else:
            passed += 1
    if code != "0" and failed == before:
        failed += 1  # a program that crashed before it could name a case
        print(f"failed: {path}: the run ended with status {code}")
for line in broken:
    print(f"failed: no results: {line}")
failed += len(broken)
if passed + failed == 0:
    print("failed: nothing ran")
    failed = 1
print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(1 if failed else 0)
