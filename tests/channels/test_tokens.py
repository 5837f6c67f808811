"""Tokens: what they say, and which are refused."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.keys import SECRET, pair
from everwire.channels.signing import Signer
from everwire.channels.tokens import Capabilities, Capability, TokenOptions, Verifier
from everwire.errors import TokenError, TokenExpired

NOW = 1_700_000_000.0
ALGORITHMS = {
    "HS256": "token_hmac_secret_key",
    "HS512": "token_hmac_secret_key",
    "RS256": "token_rsa_public_key",
    "PS384": "token_rsa_public_key",
    "ES256": "token_ecdsa_public_key",
    "ES384": "token_ecdsa_public_key",
    "ES512": "token_ecdsa_public_key",
    "EdDSA": "token_eddsa_public_key",
}


def verifier(**options: Any) -> Verifier:
    """What checks tokens at NOW, by the secret unless another key is given."""
    return Verifier(TokenOptions(**(options or {"token_hmac_secret_key": SECRET})), clock=lambda: NOW)


def signer(secret: str = SECRET, algorithm: str = "HS256") -> Signer:
    return Signer(secret, algorithm, clock=lambda: NOW)


def connection(token: str, **options: Any) -> Any:
    return asyncio.run(verifier(**options).connection(token))


def subscription(token: str, **options: Any) -> Any:
    return asyncio.run(verifier(**options).subscription(token))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_each_algorithm(algorithm: str) -> None:
    if algorithm.startswith("HS"):
        private = public = SECRET
    else:
        private, public = pair(algorithm).private, pair(algorithm).public
    token = signer(private, algorithm).connection("42")
    assert connection(token, **{ALGORITHMS[algorithm]: public}).user == "42"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_token_signed_with_another_key_is_refused(algorithm: str) -> None:
    token = signer(pair(algorithm, 1).private, algorithm).connection("42")
    with pytest.raises(TokenError, match="not of a key that is set"):
        connection(token, **{ALGORITHMS[algorithm]: pair(algorithm).public})


def test_a_public_key_is_no_secret() -> None:
    # What an attacker can make who knows the public key, and has the header say HMAC.
    public = pair("RS256").public
    import hmac

    def part(value: bytes) -> bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    signed = part(b'{"alg":"HS256"}') + b"." + part(b'{"sub":"42"}')
    forged = signed + b"." + part(hmac.digest(public.encode(), signed, "sha256"))
    with pytest.raises(TokenError, match="signed with HS256; keys are set for RS256"):
        connection(forged.decode(), token_rsa_public_key=public)


def test_a_token_without_signature_is_refused() -> None:
    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    for name in ("none", "None", "NONE"):
        token = part(json.dumps({"alg": name}).encode()) + "." + part(b'{"sub":"42"}') + "."
        with pytest.raises(TokenError, match=r"signed with|malformed"):
            connection(token)


def test_secrets_are_changed_without_a_break() -> None:
    both = (SECRET, SECRET[::-1])
    for secret in both:
        assert connection(signer(secret).connection("42"), token_hmac_secret_key=both).user == "42"
    with pytest.raises(TokenError):
        connection(signer("x" * 40).connection("42"), token_hmac_secret_key=both)


def test_the_claims_of_a_connection() -> None:
    token = signer().connection(
        "42",
        info={"name": "Ada"},
        meta={"role": "admin"},
        channels=["news", "#42"],
        caps=[{"channels": ["news"], "allow": ["pub"]}],
        jti="a",
    )
    claims = connection(token)
    assert (claims.id, claims.issued_at, claims.expire_at) == ("a", NOW, NOW + 3600)
    credentials = claims.credentials()
    assert (credentials.user, credentials.meta) == ("42", {"role": "admin"})
    assert bytes(credentials.info) == b'{"name":"Ada"}'
    assert credentials.channels == {"news": None, "#42": None}
    assert credentials.caps.allows("pub", "news")


def test_the_subscriptions_of_a_connection() -> None:
    subs = {
        "news": {"b64info": "AAE=", "override": {"presence": {"value": True}}},
        "x": {"data": {"a": 1}, "override": {}, "allow": ["pub"]},
    }
    channels = connection(signer().connection("42", subs=subs, channels=["left out"])).channels
    assert set(channels) == {"news", "x"}
    assert bytes(channels["news"].info) == b"\0\1"
    assert (channels["news"].presence, channels["news"].join_leave) == (True, None)
    assert bytes(channels["x"].data) == b'{"a":1}'
    assert (channels["news"].allow, channels["x"].allow) == ([], ["pub"])


def test_the_claims_of_a_subscription() -> None:
    token = signer().subscription(
        "42",
        "news",
        client="c",
        info=[1],
        override={"force_recovery": {"value": False}},
        allow=["prs", "hst"],
    )
    claims = subscription(token)
    assert (claims.user, claims.channel, claims.client) == ("42", "news", "c")
    options = claims.options()
    assert bytes(options.info) == b"[1]"
    assert (options.expire_at, options.force_recovery) == (NOW + 3600, False)
    assert options.allow == ["prs", "hst"]
    with pytest.raises(TokenError, match=r"\$\.allow"):
        subscription(signer().subscription("42", "news", allow=["everything"]))


@pytest.mark.parametrize(("said", "expires"), [(0, 0), (-1, 0), (NOW + 5, NOW + 5), (None, NOW + 3600)])
def test_a_session_may_expire_at_another_time_than_its_token(said: float | None, expires: float) -> None:
    assert connection(signer().connection("42", expire_at=said)).expire_at == expires


def test_a_token_that_never_expires() -> None:
    assert connection(signer().connection("42", expires=None)).expire_at == 0


@pytest.mark.parametrize("claims", [{"exp": NOW}, {"exp": NOW - 1}, {"nbf": NOW + 1}])
def test_a_token_out_of_its_time(claims: dict[str, float]) -> None:
    with pytest.raises(TokenExpired):
        connection(signer().connection("42", **claims))
    with pytest.raises(TokenExpired):
        subscription(signer().subscription("42", "news", **claims))


def test_kinds_of_tokens_are_not_taken_for_each_other() -> None:
    with pytest.raises(TokenError, match="for a subscription"):
        connection(signer().subscription("42", "news"))
    with pytest.raises(TokenError, match="not for a subscription"):
        subscription(signer().connection("42"))


def test_audience_and_issuer() -> None:
    options = {"token_hmac_secret_key": SECRET, "token_audience": "us", "token_issuer": "them"}
    for aud in ("us", ["others", "us"]):
        assert connection(signer().connection("42", aud=aud, iss="them"), **options).user == "42"
    for claims in ({"aud": "others", "iss": "them"}, {"iss": "them"}, {"aud": []}):
        with pytest.raises(TokenError, match="audience 'us'"):
            connection(signer().connection("42", **claims), **options)
    with pytest.raises(TokenError, match="issuer 'them'"):
        connection(signer().connection("42", aud="us", iss="him"), **options)


def test_the_user_is_named_by_another_claim() -> None:
    options = {"token_hmac_secret_key": SECRET, "token_user_id_claim": "me.id"}
    assert connection(signer().connection("", me={"id": 42}), **options).user == "42"
    for user in (None, {"id": True}, {"id": None}, "42"):
        with pytest.raises(TokenError, match=r"no claim 'me\.id'"):
            connection(signer().connection("", me=user), **options)


@pytest.mark.parametrize(
    ("claims", "problem"),
    [
        ({"sub": 42}, r"Expected `str`, got `int` - at `\$\.sub`"),
        ({"exp": "tomorrow"}, r"\$\.exp"),
        ({"exp": 1e300}, r"\$\.exp"),
        ({"channels": "news"}, r"\$\.channels"),
        ({"b64info": "?"}, "b64info"),
        ({"caps": [{"channels": ["("], "allow": ["sub"], "match": "regex"}]}, "regular expression"),
        ({"caps": [{"channels": ["a"], "allow": ["subscribe"]}]}, r"\$\.caps"),
        ({"subs": {"a": {"allow": ["publish"]}}}, r"\$\.subs"),
    ],
)
def test_claims_that_are_not_what_they_should_be(claims: dict[str, Any], problem: str) -> None:
    with pytest.raises(TokenError, match=problem):
        connection(signer().sign(claims))


def test_an_error_never_has_the_token_in_it() -> None:
    whole = signer().connection("42", info="confidential")
    head, payload, signature = whole.split(".")
    for broken in (whole[:-4] + "AAAA", f"{head}.{payload}", f"{head}.!{payload}.{signature}", f"x{whole}"):
        with pytest.raises(TokenError) as caught:
            connection(broken)
        text = repr(caught.value) + repr(caught.value.__cause__)
        assert not any(part in text for part in (payload, signature, "confidential", SECRET))


@given(st.text(max_size=200) | st.from_regex(r"[\w-]{1,20}\.[\w-]{1,20}\.[\w-]{0,20}", fullmatch=True))
def test_anything_else_is_an_error(text: str) -> None:
    with pytest.raises(TokenError):
        connection(text)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_any_header_is_an_error(header: Any) -> None:
    part = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    with pytest.raises(TokenError):
        connection(f"{part}.e30.AAAA")


def test_a_token_too_long() -> None:
    with pytest.raises(TokenError, match="longer than 65536 bytes"):
        connection(signer().connection("42", info="x" * 65536))


def test_the_first_capability_that_matches_decides() -> None:
    caps = Capabilities(
        [
            Capability(channels=["news"], allow=["sub"]),
            Capability(channels=["chat:*"], allow=["sub", "pub"], match="wildcard"),
            Capability(channels=["^room_[0-9]+$"], allow=["hst"], match="regex"),
            Capability(channels=["*"], allow=["prs"], match="wildcard"),
        ]
    )
    assert caps.allows("sub", "news")
    assert not caps.allows("prs", "news")
    assert caps.allows("pub", "chat:a.b") and not caps.allows("pub", "chat")
    assert caps.allows("hst", "room_1") and not caps.allows("hst", "room_1\n")
    assert caps.allows("prs", "anything")


def test_without_a_key_there_is_nothing_to_check_with() -> None:
    assert TokenOptions().verifier() is None
    assert TokenOptions(token_hmac_secret_key=SECRET).verifier() is not None


def test_options_do_not_show_secrets() -> None:
    assert SECRET not in repr(TokenOptions(token_hmac_secret_key=SECRET))


def test_a_short_secret_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "everwire.tokens"):
        verifier(token_hmac_secret_key="short")
    assert "shorter than 32 bytes" in caplog.text
    assert "'short'" not in caplog.text


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"token_hmac_secret_key": ""}, "token_hmac_secret_key is empty"),
        ({"token_rsa_public_key": "x"}, "token_rsa_public_key is no public key in PEM"),
        ({"token_jwks_public_endpoint": "ftp://a"}, "https:, http: or file:"),
    ],
)
def test_keys_that_are_none(options: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        TokenOptions(**options).verifier()


def test_keys_of_another_kind() -> None:
    with pytest.raises(ValueError, match="token_rsa_public_key is a public key, but not one for RSA"):
        TokenOptions(token_rsa_public_key=pair("ES256").public).verifier()
    with pytest.raises(ValueError, match="token_hmac_secret_key is a secret, and this is a public"):
        TokenOptions(token_hmac_secret_key=pair("RS256").public).verifier()


@pytest.mark.parametrize("algorithm", ["none", "HS1", ""])
def test_a_signer_of_no_algorithm(algorithm: str) -> None:
    with pytest.raises(ValueError, match="no algorithm of tokens; there are"):
        Signer(SECRET, algorithm)


def test_a_signer_with_the_wrong_key() -> None:
    for algorithm, key in (("RS256", SECRET), ("ES256", pair("EdDSA").private), ("HS256", "")):
        with pytest.raises(ValueError, match="the key is"):
            Signer(key, algorithm)
    with pytest.raises(ValueError, match="a private key in PEM"):
        Signer(pair("RS256").public, "RS256")
