"""Signatures of OCMF records: ECDSA over the curves that the format names. No I/O; signing draws no random numbers.

Source: OCMF 1.x, tables 22 and 23; RFC 6979 (deterministic ECDSA); SEC 1 (points).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from devices.ocmf_faults import Fault

OWN_ALGORITHM = "ECDSA-secp256r1-SHA256"
"""What a gateway signs with; also what OCMF takes where `SA` is left out."""

CURVES: dict[str, type[ec.EllipticCurve]] = {
    "secp192r1": ec.SECP192R1,
    "secp256k1": ec.SECP256K1,
    "secp256r1": ec.SECP256R1,
    "secp384r1": ec.SECP384R1,
    "secp521r1": ec.SECP521R1,
    "brainpool256r1": ec.BrainpoolP256R1,
    "brainpool384r1": ec.BrainpoolP384R1,
    "brainpool512r1": ec.BrainpoolP512R1,
}
"""Curves that are verified. secp192k1 is named by OCMF and by no library in use: it is `UNSUPPORTED_CURVE`."""

_HASHES = {"SHA256": hashes.SHA256, "SHA384": hashes.SHA384, "SHA512": hashes.SHA512}
_ALGORITHM = re.compile(r"ECDSA-([a-z0-9]+)-(SHA(?:256|384|512))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that signatures are checked with."""

    key: ec.EllipticCurvePublicKey

    @property
    def curve(self) -> str:
        """Returns the curve's name as OCMF writes it."""
        return _named(self.key.curve.name)

    def text(self) -> str:
        """Returns the key as OCMF software passes it on: SubjectPublicKeyInfo, DER, in hex."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_bytes(serialization.Encoding.DER, form).hex()


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A gateway's own key on secp256r1."""

    key: ec.EllipticCurvePrivateKey

    @classmethod
    def generate(cls) -> SigningKey:
        """Returns a new key; the one thing here that draws random numbers, for a gateway's first start."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_number(cls, number: int) -> SigningKey:
        """Returns the key with this secret number (simulations and tests; 1 <= number < curve order)."""
        return cls(ec.derive_private_key(number, ec.SECP256R1()))

    @classmethod
    def from_pem(cls, pem: bytes) -> SigningKey:
        """Returns the key of a PEM file.

        Raises:
            ValueError: not an unencrypted secp256r1 private key.
        """
        try:
            key = serialization.load_pem_private_key(pem, None)
        except (TypeError, UnsupportedAlgorithm) as error:
            raise ValueError(str(error)) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("not a private key on secp256r1")  # noqa: TRY004 (the content is wrong, not the type)
        return cls(key)

    def pem(self) -> bytes:
        """Returns the key as PKCS 8 PEM, unencrypted: for a file that only its owner may read."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def public(self) -> PublicKey:
        """Returns the public half."""
        return PublicKey(self.key.public_key())

    def sign(self, payload: bytes) -> bytes:
        """Returns the DER signature of these bytes; the same bytes give the same signature."""
        return self.key.sign(payload, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def read_public_key(data: bytes | str, curve: str = "") -> PublicKey | Fault:
    """Returns a public key from DER (SubjectPublicKeyInfo), hex of it, PEM, or a bare point with its curve named."""
    if isinstance(data, str):
        if data.lstrip().startswith("-----"):
            data = data.encode("ascii", "replace")
        else:
            try:
                data = bytes.fromhex(data)
            except ValueError:
                return Fault.BAD_KEY
    try:
        if data[:5] == b"-----":
            key = serialization.load_pem_public_key(data)
        elif data[:1] == b"\x30":
            key = serialization.load_der_public_key(data)
        else:
            found = CURVES.get(_named(curve))
            if found is None:
                return Fault.BAD_KEY
            key = ec.EllipticCurvePublicKey.from_encoded_point(found(), data)
    except UnsupportedAlgorithm:
        return Fault.UNSUPPORTED_CURVE
    except ValueError:
        return Fault.BAD_KEY
    if not isinstance(key, ec.EllipticCurvePublicKey) or _named(key.curve.name) not in CURVES:
        return Fault.UNSUPPORTED_CURVE
    return PublicKey(key)


def check_signature(payload: bytes, signature: bytes, algorithm: str, key: PublicKey) -> Fault | None:
    """Returns None for a good signature of exactly these bytes, in DER or as raw r||s; else what is wrong."""
    named = _ALGORITHM.fullmatch(algorithm)
    if named is None:
        return Fault.UNKNOWN_ALGORITHM
    curve = _named(named[1].lower())
    if curve not in CURVES:
        return Fault.UNSUPPORTED_CURVE
    if curve != key.curve:
        return Fault.WRONG_CURVE
    scheme = ec.ECDSA(_HASHES[named[2].upper()]())
    size = (key.key.curve.key_size + 7) // 8
    forms = [signature] if signature[:1] == b"\x30" else []
    if len(signature) == 2 * size:
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        forms.append(encode_dss_signature(r, s))
    for der in forms:
        try:
            key.key.verify(der, payload, scheme)
        except InvalidSignature:
            continue
        except UnsupportedAlgorithm:
            return Fault.UNSUPPORTED_CURVE
        return None
    return Fault.WRONG_SIGNATURE if forms else Fault.BAD_SIGNATURE


def _named(curve: str) -> str:
    """Returns a curve's one name: NIST, ANSI and `brainpoolP256r1` are synonyms."""
    name = curve.lower().replace("brainpoolp", "brainpool")
    return {"prime256v1": "secp256r1", "prime192v1": "secp192r1", "p-256": "secp256r1", "p-384": "secp384r1"}.get(
        name, name
    )
