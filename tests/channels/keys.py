"""Keys for tests: made once, since RSA keys take long."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

SECRET = "a secret of at least thirty-two bytes"


@dataclass(frozen=True)
class Pair:
    """A private key and its public one, in PEM."""

    algorithm: str
    private: str
    public: str

    def jwk(self, id: str, **fields: Any) -> dict[str, Any]:
        """The public key, as a key set has it."""
        algorithm: Any = get_default_algorithms()[self.algorithm]
        key = serialization.load_pem_public_key(self.public.encode())
        return {**algorithm.to_jwk(key, as_dict=True), "kid": id, "use": "sig", **fields}


@cache
def pair(algorithm: str, which: int = 0) -> Pair:
    """A pair of keys for an algorithm; another one for each *which*."""
    key: Any
    if algorithm.startswith(("RS", "PS")):
        key = rsa.generate_private_key(65537, 2048)
    elif algorithm == "EdDSA":
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        curves = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
        key = ec.generate_private_key(curves[algorithm]())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Pair(algorithm, private.decode(), public.decode())
