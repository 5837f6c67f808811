"""Configuration files of a hub, for those who run one with no Python of their own: TOML, YAML or JSON.

What is there is checked whole before anything starts; an error names the file, the line and the key.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, cast, get_type_hints

import msgspec
from msgspec import Struct, field

from everwire.channels.centrifugo import advice
from everwire.channels.options import ChannelOptions, HubOptions
from everwire.channels.patterns import Pattern
from everwire.channels.tokens import TokenOptions
from everwire.errors import ConfigError

__all__ = ["Config", "Duration", "load_config"]

MAX_BYTES = 1 << 20
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
ALIASES = {"history_size": "history", "history_ttl": "ttl", "history_meta_ttl": "meta_ttl"}
"""Centrifugo's names of channel options that have others here."""
DURATIONS = {
    "ttl",
    "meta_ttl",
    "ping_interval",
    "pong_timeout",
    "stale_timeout",
    "expired_close_delay",
    "presence_ttl",
    "node_info_interval",
    "survey_timeout",
    "position_check_interval",
    "engine_start_timeout",
}
SECTIONS = ("client", "token", "api", "metrics")
"""The sections whose options can be set by the environment: EVERWIRE_CLIENT_PING_INTERVAL and so on."""


class Duration(float):
    """Seconds: a number, or text with a unit: ``300``, ``"300s"``, ``"5m"``, ``"1h30m"``."""

    @classmethod
    def parse(cls, value: object) -> Duration:
        """Read one.

        Raises:
            ValueError: it is none.
        """
        if isinstance(value, int | float) and not isinstance(value, bool):
            return cls(value)
        if isinstance(value, str):
            text = value.strip()
            parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[smhd])", text)
            if parts and "".join(number + unit for number, unit in parts) == text:
                return cls(sum(float(number) * UNITS[unit] for number, unit in parts))
            if re.fullmatch(r"\d+(\.\d+)?", text):
                return cls(text)
        raise ValueError(f"expected a duration like 30, '30s', '5m' or '1h', got {value!r}")


def _decode(kind: type, value: object) -> object:
    if kind is Duration:
        return Duration.parse(value)
    raise NotImplementedError


def _section(
    called: str,
    source: type,
    /,
    *,
    without: Collection[str] = (),
    strip: str = "",
    **more: Any,
) -> Any:
    """A section that has the options of a class."""
    hints = get_type_hints(source)
    fields: list[tuple[str, Any, Any]] = []
    for each in dataclasses.fields(source):
        if each.init and each.name not in without:
            kind = Duration if each.name in DURATIONS else hints[each.name]
            if hints[each.name] is Any:
                continue
            fields.append((each.name.removeprefix(strip), kind | None, None))
    fields += [(key, kind, None) for key, kind in more.items()]
    return msgspec.defstruct(called, fields, kw_only=True, forbid_unknown_fields=True, omit_defaults=True)


Names = str | list[str]
if TYPE_CHECKING:
    # They are made from the classes of the options: to type checkers anything.
    Client: TypeAlias = Any
    Token: TypeAlias = Any
    Options: TypeAlias = Any
    Namespace: TypeAlias = Any
    Patterned: TypeAlias = Any
else:
    Client = _section(
        "Client",
        HubOptions,
        without={"insecure"},
        origins=list[str] | None,
        max_size=int | None,
        max_backlog=int | None,
    )
    Token = _section("Token", TokenOptions, strip="token_")
    Options = _section("Options", ChannelOptions, without={"type"})
    Namespace = _section("Namespace", ChannelOptions, without={"type"}, name=str | None)
    Patterned = _section("Patterned", ChannelOptions, without={"type"}, pattern=str | None)


class Api(Struct, kw_only=True, forbid_unknown_fields=True):
    """The server API."""

    key: Names | None = None


class Metrics(Struct, kw_only=True, forbid_unknown_fields=True):
    """Metrics for Prometheus."""

    address: str | None = None


class Channel(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which channels there are."""

    without_namespace: Options | None = None
    namespaces: list[Namespace] = []
    patterns: list[Patterned] = []


class Config(Struct, kw_only=True, forbid_unknown_fields=True):
    """A configuration.

    Attributes:
        engine: where the logs are: ``"memory:"``, ``"sqlite:PATH"``, ``"nats://HOST"``, ``"redis://HOST"``;
            None: as for a hub that names none.
        name: for people.
        insecure: for development: everybody may do everything.
        client: the options of a hub, and of its transports.
        token: how tokens are checked.
        api: the server API.
        metrics: metrics at a port of their own.
        channel: which channels there are.
    """

    engine: str | None = None
    name: str = ""
    insecure: bool = False
    client: Client = field(default_factory=Client)
    token: Token = field(default_factory=Token)
    api: Api = field(default_factory=Api)
    metrics: Metrics = field(default_factory=Metrics)
    channel: Channel = field(default_factory=Channel)

    def hub_options(self) -> dict[str, Any]:
        """The same as arguments of :class:`everwire.Hub`."""
        options = _given(self.client)
        if (origins := options.get("origins")) is not None and "*" in origins:
            options["origins"] = None
        options |= {"token_" + name: value for name, value in _given(self.token).items()}
        if self.api.key is not None:
            options["api_key"] = self.api.key
        if self.metrics.address is not None:
            options["metrics_address"] = self.metrics.address
        return options | {"engine": self.engine, "name": self.name, "insecure": self.insecure}

    def channels(self) -> list[tuple[Pattern | str, ChannelOptions]]:
        """The channels: patterns, and the names of namespaces."""
        found: list[tuple[Pattern | str, ChannelOptions]] = []
        for each in self.channel.patterns:
            options = _given(each)
            found.append((Pattern(options.pop("pattern", "")), ChannelOptions(**options)))
        if self.channel.without_namespace is not None:
            found.append(("", ChannelOptions(**_given(self.channel.without_namespace))))
        for each in self.channel.namespaces:
            options = _given(each)
            found.append((options.pop("name", ""), ChannelOptions(**options)))
        return found


def _given(section: Any) -> dict[str, Any]:
    """The options of a section that were given."""
    return {
        name: value for name in section.__struct_fields__ if (value := getattr(section, name)) is not None
    }


def load_config(path: str | os.PathLike[str] | None, *, environ: Mapping[str, str] | None = None) -> Config:
    """Read a configuration, and check it whole.

    Parameters:
        path: a file with the ending ``.toml``, ``.yaml``, ``.yml`` or ``.json``; None: there is none.
        environ: where ``EVERWIRE_...`` variables are, which have precedence; None: the environment.

    Raises:
        ConfigError: it cannot be read, or says something that it cannot mean.
    """
    if path is None:
        config = Config()
        _from_environment(config, os.environ if environ is None else environ)
        return config
    file = Path(path)
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError(f"{file}: over the limit of {MAX_BYTES} bytes for a configuration")
        text = data.decode()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8: {error}") from None
    source = Source(file, text)
    raw = source.parse()
    config = source.convert(raw)
    _from_environment(config, os.environ if environ is None else environ)
    source.check(config)
    return config


class Source:
    """The text of a configuration, and where things are in it."""

    def __init__(self, file: Path, text: str) -> None:
        self.file = file
        self.text = text
        self.kind = file.suffix.lower()

    def parse(self) -> dict[str, Any]:
        """Read the text."""
        try:
            found = self._parse()
        except tomllib.TOMLDecodeError as error:
            where = re.search(r"line (\d+)", str(error))
            self._fail(f"no valid TOML: {error}", int(where[1]) if where else 0)
        except json.JSONDecodeError as error:
            self._fail(f"no valid JSON: {error.msg}", error.lineno)
        except RecursionError:
            self._fail("nested too deeply", 0)
        if not isinstance(found, dict):
            self._fail(f"has sections and options, not just {type(found).__name__}", 1)
        return cast(dict[str, Any], found)

    def _parse(self) -> Any:
        if self.kind == ".toml":
            return tomllib.loads(self.text)
        if self.kind == ".json":
            return json.loads(self.text)
        if self.kind not in (".yaml", ".yml"):
            self._fail(f"of no kind known by its ending {self.kind!r}: .toml, .yaml, .yml or .json", 0)
        try:
            import yaml
        except ModuleNotFoundError:
            problem = 'reading YAML needs pyyaml: pip install "everwire[channels]"'
            raise ConfigError(f"{self.file}: {problem}") from None
        try:
            return yaml.safe_load(self.text) or {}
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            self._fail(f"no valid YAML: {error.problem}", 0 if mark is None else mark.line + 1)
        except yaml.YAMLError as error:
            self._fail(f"no valid YAML: {error}", 0)

    def convert(self, raw: dict[str, Any]) -> Config:
        """Check names and types."""
        try:
            return msgspec.convert(_renamed(raw), Config, dec_hook=_decode)
        except msgspec.ValidationError as error:
            text = str(error)
            what, _, place = text.partition(" - at `")
            path = place.rstrip("`")
            unknown = re.search(r"unknown field `(.*?)`", what)
            if unknown is not None:
                name = unknown[1]
                self._fail(_unknown(name, path), self.line(f"{path or '$'}.{name}"))
            self._fail(f"{path.removeprefix('$.')}: {what[0].lower()}{what[1:]}", self.line(path))

    def check(self, config: Config) -> None:
        """Check what only the whole can tell."""
        try:
            HubOptions(
                **{
                    name: value
                    for name, value in _given(config.client).items()
                    if name in {each.name for each in dataclasses.fields(HubOptions)}
                }
            )
        except ValueError as error:
            self._fail(str(error), self.line("$.client"))
        for kind in ("namespaces", "patterns"):
            names: set[str] = set()
            for i, each in enumerate(getattr(config.channel, kind)):
                line = self.line(f"$.channel.{kind}[{i}]")
                key = kind[:-1] if kind == "patterns" else "name"
                name = getattr(each, key)
                if not name or name in names:
                    problem = f"there is {name!r} already" if name else f"has no {key}"
                    self._fail(f"channel.{kind}: the one at number {i + 1} {problem}", line)
                names.add(name)
        for place, options in self._all_channels(config):
            try:
                if isinstance(pattern := options.pop("pattern", None), str):
                    Pattern(pattern)
                options.pop("name", None)
                ChannelOptions(**options)
            except ValueError as error:
                self._fail(f"{place.removeprefix('$.')}: {error}", self.line(place))

    def _all_channels(self, config: Config) -> list[tuple[str, dict[str, Any]]]:
        channel = config.channel
        found = [
            (f"$.channel.{kind}[{i}]", _given(each))
            for kind in ("namespaces", "patterns")
            for i, each in enumerate(getattr(channel, kind))
        ]
        if channel.without_namespace is not None:
            found.append(("$.channel.without_namespace", _given(channel.without_namespace)))
        return found

    def line(self, path: str) -> int:
        """The line at which a path like ``$.channel.namespaces[1].history`` is; 0: not found."""
        place, last = 0, ""
        for name, index in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", path):
            if name:
                last = name
                names = [alias for alias, own in ALIASES.items() if own == name] + [name]
                either = "|".join(rf"(?<![\w-]){re.escape(each)}(?![\w-])" for each in names)
                found = re.compile(either).search(self.text, place)
                if found is None:
                    break
                place = found.start()
            else:
                begin = {".toml": rf"\[\[[^\]]*{re.escape(last)}\s*\]\]", ".json": r"\{"}
                starts = [
                    each.start() for each in re.finditer(begin.get(self.kind, r"(?m)^\s*- "), self.text)
                ]
                starts = [each for each in starts if each >= self.text.rfind("\n", 0, place) + 1]
                if int(index) >= len(starts):
                    break
                place = starts[int(index)] + (0 if self.kind != ".toml" else 2)
        return self.text.count("\n", 0, place) + 1 if place or path == "$" else 0

    def _fail(self, problem: str, line: int) -> NoReturn:
        raise ConfigError(f"{self.file}{f', line {line}' if line else ''}: {problem}") from None


KINDS: list[Any] = [Config, Client, Token, Api, Metrics, Channel, Namespace, Patterned]
SECTION_KINDS: dict[str, Any] = {
    "": Config,
    "[client]": Client,
    "[token]": Token,
    "[api]": Api,
    "[metrics]": Metrics,
    "[channel]": Channel,
    "[channel.without_namespace]": Options,
    "[[channel.namespaces]]": Namespace,
    "[[channel.patterns]]": Patterned,
}
"""The sections as TOML names them; the first has what is in none."""


def names_of(kind: Any) -> list[str]:
    """The names of the fields of a section."""
    return [each.name for each in msgspec.structs.fields(kind)]


def _unknown(name: str, path: str) -> str:
    """What to say of an option that its section does not have: what is meant perhaps, or where it belongs."""
    inside = re.sub(r"\[.*?\]", "", path).removeprefix("$").removeprefix(".")
    section = f"[[{inside}]]" if "[" in path else f"[{inside}]" if inside else ""
    if theirs := advice(f"{inside}.{name}".removeprefix(".")):
        return f"there is no option {name!r}; what Centrifugo calls so is here: {theirs}"
    homes = [home for home, kind in SECTION_KINDS.items() if home and name in names_of(kind)]
    if homes:
        where = f"in {section}" if section else "outside of sections"
        return f"there is no option {name!r} {where}; it belongs into {' or '.join(homes)}"
    own = names_of(SECTION_KINDS[section]) if section in SECTION_KINDS else known_names()
    close = difflib.get_close_matches(name, own, n=1) or difflib.get_close_matches(name, known_names(), n=1)
    return f"there is no option {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")


def known_names() -> list[str]:
    """The names of all options and sections."""
    return sorted({name for kind in KINDS for name in names_of(kind)} | set(ALIASES))


def _renamed(raw: Any) -> Any:
    """The same with our names for Centrifugo's."""
    given: object = raw
    if isinstance(given, dict):
        return {ALIASES.get(key, key): _renamed(value) for key, value in cast(dict[str, Any], given).items()}
    if isinstance(given, list):
        return [_renamed(each) for each in cast(Any, given)]
    return raw


def _from_environment(config: Config, environ: Mapping[str, str]) -> None:
    """Set what the environment says."""
    for section in (None, *SECTIONS):
        target: Any = config if section is None else getattr(config, section)
        prefix = "EVERWIRE_" if section is None else f"EVERWIRE_{section.upper()}_"
        hints = get_type_hints(cast(Any, type(target)))
        for name in ("engine", "name", "insecure") if section is None else target.__struct_fields__:
            value = environ.get(prefix + name.upper())
            if value is None:
                continue
            text: Any = value
            if name == "origins":
                text = [each.strip() for each in value.split(",") if each.strip()]
            try:
                setattr(target, name, msgspec.convert(text, hints[name], strict=False, dec_hook=_decode))
            except msgspec.ValidationError as error:
                shown = "" if section in ("token", "api") else f" {value!r}"
                raise ConfigError(f"environment, {prefix}{name.upper()}{shown}: {error}") from None
