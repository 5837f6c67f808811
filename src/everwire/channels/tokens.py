"""Tokens: who a client is, and what it may subscribe to, signed by the application (JWT, RFC 7519).

The claims are Centrifugo's, so tokens made for it work unchanged.
"""

from __future__ import annotations

import logging
import re
import time
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from everwire.channels.context import Credentials
from everwire.channels.jwks import KeySet
from everwire.channels.keys import MIN_HMAC, Keys, unknown_algorithm
from everwire.channels.options import Permission, SubscribeOptions
from everwire.errors import TokenError, TokenExpired
from everwire.wire.messages import NOTHING

__all__ = [
    "Capabilities",
    "Capability",
    "ConnectionClaims",
    "SubscriptionClaims",
    "TokenOptions",
    "Verifier",
]

MAX_SIZE = 64 * 1024
"""Bytes of a token at most."""

logger = logging.getLogger("everwire.tokens")

Seconds = Annotated[float, Meta(ge=0, le=253402300799)]
"""Seconds since 1970, until the year 9999."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOptions:
    """How tokens are checked. Only algorithms that a key is set for are accepted.

    Attributes:
        token_hmac_secret_key: the secret of HS256, HS384 and HS512; or several, while it is changed.
        token_rsa_public_key: a public key in PEM, for RS256 to RS512 and PS256 to PS512; or several.
        token_ecdsa_public_key: the same for ES256, ES384 or ES512, by its curve.
        token_eddsa_public_key: the same for EdDSA (Ed25519, Ed448).
        token_jwks_public_endpoint: where public keys are (RFC 7517): an ``https:``, ``http:`` or ``file:``
            URL.
        token_audience: whom tokens must be for (claim ``aud``).
        token_issuer: whom tokens must be from (claim ``iss``).
        token_user_id_claim: the claim that has the user's id; dots lead into objects.
    """

    token_hmac_secret_key: str | Sequence[str] = field(default=(), repr=False)
    token_rsa_public_key: str | Sequence[str] = field(default=(), repr=False)
    token_ecdsa_public_key: str | Sequence[str] = field(default=(), repr=False)
    token_eddsa_public_key: str | Sequence[str] = field(default=(), repr=False)
    token_jwks_public_endpoint: str = ""
    token_audience: str = ""
    token_issuer: str = ""
    token_user_id_claim: str = "sub"

    def verifier(self) -> Verifier | None:
        """What checks tokens; None: no key is set, so no token can be.

        Raises:
            ValueError: a key is not what it should be.
            ImportError: the extra ``channels`` is not installed.
        """
        made = Verifier(self)
        return made if made.keys or made.key_set is not None else None


class Capability(Struct, frozen=True, forbid_unknown_fields=True):
    """What a user may do in some channels.

    Attributes:
        channels: their names, or what these must match.
        allow: what is allowed: ``"sub"`` subscribe, ``"pub"`` publish, ``"prs"`` presence, ``"hst"`` history.
        match: ``""``: names as they are; ``"wildcard"``: ``*`` stands for any characters; ``"regex"``:
            regular
            expressions for the whole name.
    """

    channels: list[str]
    allow: list[Permission]
    match: Literal["", "wildcard", "regex"] = ""


class Capabilities:
    """What a user may do beyond the channels' options: the first capability that matches a channel decides.

    Parameters:
        capabilities: in their order.

    Raises:
        ValueError: a regular expression is malformed.
    """

    __slots__ = ("_rules",)

    def __init__(self, capabilities: Sequence[Capability]) -> None:
        self._rules: list[tuple[Callable[[str], object], frozenset[str]]] = []
        for each in capabilities:
            self._rules.append((_matcher(each), frozenset(each.allow)))

    def allows(self, permission: Permission, channel: str) -> bool:
        """Whether something is allowed in a channel."""
        for matches, allowed in self._rules:
            if matches(channel):
                return permission in allowed
        return False


def _matcher(capability: Capability) -> Callable[[str], object]:
    if not capability.match:
        return frozenset(capability.channels).__contains__
    if capability.match == "wildcard":
        sources = [".*".join(map(re.escape, name.split("*"))) for name in capability.channels]
    else:
        sources = capability.channels
    try:
        expressions = [re.compile(source, re.DOTALL).fullmatch for source in sources]
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"a capability has a malformed regular expression: {error}") from None
    return lambda channel: any(matches(channel) for matches in expressions)


class _Value(Struct):
    value: bool = False


class _Override(Struct):
    presence: _Value | None = None
    join_leave: _Value | None = None
    force_push_join_leave: _Value | None = None
    force_positioning: _Value | None = None
    force_recovery: _Value | None = None


class _Subscribe(Struct):
    """What a token says of one subscription."""

    info: Raw = NOTHING
    b64info: str = ""
    data: Raw = NOTHING
    b64data: str = ""
    override: _Override | None = None
    allow: list[Permission] = []

    def options(self, expire_at: float = 0) -> SubscribeOptions:
        """The same for the session."""
        override = self.override or _Override()
        switched = {name: getattr(override, name) for name in _Override.__struct_fields__}
        return SubscribeOptions(
            info=_bytes(self.info, self.b64info, "b64info"),
            data=_bytes(self.data, self.b64data, "b64data"),
            expire_at=expire_at,
            allow=self.allow,
            **{name: each.value for name, each in switched.items() if each is not None},
        )


def _bytes(json: Raw, base64: str, name: str) -> Raw | None:
    """A value that a token has as JSON, or as bytes in base64."""
    if base64:
        try:
            return Raw(b64decode(base64, validate=True))
        except (Base64Error, ValueError):
            raise TokenError(f"the claim {name} of the token is not base64") from None
    text = bytes(json)
    # The bytes of the token's payload are shared by what is taken from it.
    return None if text in (b"", b"null") else Raw(text)


class _Registered(Struct):
    """The claims that all tokens may have (RFC 7519, section 4.1)."""

    sub: str = ""
    exp: Seconds | None = None
    nbf: Seconds | None = None
    iat: Seconds | None = None
    jti: str = ""
    iss: str = ""
    aud: str | list[str] | None = None
    expire_at: float | None = None

    def session_expires(self) -> float:
        """When what the token is for expires: another time than the token, if it says so."""
        if self.expire_at is None:
            return self.exp or 0
        return self.expire_at if self.expire_at > 0 else 0


class _Connection(_Registered):
    info: Raw = NOTHING
    b64info: str = ""
    channels: list[str] = []
    subs: dict[str, _Subscribe] = {}
    meta: Any = None
    caps: list[Capability] | None = None
    channel: str = ""


class _Subscription(_Registered):
    channel: str = ""
    client: str = ""
    info: Raw = NOTHING
    b64info: str = ""
    data: Raw = NOTHING
    b64data: str = ""
    override: _Override | None = None
    allow: list[Permission] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionClaims:
    """What a connection token says.

    Attributes:
        user: the user's id; empty: nobody known.
        expire_at: when the session expires, in seconds since 1970; 0: never.
        info: about the user, told to others: JSON, or bytes.
        channels: what to subscribe the client to, from the server's side.
        meta: to keep with the session.
        caps: what the user may do beyond the channels' options.
        id, issued_at: the token's ``jti`` and ``iat`` (0: it has none).
    """

    user: str = ""
    expire_at: float = 0
    info: Raw | None = None
    channels: Mapping[str, SubscribeOptions | None] = field(
        default_factory=dict[str, SubscribeOptions | None]
    )
    meta: Any = None
    caps: Capabilities | None = None
    id: str = ""
    issued_at: float = 0

    def credentials(self) -> Credentials:
        """The same, as a ``connect`` hook would answer it."""
        return Credentials(
            user=self.user,
            info=self.info,
            expire_at=self.expire_at,
            channels=self.channels,
            meta=self.meta,
            caps=self.caps,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionClaims:
    """What a subscription token says.

    Attributes:
        user: the user that it is for.
        channel: the channel that it is for.
        client: the connection that it is for; empty: any of the user's.
        subscribe: what the subscription is like.
        id, issued_at: the token's ``jti`` and ``iat`` (0: it has none).
    """

    user: str
    channel: str
    client: str = ""
    subscribe: SubscribeOptions = field(default_factory=SubscribeOptions)
    id: str = ""
    issued_at: float = 0

    def options(self) -> SubscribeOptions:
        """What the subscription is like, as a hook of the channel would answer it."""
        return self.subscribe


Claims = TypeVar("Claims", bound=_Registered)


class Verifier:
    """Checks tokens.

    Parameters:
        options: keys, and whom tokens must be for and from.
        clock: seconds since 1970.

    Attributes:
        keys: those that are set.
        key_set: those at an address; None without one.

    Raises:
        ValueError: a key is not what it should be.
        ImportError: the extra ``channels`` is not installed.
    """

    def __init__(self, options: TokenOptions, *, clock: Callable[[], float] = time.time) -> None:
        self.options = options
        self.keys = Keys()
        self.key_set: KeySet | None = None
        self._clock = clock
        self._connections = msgspec.json.Decoder(_Connection)
        self._subscriptions = msgspec.json.Decoder(_Subscription)
        for secret in _several(options.token_hmac_secret_key):
            self.keys.add_secret(secret, "token_hmac_secret_key")
        for kind in ("RSA", "ECDSA", "EdDSA"):
            option = f"token_{kind.lower()}_public_key"
            for pem in _several(getattr(options, option)):
                self.keys.add_pem(pem, option, kind)
        if options.token_jwks_public_endpoint:
            self.key_set = KeySet(options.token_jwks_public_endpoint)
        if any(len(secret.encode()) < MIN_HMAC for secret in _several(options.token_hmac_secret_key)):
            logger.warning(
                "token_hmac_secret_key is shorter than %d bytes: it can be guessed from a token, by trying",
                MIN_HMAC,
            )
        if self.keys or self.key_set is not None:
            from jwt import PyJWS

            self._decode = PyJWS().decode_complete

    async def connection(self, token: str) -> ConnectionClaims:
        """What a connection token says.

        Raises:
            TokenExpired: it is not valid any more, or not yet.
            TokenError: it is not valid.
            CommandError: the key is at an address that cannot be reached (100, temporary).
        """
        payload = await self._verified(token)
        claims = self._read(self._connections, payload)
        if claims.channel:
            raise TokenError("the token is for a subscription: it has the claim channel")
        try:
            caps = None if claims.caps is None else Capabilities(claims.caps)
        except ValueError as error:
            raise TokenError(str(error)) from None
        subs: Mapping[str, SubscribeOptions | None] = (
            {name: each.options() for name, each in claims.subs.items()}
            if claims.subs
            else dict.fromkeys(claims.channels)
        )
        return ConnectionClaims(
            user=self._user(claims, payload),
            expire_at=claims.session_expires(),
            info=_bytes(claims.info, claims.b64info, "b64info"),
            channels=subs,
            meta=claims.meta,
            caps=caps,
            id=claims.jti,
            issued_at=claims.iat or 0,
        )

    async def subscription(self, token: str) -> SubscriptionClaims:
        """What a subscription token says.

        Raises:
            TokenExpired: it is not valid any more, or not yet.
            TokenError: it is not valid.
            CommandError: the key is at an address that cannot be reached (100, temporary).
        """
        payload = await self._verified(token)
        claims = self._read(self._subscriptions, payload)
        if not claims.channel:
            raise TokenError("the token is not for a subscription: it has no claim channel")
        said = _Subscribe(
            claims.info, claims.b64info, claims.data, claims.b64data, claims.override, claims.allow
        )
        return SubscriptionClaims(
            user=self._user(claims, payload),
            channel=claims.channel,
            client=claims.client,
            subscribe=said.options(claims.session_expires()),
            id=claims.jti,
            issued_at=claims.iat or 0,
        )

    async def _verified(self, token: str) -> bytes:
        """The payload of a token whose signature is right.

        Raises:
            TokenError: it is not.
        """
        from jwt.exceptions import InvalidTokenError

        if len(token) > MAX_SIZE:
            raise TokenError(f"the token is longer than {MAX_SIZE} bytes")
        try:
            parts = self._decode(token, options={"verify_signature": False})
            signed = token.rpartition(".")[0].encode()
        except (InvalidTokenError, UnicodeError):
            raise TokenError("the token is malformed: no JSON Web Token in its compact form") from None
        header, signature, payload = parts["header"], parts["signature"], parts["payload"]
        name, id = header.get("alg"), header.get("kid")
        if not isinstance(name, str):
            raise unknown_algorithm(name, self.keys.algorithms)
        if self.keys.verify(name, None, signed, signature):
            return bytes(payload)
        known = self.keys.algorithms
        if self.key_set is not None:
            keys = await self.key_set.keys(name, id)
            if keys.verify(name, id, signed, signature):
                return bytes(payload)
            if id is not None and not keys.has(name, id):
                raise TokenError("the token names a key that is not at token_jwks_public_endpoint")
            known = [*known, *keys.algorithms]
        if name not in known:
            raise unknown_algorithm(name, known)
        raise TokenError("the signature of the token is not of a key that is set")

    def _read(self, decoder: msgspec.json.Decoder[Claims], payload: bytes) -> Claims:
        """The claims, if they are for us and for now."""
        try:
            claims = decoder.decode(payload)
        except msgspec.ValidationError as error:
            raise TokenError(f"the claims of the token are not what they should be: {error}") from None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise TokenError("the claims of the token are not JSON") from None
        audience, issuer = self.options.token_audience, self.options.token_issuer
        if audience:
            named = [claims.aud] if isinstance(claims.aud, str) else claims.aud or []
            if audience not in named:
                raise TokenError(f"the token is not for the audience {audience!r}")
        if issuer and claims.iss != issuer:
            raise TokenError(f"the token is not from the issuer {issuer!r}")
        now = self._clock()
        if claims.exp is not None and now >= claims.exp:
            raise TokenExpired("the token has expired")
        if claims.nbf is not None and now < claims.nbf:
            raise TokenExpired("the token is not valid yet")
        return claims

    def _user(self, claims: _Registered, payload: bytes) -> str:
        path = self.options.token_user_id_claim
        if path == "sub":
            return claims.sub
        value: Any = msgspec.json.decode(payload)
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise TokenError(f"the token has no claim {path!r} that names a user")
        return str(value)


def _several(value: str | Sequence[str]) -> Sequence[str]:
    return (value,) if isinstance(value, str) else value
