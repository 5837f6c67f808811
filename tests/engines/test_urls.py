"""URLs of engines: no password is in a message, however wrong the URL is."""

from __future__ import annotations

import pytest

from everwire.engines import open_engine
from everwire.engines.nats import NatsEngine
from everwire.engines.nats.options import NatsOptions
from everwire.engines.redis import RedisEngine
from everwire.engines.urls import without_secrets
from everwire.errors import ConfigError


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u:s3cret@h/db",
        "reddis://u:s3cret@h",
        "u:s3cret@h",
        "s3cret@h",
        "redis:/u:s3cret@h",
        "redis://u:x/s3cret@h:port",
        "redis://u:x?s3cret@h",
        "redis+sentinel://u:x/s3cret@h",
        "nats:/u:s3cret@h",
        "nats://u:s3cret@h:port",
        "nats://u:x?s3cret@h",
        "nats://u:s3cret?x@h",
        "memory:s3cret@h",
    ],
)
def test_a_url_that_makes_no_sense_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_engine(url)
    assert "s3cret" not in str(caught.value)


def test_a_password_may_have_a_slash() -> None:
    engine = RedisEngine("redis://u:s3/cr@et@h:1/2")
    assert engine._settings.password == "s3/cr@et"
    assert (str(engine._settings), engine._settings.db) == ("h:1", 2)


def test_digits_are_a_number_only_where_one_is_meant() -> None:
    engine = open_engine(
        "redis://h?username=01&password=00123&sentinel_password=007&prefix=5"
        "&db=3&timeout=2.5&heartbeat=1&max_waiting=10&wait_replicas=1"
    )
    assert isinstance(engine, RedisEngine)
    found = engine._settings
    assert (found.username, found.password, found.sentinel_password) == ("01", "00123", "007")
    assert (found.db, found.timeout, found.heartbeat) == (3, 2.5, 1.0)
    assert (found.max_waiting, found.wait_replicas) == (10, 1)
    other = open_engine("nats://h?token=00123&prefix=5&replicas=3")
    assert isinstance(other, NatsEngine)
    assert (other._options.token, other._options.prefix, other._options.replicas) == ("00123", "5", 3)


@pytest.mark.parametrize("url", ["redis://u:x?s3cret@h", "redis:u:s3cret@h", "redis://h?password=s3cret"])
def test_the_engine_of_redis_by_itself_does_not_show_it_either(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RedisEngine(url)
    assert "s3cret" not in str(caught.value)


def test_options_of_nats_do_not_show_it_either() -> None:
    for url in ("nats:s3cret@h", "nats://u:s3cret?x@h", "s3cret@h"):
        with pytest.raises(ConfigError) as caught:
            NatsOptions.from_url(url, {})
        assert "s3cret" not in str(caught.value)


def test_what_is_shown_says_where_it_is() -> None:
    assert without_secrets("nats://u:p@a:1,b?token=t") == "nats://a:1,b"
    assert without_secrets("nats://a") == "nats://a"
    assert without_secrets("nats://a?password=x@y") == "nats://..."
