"""Keys as an issuer of tokens has them, and tokens that no library would make."""

import base64
import hmac
import json
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.support.tokens import SECRET

HS256 = {"alg": "HS256", "typ": "JWT"}
JWK = {
    rsa.RSAPublicKey: RSAAlgorithm,
    ec.EllipticCurvePublicKey: ECAlgorithm,
    ed25519.Ed25519PublicKey: OKPAlgorithm,
}


class Pair:
    """A private key and its public half, as PEM and as an entry of a key set."""

    def __init__(self, private: Any) -> None:
        secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.private: str = secret.decode()
        self.public: str = public.decode()
        self._key = private

    def jwk(self, *, private: bool = False, **extra: Any) -> dict[str, Any]:
        """The public key (or the private one) as an entry of a key set."""
        public = self._key.public_key()
        algorithm = next(found for kind, found in JWK.items() if isinstance(public, kind))
        entry: dict[str, Any] = algorithm.to_jwk(self._key if private else public, as_dict=True)
        return {name: value for name, value in entry.items() if name != "key_ops"} | extra


def encoded(value: Any) -> str:
    """A part of a token: JSON (or bytes as they are) in base64url."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**extra: Any) -> dict[str, Any]:
    """The least that lets somebody in; ``extra`` may be anything, also null."""
    return {"sub": "1", "exp": int(time.time()) + 600, **extra}


def forged(header: Any, payload: Any, key: str = SECRET, digest: str = "sha256") -> str:
    """A token made by hand with an HMAC."""
    signed = f"{encoded(header)}.{encoded(payload)}"
    return f"{signed}.{encoded(hmac.digest(key.encode(), signed.encode(), digest))}"
