"""Autobahn|Testsuite: RFC 6455 and RFC 7692 as others test them.

All of the core cases on every leg, all of the limits cases over TCP and some over TLS, some of the deflate
cases over TCP (``cases.py`` says which); ``run.py --full`` runs all of those.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .autobahn import cases
from .autobahn.command import LEGS, needed_in_ci
from .autobahn.install import Suite, Unavailable, find_suite
from .autobahn.runner import Credentials, Leg, run_leg

CHOSEN = [(leg, "core") for leg in LEGS]
# everwire.sync reads frames by the same code: what differs is who does it.
CHOSEN += [(leg, "limits") for leg in LEGS if leg.reactor and leg.style != "threads"]
# One style of servers is enough: messages are compressed the same way for both.
CHOSEN += [(leg, "deflate") for leg in LEGS if leg.reactor and not leg.tls and leg.style == "coroutine"]


@pytest.fixture(scope="session")
def suite() -> Suite:
    """Autobahn|Testsuite, installed on first use; skipped where it cannot be, which in CI is a failure."""
    try:
        return find_suite()
    except Unavailable as error:
        if needed_in_ci():
            pytest.fail(f"Autobahn|Testsuite: {error}")
        pytest.skip(f"Autobahn|Testsuite: {error}")


@pytest.mark.parametrize(("leg", "group"), CHOSEN, ids=[f"{leg.name}-{group}" for leg, group in CHOSEN])
def test_autobahn(suite: Suite, certificates: Any, tmp_path: Path, leg: Leg, group: str) -> None:
    wanted = cases.select(group, quick=group == "deflate" or (group == "limits" and leg.tls))
    credentials = Credentials(certificates.ca_file, certificates.cert_file, certificates.key_file)
    outcome = run_leg(suite, leg, group, wanted, credentials=credentials, directory=tmp_path)
    failures = outcome.failures()
    assert not failures, "\n".join(failures)
