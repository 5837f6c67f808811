"""Run a module of unittest tests; print, as a line of JSON, how many passed and what is said of the others.

The names of methods that come after it are left out.

A test passes only if it did not fail, was not skipped, and all of its subtests passed.
"""

from __future__ import annotations

import json
import sys
import unittest
from collections.abc import Iterator
from typing import Any


class Result(unittest.TestResult):
    """Counts tests: in unittest's eyes a test is a success, too, if its subtests fail."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[str, str] = {}

    def passed(self) -> int:
        """How many passed."""
        for what, case, why in [
            *(("failed", *each) for each in self.failures),
            *(("failed", *each) for each in self.errors),
            *(("was skipped", *each) for each in self.skipped),
        ]:
            # A subtest has its test within.
            test: Any = getattr(case, "test_case", case)
            self.told[test.id()] = self.told.get(test.id(), "") + f"{what}: {why}\n"
        return self.testsRun - len(self.told)


def flat(tests: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """The tests of a suite, one by one."""
    for test in tests:
        if isinstance(test, unittest.TestSuite):
            yield from flat(test)
        else:
            yield test


def main() -> None:
    """The command."""
    sys.path.insert(0, "")
    result = Result()
    module, *without = sys.argv[1:]
    tests = unittest.TestSuite(
        test
        for test in flat(unittest.defaultTestLoader.loadTestsFromName(module))
        if test.id().rpartition(".")[2] not in without
    )
    tests.run(result)
    print(json.dumps({"passed": result.passed(), "failures": result.told}))


if __name__ == "__main__":
    main()
