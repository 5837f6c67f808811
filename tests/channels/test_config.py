"""Configuration files: what they mean, and what is said of mistakes."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from docs.pages import DOCS, blocks, tables

from everwire.channels import config as module
from everwire.channels.centrifugo import ALWAYS, OPTIONS, advice
from everwire.channels.config import Duration, load_config
from everwire.channels.options import ChannelOptions, HubOptions
from everwire.errors import ConfigError
from everwire.hub import Hub

PAGE = DOCS / "how-to" / "migrate-from-centrifugo.md"

TOML = """\
engine = "memory:"
name = "mine"

[client]
ping_interval = "20s"
pong_timeout = 5
origins = ["https://a.example"]

[token]
hmac_secret_key = "a secret of more than thirty-two bytes"

[api]
key = ["new", "old"]

[channel.without_namespace]
history_size = 10
history_ttl = "5m"

[[channel.namespaces]]
name = "chat"
presence = true

[[channel.namespaces]]
name = "cache"
history = 1
force_recovery_mode = "cache"

[[channel.patterns]]
pattern = "room:{room}"
join_leave = true
"""
YAML = """\
client: {ping_interval: 20s, pong_timeout: 5, origins: [https://a.example]}
name: mine
token:
  hmac_secret_key: a secret of more than thirty-two bytes
api:
  key: [new, old]
channel:
  without_namespace: {history_size: 10, history_ttl: 5m}
  namespaces:
    - name: chat
      presence: true
    - name: cache
      history: 1
      force_recovery_mode: cache
  patterns:
    - pattern: "room:{room}"
      join_leave: true
"""
JSON = """{"name": "mine", "client": {"ping_interval": "20s", "pong_timeout": 5, "origins": ["https://a.example"]},
"token": {"hmac_secret_key": "a secret of more than thirty-two bytes"}, "api": {"key": ["new", "old"]},
"channel": {"without_namespace": {"history_size": 10, "history_ttl": "5m"},
"namespaces": [{"name": "chat", "presence": true},
{"name": "cache", "history": 1, "force_recovery_mode": "cache"}],
"patterns": [{"pattern": "room:{room}", "join_leave": true}]}}"""


def written(folder: Path, text: str, kind: str = "toml") -> Path:
    file = folder / f"hub.{kind}"
    file.write_text(text)
    return file


@pytest.mark.parametrize(("kind", "text"), [("toml", TOML), ("yaml", YAML), ("yml", YAML), ("json", JSON)])
def test_a_hub_from_a_file(tmp_path: Path, kind: str, text: str) -> None:
    hub = Hub.from_config(written(tmp_path, text, kind))
    assert hub.name == "mine"
    assert (hub.options.ping_interval, hub.options.pong_timeout) == (20.0, 5.0)
    assert hub.transports.origins == ["https://a.example"]
    assert hub.verifier is not None
    found = {channel: hub.rules.find(channel) for channel in ("x", "chat:1", "cache:1", "room:1", "no:1")}
    assert found["no:1"] is None
    options = {name: rule.options for name, rule in found.items() if rule is not None}
    assert (options["x"].history, options["x"].ttl) == (10, 300.0)
    assert options["chat:1"].presence and not options["x"].presence
    assert options["cache:1"].force_recovery_mode == "cache"
    assert options["room:1"].join_leave


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "presence = true",
            "presense = true",
            "line 21: there is no option 'presense'; did you mean 'presence'?",
        ),
        ("history = 1", 'history = "x"', "line 25: channel.namespaces[1].history: expected `int"),
        ('"5m"', '"5 minutes"', "line 17: channel.without_namespace.ttl: expected a duration like 30"),
        ('"20s"', "3", "line 4: pong_timeout (5 s) must be below ping_interval (3 s)"),
        (
            'name = "cache"',
            'name = "chat"',
            "line 23: channel.namespaces: the one at number 2 there is 'chat'",
        ),
        ('name = "chat"\n', "", "line 19: channel.namespaces: the one at number 1 has no name"),
        ("{room}", "{room", "line 28: channel.patterns[0]: the channel pattern"),
        ("history = 1", "history = -1", "line 23: channel.namespaces[1]: history is 0 or more"),
        ('name = "mine"', "name = = 1", "line 2: no valid TOML"),
        ('"memory:"', '"kafka:"', "there is no engine"),
        ("[api]\nkey", "[api]\nkeys", "line 13: there is no option 'keys'; did you mean 'key'?"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TOML
    with pytest.raises(ConfigError, match=re.escape(message)):
        Hub.from_config(written(tmp_path, TOML.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("yaml", "client:\n  ping_intervall: 3\n", "line 2: there is no option 'ping_intervall'"),
        ("yaml", "channel:\n  namespaces:\n    - name: a\n    - name: b\n      ttl: x\n", "line 5: "),
        (
            "toml",
            "[channel]\nhistory_size = 10\n",
            "line 2: there is no option 'history' in [channel]; it belongs into "
            "[channel.without_namespace] or [[channel.namespaces]] or [[channel.patterns]]",
        ),
        ("toml", "key = 'x'\n", "there is no option 'key' outside of sections; it belongs into [api]"),
        ("yaml", "a: [", "line 1: no valid YAML"),
        ("json", '{"channel":\n{"namespaces":[\n{"name":"a"},\n{"history":"x"}]}}', "line 4: "),
        ("json", "{", "line 1: no valid JSON"),
        ("json", "[1]", "line 1: has sections and options, not just list"),
        ("json", "[" * 100_000, "nested too deeply"),
        ("ini", "", "of no kind known by its ending '.ini'"),
    ],
)
def test_mistakes_in_other_kinds(tmp_path: Path, kind: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(written(tmp_path, text, kind), environ={})


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "no.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (module.MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="over the limit"):
        load_config(tmp_path / "large.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe4")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "latin.toml")


def test_the_environment_has_precedence(tmp_path: Path) -> None:
    environ = {
        "EVERWIRE_ENGINE": "sqlite:x.db",
        "EVERWIRE_INSECURE": "true",
        "EVERWIRE_CLIENT_PING_INTERVAL": "1m",
        "EVERWIRE_CLIENT_ORIGINS": "https://b.example, https://c.example",
        "EVERWIRE_API_KEY": "from-outside",
        "EVERWIRE_TOKEN_HMAC_SECRET_KEY": "another secret of more than thirty-two bytes",
        "EVERWIRE_REACTOR": "off",
    }
    options = load_config(written(tmp_path, TOML), environ=environ).hub_options()
    assert options["engine"] == "sqlite:x.db" and options["insecure"] is True
    assert options["ping_interval"] == 60.0 and options["pong_timeout"] == 5.0
    assert options["origins"] == ["https://b.example", "https://c.example"]
    assert options["api_key"] == "from-outside" and options["token_hmac_secret_key"].startswith("another")
    with pytest.raises(ConfigError, match="EVERWIRE_CLIENT_CHANNEL_LIMIT 'many'"):
        load_config(written(tmp_path, TOML), environ={"EVERWIRE_CLIENT_CHANNEL_LIMIT": "many"})


@pytest.mark.parametrize(
    ("text", "seconds"), [(30, 30), (0.5, 0.5), ("30", 30), ("500ms", 0.5), ("1h30m", 5400), ("7d", 604800)]
)
def test_durations(text: object, seconds: float) -> None:
    assert Duration.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "5x", "-3", True, None, [], "5 m 3"])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        Duration.parse(text)


def documented(section: str) -> set[str]:
    rows = tables(DOCS / "reference" / "configuration.md", section)
    return {name for row in rows for name in re.findall(r"`([a-z_]+)`", row["option"])}


def test_the_reference_names_every_option() -> None:
    fields: Any = lambda kind: {each.name for each in dataclasses.fields(kind) if each.init}  # noqa: E731
    assert documented("client") == fields(HubOptions) - {"insecure"} | {"origins", "max_size", "max_backlog"}
    assert documented("channel") == fields(ChannelOptions) - {"type"} | set(module.ALIASES)
    assert documented("api") == set(module.Api.__struct_fields__)
    assert documented("metrics") == set(module.Metrics.__struct_fields__)
    assert documented("token") == set(module.Token.__struct_fields__)


def at(path: str) -> str:
    """A configuration in JSON with an option at a path."""
    *sections, name = path.split(".")
    made: Any = {name: {}}
    for section in reversed(sections):
        made = {section: [made | {"name": "x"}] if section == "namespaces" else made}
    return json.dumps(made)


@pytest.mark.parametrize("path", OPTIONS)
def test_what_centrifugo_calls_otherwise_is_said(tmp_path: Path, path: str) -> None:
    name = path.rpartition(".")[2]
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, at(path), "json"), environ={})
    said = f"there is no option {name!r}; what Centrifugo calls so is here: {OPTIONS[path]}"
    assert str(caught.value).endswith(said)


def test_the_options_of_namespaces_are_those_of_channels_without_one() -> None:
    assert advice("channel.without_namespace.channel_regex") == advice("channel.namespaces.channel_regex")
    assert advice("channel.namespaces.histroy") == ""


def test_the_page_about_moving_from_centrifugo_has_the_same_table() -> None:
    table = tables(PAGE, "Options by their names there")
    assert {row["Centrifugo 6"].strip("`"): row["here"] for row in table} == {
        path: here for path, here in OPTIONS.items() if here != ALWAYS
    }
    always = [path for path, here in OPTIONS.items() if here == ALWAYS]
    assert f"{', '.join(f'`{path}`' for path in always)} are always there" in " ".join(
        PAGE.read_text().split()
    )


def test_the_configuration_on_that_page_is_one(tmp_path: Path) -> None:
    [toml] = [block.code for block in blocks(PAGE) if block.language == "toml"]
    config = load_config(written(tmp_path, toml), environ={})
    [(name, options)] = config.channels()
    assert (name, options.history, options.ttl, options.presence) == ("chat", 100, 300.0, True)
    assert config.hub_options()["engine"].startswith("redis://")
