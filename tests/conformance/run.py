"""Run other projects' protocol suites against everwire: Autobahn|Testsuite.

::

    python tests/conformance/run.py                 all but most of the deflate cases
    python tests/conformance/run.py --full          all 517 cases, both styles of servers and the client
    python tests/conformance/run.py --case 6.4.1 --leg client-tcp --leg server-listener-tls
    python tests/conformance/run.py --peer websockets --group core

The suite is Python 2 code: on first use it is installed from PyPI into ``.cache/autobahn`` with a Python 2.7
(pyenv's, or ``python2.7`` on the path); without one, its Docker image is used if a Docker engine answers.
With neither it says so and is skipped, or, where the environment has ``CI=true``, fails.

The verdict is strict: a case passes as OK or INFORMATIONAL, its closing too, and every case must have run.
The exit status is 0 only then. Verdicts are in ``.cache/autobahn/results.json``, the suite's own reports and
logs in ``.cache/autobahn/runs`` (``*/*/reports/index.html``). Deflate on asyncio's transports is thinned,
with ``--full`` too: the rest of a full run takes some two hours.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from conformance.autobahn.command import main

    sys.exit(main())
