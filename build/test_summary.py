#!/usr/bin/env python3
"""Sums up ginkgo's JSON report: a line per suite, the slowest specs, and last
the counts, "N passed, N failed". Exits 1 unless all is well.

    test_summary.py REPORT STATUS      STATUS is ginkgo's exit code

A suite that fails without a failed spec (it does not compile, or a plain Go
test or fuzz seed in it failed) counts as one failure, and so does a run that
ends badly without a report.
"""

import json
import os
import sys

PASSED = "passed"
NOT_RUN = ("skipped", "pending")


def main(report, status):
    try:
        with open(report, encoding="utf-8") as f:
            suites = json.load(f) or []
    except (OSError, ValueError) as e:
        print(f"There is no report of the tests: {e}")
        suites = []

    passed = failed = 0
    slowest = []
    failures = []
    print()
    for suite in sorted(suites, key=lambda s: s["SuitePath"]):
        specs = suite.get("SpecReports") or []
        where = os.path.relpath(suite["SuitePath"])
        states = [s["State"] for s in specs if s["LeafNodeType"] == "It"]
        good = states.count(PASSED)
        # Setup and teardown nodes are reported too; they count when they fail.
        bad = [s for s in specs if s["State"] not in (PASSED, *NOT_RUN)]
        if not bad and not suite["SuiteSucceeded"]:
            reasons = suite.get("SpecialSuiteFailureReasons") or ["a plain Go test failed, or the process died"]
            failures.append(f"{where}: {'; '.join(' '.join(r.split())[:200] for r in reasons)}")
            failed += 1
        for spec in bad:
            name = " ".join([*(spec["ContainerHierarchyTexts"] or []), spec["LeafNodeText"] or spec["LeafNodeType"]])
            failures.append(f"{where}: {name} ({spec['State']})")
        passed += good
        failed += len(bad)
        slowest += [(s["RunTime"] / 1e9, s["LeafNodeText"]) for s in specs if s["State"] == PASSED]
        print(f"{good:5} of {len(states):<5} {suite['RunTime'] / 1e9:7.1f} s  {suite['SuiteDescription'] or where} ({where})")

    slowest = [s for s in sorted(slowest, reverse=True)[:5] if s[0] >= 1]
    if slowest:
        print("\nSlowest specs:")
        for seconds, name in slowest:
            print(f"{seconds:7.1f} s  {name}")
    if status != 0 and failed == 0:
        failures.append(f"ginkgo ended with exit code {status}")
        failed = 1
    if passed == 0 and failed == 0:
        failures.append("no spec ran")
        failed = 1
    if failures:
        print("\nFailed:")
        for failure in failures:
            print(f"  {failure}")
    print(f"\n{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
