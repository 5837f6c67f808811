"""Autobahn|Testsuite (RFC 6455, RFC 7692) run against everwire; see ``run.py``."""
