"""Find an ASGI application by its name: ``module:attribute``."""

from __future__ import annotations

import difflib
import importlib
import os
import pkgutil
import re
import sys
from collections.abc import Iterable
from typing import Any, cast

from everwire.asgi.scope import Application
from everwire.errors import ApplicationError

__all__ = ["load_app"]

_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"


def load_app(name: str, *, factory: bool = False, app_dir: str | os.PathLike[str] = ".") -> Application:
    """Import an application.

    Parameters:
        name: ``module:attribute``; the attribute may have dots.
        factory: whether the attribute is called, without arguments, for the application.
        app_dir: the directory in which modules are looked for first.

    Raises:
        ApplicationError: there is none; the message says what is missing.
    """
    if not re.fullmatch(f"{_NAME}:{_NAME}", name):
        raise ApplicationError(f"{name!r} names no application: write module:attribute, like main:app")
    directory = os.path.abspath(app_dir)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    module_name, _, attributes = name.partition(":")
    found: Any = _module(module_name, directory)
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            hint = _hint(attribute, (each for each in dir(found) if not each.startswith("_")))
            raise ApplicationError(f"module {module_name!r} has no attribute {attributes!r}{hint}") from None
    if factory:
        if not callable(found):
            raise ApplicationError(
                f"{name} cannot be called, so it makes no application: leave out --factory"
            )
        try:
            found = found()
        except Exception as error:
            raise ApplicationError(f"the factory {name} failed: {_what(error)}") from error
    if not callable(found):
        raise ApplicationError(
            f"{name} is not an ASGI application: it is of type {type(found).__name__}, which cannot be called"
        )
    return cast(Application, found)


def _module(name: str, directory: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(f"{missing}."):
            raise ApplicationError(f"{name} cannot be imported: {_what(error)}") from error
        parent, _, last = missing.rpartition(".")
        places = [directory] if not parent else getattr(sys.modules[parent], "__path__", None)
        if places is None:
            hint = f"; write {parent}" if last == "py" else ""
            raise ApplicationError(
                f"there is no module {missing!r}: {parent!r} is no package{hint}"
            ) from None
        hint = _hint(last, (module.name for module in pkgutil.iter_modules(places)))
        raise ApplicationError(f"there is no module {missing!r}, in {directory} or installed{hint}") from None
    except (Exception, SystemExit) as error:
        raise ApplicationError(f"{name} cannot be imported: {_what(error)}") from error


def _what(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _hint(name: str, candidates: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(candidates), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
