"""Suites that others wrote, run against everwire, and our own tests by section of the standards."""
