"""Keys that signatures of tokens are checked with: each for the algorithms of its kind, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from everwire.errors import TokenError

if TYPE_CHECKING:
    from jwt.algorithms import Algorithm

__all__ = ["Keys", "algorithm", "signing_key"]

HMAC = ("HS256", "HS384", "HS512")
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
ECDSA = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
"""The algorithm of each curve (RFC 7518, section 3.4)."""
EDDSA = ("EdDSA",)

MIN_HMAC = 32
"""Bytes that the key of an HMAC should have at least (RFC 7518, section 3.2)."""
MIN_RSA = 2048
"""Bits that an RSA key must have (RFC 7518, section 3.3)."""


class Key(NamedTuple):
    """A key, prepared for one algorithm; *id* is its ``kid``, if it has one."""

    algorithm: Algorithm
    key: Any
    id: str | None


def algorithm(name: str) -> Algorithm:
    """An algorithm by its name in tokens.

    Raises:
        ImportError: PyJWT or cryptography is not installed.
        ValueError: there is none of that name.
    """
    try:
        from jwt.algorithms import get_default_algorithms
    except ImportError as error:
        raise ImportError(
            "tokens need PyJWT and cryptography: pip install 'everwire[channels]'", name=error.name
        ) from None
    known = get_default_algorithms()
    if name not in known and name in (*RSA, *ECDSA.values(), *EDDSA):
        raise ImportError(f"{name} needs cryptography: pip install 'everwire[channels]'")
    if name not in known or name == "none":
        usable = ", ".join(sorted(known.keys() - {"none"}))
        raise ValueError(f"{name!r} is no algorithm of tokens; there are {usable}")
    return known[name]


class Keys:
    """Keys by the algorithms that they are for.

    A token names the algorithm of its signature; only keys that were given for that algorithm are tried. So
    neither ``none`` nor a public key taken for a secret gets through.
    """

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: dict[str, list[Key]] = {}

    def __bool__(self) -> bool:
        return bool(self._keys)

    @property
    def algorithms(self) -> list[str]:
        """The algorithms that there are keys for."""
        return list(self._keys)

    def _add(self, names: Iterable[str], key: Any, id: str | None = None) -> None:
        for name in names:
            found = algorithm(name)
            self._keys.setdefault(name, []).append(Key(found, found.prepare_key(key), id))

    def add_secret(self, secret: str, option: str) -> None:
        """Add a secret for HMAC.

        Raises:
            ValueError: it is empty, or a public key.
        """
        from jwt.exceptions import InvalidKeyError

        if not secret:
            raise ValueError(f"{option} is empty: give a secret of {MIN_HMAC} random bytes or more")
        try:
            self._add(HMAC, secret.encode())
        except InvalidKeyError:
            raise ValueError(f"{option} is a secret, and this is a public or private key") from None

    def add_pem(self, pem: str, option: str, kind: str) -> None:
        """Add a public key in PEM for ``"RSA"``, ``"ECDSA"`` or ``"EdDSA"``.

        Raises:
            ValueError: it is not one.
        """
        algorithm("RS256")  # for the error of what is not installed
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            key = load_pem_public_key(pem.encode())
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError(f"{option} is no public key in PEM (-----BEGIN PUBLIC KEY-----)") from None
        names = _names(key, option)
        if kind not in _kinds(names):
            raise ValueError(f"{option} is a public key, but not one for {kind}")
        self._add(names, key)

    def add_jwk(self, jwk: Mapping[str, Any]) -> bool:
        """Add a public key of a JSON Web Key Set (RFC 7517); False if it is of no use here.

        What is for encryption, secret, malformed or of no kind known is left out: a set may well have such
        keys, too.
        """
        from jwt.exceptions import InvalidKeyError

        kinds = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}
        kind, id, use = jwk.get("kty"), jwk.get("kid"), jwk.get("use", "sig")
        if not isinstance(kind, str) or kind not in kinds or use != "sig":
            return False
        try:
            key: Any = algorithm(kinds[kind]).from_jwk(dict(jwk))
            names = _names(key, "the key")
        except (InvalidKeyError, ValueError, TypeError, KeyError):
            return False
        if (named := jwk.get("alg")) is not None:
            names = [name for name in names if name == named]
        self._add(names, key, id if isinstance(id, str) else None)
        return bool(names)

    def has(self, name: str, id: str | None) -> bool:
        """Whether there is a key for an algorithm, with this id if one is given."""
        return any(id is None or key.id == id for key in self._keys.get(name, ()))

    def verify(self, name: str, id: str | None, signed: bytes, signature: bytes) -> bool:
        """Whether a signature is of one of the keys: with this id, where the token names one and keys have
        one."""
        return any(
            key.algorithm.verify(signed, key.key, signature)
            for key in self._keys.get(name, ())
            if id is None or key.id is None or key.id == id
        )


def _names(key: Any, what: str) -> list[str]:
    """The algorithms that a public key is for.

    Raises:
        ValueError: there is none, or the key is too short.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA:
            raise ValueError(f"{what} is an RSA key of {key.key_size} bits; it needs {MIN_RSA} or more")
        return list(RSA)
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in ECDSA:
            raise ValueError(f"{what} is on the curve {key.curve.name}; it must be P-256, P-384 or P-521")
        return [ECDSA[key.curve.name]]
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return list(EDDSA)
    raise ValueError(f"{what} is a public key of a kind that tokens are not signed with")


def _kinds(names: Iterable[str]) -> set[str]:
    kinds = {"RS": "RSA", "PS": "RSA", "ES": "ECDSA", "Ed": "EdDSA"}
    return {kinds[name[:2]] for name in names}


def signing_key(name: str, key: str) -> tuple[Algorithm, Any]:
    """What signs with an algorithm: a secret for HMAC, a private key in PEM for the others.

    Raises:
        ValueError: it is no such algorithm or key.
        ImportError: PyJWT or cryptography is not installed.
    """
    found = algorithm(name)
    from jwt.exceptions import InvalidKeyError

    try:
        prepared = found.prepare_key(key)
        # A public key would be found out only when something is signed.
        found.sign(b"", prepared)
    except (InvalidKeyError, ValueError, TypeError, AttributeError):
        wanted = "a secret" if name in HMAC else "a private key in PEM"
        raise ValueError(f"the key is not {wanted}, which {name} needs") from None
    if not key:
        raise ValueError("the key is empty")
    return found, prepared


def unknown_algorithm(name: object, known: Iterable[str]) -> TokenError:
    """The error of a token that is signed in a way that no key is for."""
    named = name if isinstance(name, str) and len(name) <= 16 and name.isalnum() else "something unknown"
    return TokenError(f"the token is signed with {named}; keys are set for {', '.join(known) or 'nothing'}")
