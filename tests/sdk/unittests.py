"""Run a module of unittest tests; print, as a line of JSON, how many passed and what is said of the others.

A test passes only if it did not fail, was not skipped, and all of its subtests passed.
"""

from __future__ import annotations

import json
import sys
import unittest
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


def main() -> None:
    """The command."""
    sys.path.insert(0, "")
    result = Result()
    unittest.defaultTestLoader.loadTestsFromName(sys.argv[1]).run(result)
    print(json.dumps({"passed": result.passed(), "failures": result.told}))


if __name__ == "__main__":
    main()
