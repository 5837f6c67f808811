"""Run the suites of Centrifugo's own clients against ``everwire serve``.

::

    python tests/sdk/run.py                       centrifuge-python's, and scenes that compare with Centrifugo
    python tests/sdk/run.py --js PATH             centrifuge-js's, too, from a checkout with its dependencies
    python tests/sdk/run.py --js PATH --only js   nothing else
    python tests/sdk/run.py --engine redis        against two nodes on Redis, each connection to the next one

The exit status is 0 only if all tests that apply pass. ``suites.py`` says which do not apply, and why.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cluster.balancer import balancing
from cluster.site import ENGINES, engine, nodes

from sdk import differential, suites
from sdk.peer import everwire


def measured(name: str, expected: int, run: Callable[[], suites.Outcome]) -> bool:
    """Run a suite, say what came of it."""
    begun = time.monotonic()
    outcome = run()
    complaints = outcome.complaints(expected)
    seconds = time.monotonic() - begun
    print(
        f"{name:40} {outcome.passed:3} of {expected:3} passed, {seconds:5.1f} s",
        *complaints,
        sep="\n",
        flush=True,
    )
    return not complaints


@contextlib.contextmanager
def served(profile: str, shared: str | None, directory: Path) -> Iterator[int]:
    """The port of a server with a profile; or of a balancer before two of them, that share an engine."""
    if shared is None:
        with everwire(profile) as base:
            yield urlsplit(base).port or 0
        return
    folder = directory / f"{shared}-{profile}"
    folder.mkdir()
    with (
        engine(shared, folder) as url,
        nodes(url, f"sdk.hubs:{profile}") as pair,
        balancing(pair.ports) as balancer,
    ):
        yield balancer.port
        counts = [balancer.targets.count(node) for node in range(len(pair.ports))]
        print(f"  connections to each node: {counts}")


def run_python(shared: str | None, directory: Path) -> bool:
    """centrifuge-python's suite."""
    passed: list[bool] = []
    not_here = suites.NOT_APPLICABLE_ON.get(shared or "", {})
    with served("python", shared, directory) as port:
        for module, count in suites.PYTHON_MODULES.items():
            without = [name for of, name in not_here if of == module]

            def run(module: str = module, without: list[str] = without) -> suites.Outcome:
                return suites.run_python(module, port, directory, without)

            passed.append(measured(f"centrifuge-python {module}", count - len(without), run))
    for (_, name), why in not_here.items():
        print(f"  not applicable on {shared}: {name} ({why})")
    return all(passed)


def run_js(checkout: Path, shared: str | None, directory: Path) -> bool:
    """centrifuge-js's suite."""
    with served("js", shared, directory) as port:
        passed = [
            measured(
                f"centrifuge-js {name}", count, lambda n=name: suites.run_js(checkout, n, port, directory)
            )
            for name, count in suites.JS_FILES.items()
        ]
    for tests, why in suites.NOT_APPLICABLE.items():
        print(f"  not applicable: {tests} ({why})")
    return all(passed)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--js", type=Path, help="a checkout of centrifuge-js")
    parser.add_argument("--only", choices=["python", "js", "scenes"], help="run this only")
    parser.add_argument("--engine", choices=ENGINES, help="run two nodes that share a server of this engine")
    options = parser.parse_args()
    if options.only == "js" and options.js is None:
        parser.error("--only js needs --js PATH, a checkout of centrifuge-js")
    passed: list[bool] = []
    with tempfile.TemporaryDirectory() as directory:
        try:
            if options.only in (None, "python"):
                passed.append(run_python(options.engine, Path(directory)))
            if options.js is not None and options.only in (None, "js"):
                passed.append(run_js(options.js.resolve(), options.engine, Path(directory)))
        except suites.Unavailable as error:
            print(error, file=sys.stderr)
            return 1
    if options.only == "scenes" or (options.only is None and options.engine is None):
        complaints = differential.compare(differential.SCENES, differential.load())
        print(*complaints, f"scenes beside Centrifugo: {len(complaints)} differ", sep="\n")
        passed.append(not complaints)
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
