"""Builds the native core: one extension module for each .pyx file of everwire._core.

EVERWIRE_TRACE=1 adds Cython line tracing (coverage); CFLAGS and LDFLAGS are honoured, for sanitizers.
"""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

CORE = Path("src/everwire/_core")
TRACE = os.environ.get("EVERWIRE_TRACE") == "1"

extensions = [
    Extension(
        f"everwire._core.{source.stem}",
        [str(source)],
        depends=[str(header) for header in sorted(CORE.glob("*.h"))],
        extra_compile_args=[] if sys.platform == "win32" else ["-O3", "-g0", "-fno-strict-aliasing", "-fwrapv"],
        define_macros=[("CYTHON_TRACE", "1")] if TRACE else [],
    )
    for source in sorted(CORE.glob("*.pyx"))
]

setup(
    ext_modules=cythonize(
        extensions,
        include_path=["src"],
        compiler_directives={
            "language_level": "3",
            "boundscheck": False,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
            "embedsignature": True,
            "linetrace": TRACE,
        },
    )
)
