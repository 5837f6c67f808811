"""Builds the native core: one extension module for each .pyx file of everwire._core.

The environment steers it:

* ``CFLAGS`` and ``LDFLAGS`` are honoured, for sanitizers.
* ``EVERWIRE_DEBUG=1`` builds with symbols and assertions, and with few optimisations.
* ``EVERWIRE_TRACE=1`` adds Cython's line tracing, for coverage and profilers.
* ``EVERWIRE_CORE=0`` leaves the core out: for an editable install whose core is then built in place.
"""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

CORE = Path("src/everwire/_core")
DEBUG = os.environ.get("EVERWIRE_DEBUG") == "1"
TRACE = os.environ.get("EVERWIRE_TRACE") == "1"
JOBS = os.cpu_count() or 1


def compile_args() -> list[str]:
    """The compiler's options; CFLAGS come before them."""
    if sys.platform == "win32":
        return []
    # Buffers are read as words, and lengths are added with a check afterwards: neither may be optimised away.
    args = ["-fno-strict-aliasing", "-fwrapv"]
    return args + (["-O1", "-g", "-UNDEBUG", "-fno-omit-frame-pointer"] if DEBUG else ["-O3", "-g0"])


def extensions() -> list[Extension]:
    """One extension module for each .pyx file; all are rebuilt when a header changes."""
    if os.environ.get("EVERWIRE_CORE") == "0":
        return []
    return [
        Extension(
            f"everwire._core.{source.stem}",
            [str(source)],
            depends=[str(header) for header in sorted(CORE.glob("*.h"))],
            extra_compile_args=compile_args(),
            define_macros=[("CYTHON_TRACE", "1")] if TRACE else [],
        )
        for source in sorted(CORE.glob("*.pyx"))
    ]


# The guard is for the workers of cythonize, which import this file anew where processes are spawned.
if __name__ == "__main__":
    setup(
        ext_modules=cythonize(
            extensions(),
            include_path=["src"],
            nthreads=JOBS if sys.platform != "win32" else 0,
            compiler_directives={
                "language_level": "3",
                "boundscheck": False,
                "wraparound": False,
                "initializedcheck": False,
                "cdivision": True,
                "embedsignature": True,
                "linetrace": TRACE,
            },
        ),
        options={"build_ext": {"parallel": JOBS}},
    )
