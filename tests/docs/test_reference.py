"""The tables of the reference name what there is, with the defaults that the code has."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest

import everwire
from docs.pages import DOCS, ROOT, tables
from everwire import errors
from everwire.web.opening import ConnectOptions
from everwire.web.streams import ReadableStream, WritableStream, WritableStreamDefaultWriter

REFERENCE = DOCS / "reference"
STUBS = ROOT / "src" / "everwire" / "_core"
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "s": 1}

SERVER = ("Where", "The opening handshake", "Limits", "Timeouts", "Other")
CLIENT = ("The request", "The way", "Limits", "Timeouts", "What happens with it")
CONNECTION = ("Receiving", "Sending", "Pings", "Closing", "What is known of it")

INTERNAL = {"attach_socket", "start", "open", "reject", "hand_over", "pause_raw", "resume_raw", "raw_write"}
INTERNAL |= {
    "handed_over",
    "take_back",
    "raw_close",
    "raw_eof",
    "settings",
    "fileno",
    "opened",
    "next_head",
    "deliberate",
    "open_stream",
    "set_remote_address",
}
"""Members of a connection for serve and connect, not for users."""

IN_PROSE = {"user_agent_header"}
"""Options whose default is described, not quoted: it has versions in it."""


def default(cell: str) -> Any:
    """The value that a cell of a table stands for."""
    quantity = re.fullmatch(r"(\d+) (KiB|MiB|s)", cell)
    if quantity is not None:
        return int(quantity[1]) * UNITS[quantity[2]]
    assert cell.startswith("`"), f"{cell!r} is neither code nor a quantity"
    return ast.literal_eval(cell.strip("`"))


def options(page: str, *headings: str) -> dict[str, str]:
    """The defaults of options as the tables under these headings give them."""
    rows = [row for heading in headings for row in tables(REFERENCE / page, heading) if "option" in row]
    names = [row["option"].strip("`") for row in rows]
    assert len(names) == len(set(names)), "an option is there twice"
    return dict(zip(names, (row["default"] for row in rows), strict=True))


def members(page: str, *headings: str) -> list[str]:
    """The members that the tables under these headings have, without the backquotes."""
    rows = [row for heading in headings for row in tables(REFERENCE / page, heading)]
    return [code.strip("`") for row in rows if (code := row.get("member") or row.get("method"))]


def parameters(function: Callable[..., Any]) -> dict[str, Any]:
    """The parameters of a function that have a default, and it."""
    found = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in found if each.default is not inspect.Parameter.empty}


@pytest.mark.parametrize(
    ("page", "headings", "function"),
    [
        ("server.md", SERVER, everwire.serve),
        ("client.md", CLIENT, everwire.connect),
        ("topic.md", ("Topic",), None),
        ("sync.md", ("connect",), everwire.sync.connect),
        ("sync.md", ("serve",), everwire.sync.serve),
    ],
    ids=["serve", "connect", "Topic", "sync.connect", "sync.serve"],
)
def test_options(page: str, headings: tuple[str, ...], function: Callable[..., Any] | None) -> None:
    documented = options(page, *headings)
    actual = parameters(function) if function is not None else stub_defaults(everwire.Topic)
    assert list(set(actual) ^ set(documented)) == []
    found = {name: default(cell) for name, cell in documented.items() if name not in IN_PROSE}
    assert found == {name: value for name, value in actual.items() if name not in IN_PROSE}


@pytest.mark.parametrize("kind", [everwire.Backoff, everwire.Deflate], ids=lambda kind: kind.__name__)
def test_fields(kind: type[Any]) -> None:
    documented = options("client.md", kind.__name__)
    fields = {each.name: each.default for each in dataclasses.fields(kind)}
    assert list(documented) == list(fields)
    for name, value in fields.items():
        if callable(value):
            assert documented[name].strip("`").split(".")[-1] == value.__name__
        else:
            assert default(documented[name]) == value, name


# The core's functions show no signatures; their stubs do, and tests/source compares those to the core.


def stub(kind: type[Any]) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """The public methods and properties of a class itself, by its stub; of overloads the last one."""
    file = STUBS / f"{kind.__module__.rpartition('.')[2]}.pyi"
    nodes = ast.parse(file.read_text()).body
    found = next(node for node in nodes if isinstance(node, ast.ClassDef) and node.name == kind.__name__)
    methods: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
    for node in found.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            setter = any(isinstance(each, ast.Attribute) for each in node.decorator_list)
            if not setter and (not node.name.startswith("_") or node.name == "__init__"):
                methods[node.name] = node
    return methods


def connection() -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """The methods and properties of a connection, without those of the layers below."""
    kinds = itertools.takewhile(lambda kind: kind.__name__ != "Link", everwire.Connection.__mro__)
    found: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
    for kind in kinds:
        found = stub(kind) | found
    found.pop("__init__", None)
    return found


def stub_defaults(kind: type[Any]) -> dict[str, Any]:
    """The defaults of the keyword-only parameters of a constructor, by the stub."""
    arguments = stub(kind)["__init__"].args
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return {argument.arg: ast.literal_eval(value) for argument, value in pairs if value is not None}


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """A method as the documentation writes it: without self and annotations; a property is its name."""
    if any(isinstance(each, ast.Name) and each.id == "property" for each in node.decorator_list):
        return node.name
    copy = ast.parse(ast.unparse(node)).body[0]
    assert isinstance(copy, ast.FunctionDef | ast.AsyncFunctionDef)
    for argument in (*copy.args.posonlyargs, *copy.args.args, *copy.args.kwonlyargs):
        argument.annotation = None
    del copy.args.args[:1]
    return f"{node.name}({ast.unparse(copy.args)})".replace("'", '"')


def normal(code: str) -> str:
    return code.removeprefix("await ")


def test_the_connection() -> None:
    documented = [normal(each) for each in members("connection.md", *CONNECTION)]
    actual = {name: node for name, node in connection().items() if name not in INTERNAL}
    actual["recv"].args.defaults = [ast.Constant(None)]  # in the stub a type for each value
    expected = {signature(node) for node in actual.values()} | {"async for message in ws", "data"}
    assert set(documented) == expected
    assert len(documented) == len(expected)


def test_what_is_internal_exists() -> None:
    assert INTERNAL - set(connection()) == set()


def test_the_topic() -> None:
    methods = stub(everwire.Topic)
    del methods["__init__"]
    assert members("topic.md", "Topic") == [signature(node) for node in methods.values()]


def test_the_server() -> None:
    documented = {re.sub(r"\(.*", "", normal(each)): normal(each) for each in members("server.md", "Server")}
    public = {name for name in dir(everwire.Server) if not name.startswith("_")} | {"sockets"}
    assert set(documented) == public
    close = inspect.signature(everwire.Server.close)
    names = [each.replace(annotation=inspect.Parameter.empty) for each in list(close.parameters.values())[1:]]
    written = str(inspect.Signature(names)).replace("'", '"')
    assert documented["close"] == f"close{written}"


SYNC_INTERNAL = {
    "attach",
    "secure",
    "read_head",
    "read_raw",
    "write_raw",
    "finish_raw",
    "open",
    "start",
    "tend",
}
SYNC_INTERNAL |= {"send_ping", "pongs_received", "begin_close", "wait_end", "help_reading", "look", "abort"}
SYNC_INTERNAL |= {
    "detach",
    "on_over",
    "on_pongs",
    "on_ended",
    "heard",
    "closing_since",
    "paused",
    "raw",
    "ended",
}
SYNC_INTERNAL |= {
    "finish_failing",
    "is_busy_here",
    "broken",
    "seen",
    "lost",
    "client",
    "failure",
    "state",
    "closed_ok",
    "closed_error",
}
"""Members of a blocking connection for its own modules, or said in its docstring alone."""


@pytest.mark.parametrize(
    ("heading", "kind", "others"),
    [
        (
            "Connection",
            everwire.sync.Connection,
            {"for message in ws", "data", "latency", "subprotocol", "request", "response"}
            | {"remote_address", "local_address"},
        ),
        ("Server", everwire.sync.Server, {"sockets"}),
    ],
)
def test_the_blocking_api(heading: str, kind: type[Any], others: set[str]) -> None:
    documented = {re.sub(r"\(.*", "", each) for each in members("sync.md", heading)}
    assert documented == {name for name in dir(kind) if not name.startswith("_")} - SYNC_INTERNAL | others


def test_the_listener() -> None:
    documented = {re.sub(r"\(.*", "", each): each for each in members("listener.md", "Listener")}
    public = [name for name in vars(everwire.Listener) if name.startswith("on_")]
    assert set(documented) == set(public)
    for name in public:
        arguments = ", ".join(list(inspect.signature(getattr(everwire.Listener, name)).parameters)[1:])
        assert documented[name] == f"{name}({arguments})"


@pytest.mark.parametrize("kind", [everwire.Request, everwire.Response], ids=lambda kind: kind.__name__)
def test_requests_and_responses(kind: type[Any]) -> None:
    public = {name for name in dir(kind) if not name.startswith("_")} | set(kind.__slots__)
    assert set(members("http.md", kind.__name__)) == public - {"parse", "serialize", "of"}


@pytest.mark.parametrize(
    "kind",
    [
        everwire.WebSocket,
        everwire.WebSocketStream,
        everwire.Blob,
        everwire.EventTarget,
        everwire.AbortController,
        everwire.Event,
        everwire.MessageEvent,
        everwire.ErrorEvent,
        everwire.CloseEvent,
        ReadableStream,
        WritableStream,
        WritableStreamDefaultWriter,
    ],
    ids=lambda kind: kind.__name__,
)
def test_the_browser_api(kind: type[Any]) -> None:
    text = (REFERENCE / "websocket-api.md").read_text()
    internal = {"of", "unlock", "stopPropagation"}
    public = {name for name in vars(kind) if not name.startswith("_") and not name.isupper()} - internal
    missing = {name for name in public if not re.search(rf"`(await )?([a-zA-Z.]+\.)?{name}\b", text)}
    assert missing - {name for name in public if name in kind.__doc__} == set()


def test_the_options_of_the_browser_api() -> None:
    left_out = {"subprotocols", "listener", "overflow", "backoff", "create_connection"}
    assert set(ConnectOptions.__annotations__) == set(parameters(everwire.connect)) - left_out
    text = (REFERENCE / "websocket-api.md").read_text()
    assert all(f"`{name}`" in text for name in left_out)


def test_send_status() -> None:
    rows = list(tables(REFERENCE / "connection.md", "SendStatus"))
    assert {row["member"].strip("`"): row["truth"] for row in rows} == {
        status.name: str(bool(status)) for status in everwire.SendStatus
    }


def test_errors() -> None:
    rows = {
        row["exception"].strip("`"): row["is a"].strip("`")
        for row in tables(REFERENCE / "errors.md", "Errors")
    }
    kinds = {name: getattr(errors, name) for name in errors.__all__ if name != "Close"}
    assert rows == {name: kind.__base__.__name__ for name, kind in kinds.items()}


def test_attributes_of_errors() -> None:
    for row in tables(REFERENCE / "errors.md", "Attributes"):
        kind, attribute = getattr(errors, row["exception"].strip("`")), row["attribute"].strip("`")
        stated = re.search(rf"^\s+{attribute}: ", kind.__doc__, re.MULTILINE)
        assert stated or hasattr(kind, attribute), row


def test_close_codes() -> None:
    rows = {int(row["code"]): row["meaning"] for row in tables(REFERENCE / "close-codes.md", "Close codes")}
    assert rows == errors.CLOSE_CODES
