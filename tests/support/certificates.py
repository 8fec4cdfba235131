"""A certificate authority of our own, and what it signs for a store on 127.0.0.1."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Certificates:
    """Files of an authority and of a server, made anew: ``ca``, ``server``, ``server_key``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ca, self.server, self.server_key = (folder / f"{name}.pem" for name in ("ca", "server", "key"))
        authority, ours = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        issuer, subject = _name("an authority of the tests"), _name("a store of the tests")
        root = _certificate(issuer, issuer, authority).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        signed = (
            _certificate(subject, issuer, ours)
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
                ),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        pem = serialization.Encoding.PEM
        self.ca.write_bytes(root.sign(authority, hashes.SHA256()).public_bytes(pem))
        self.server.write_bytes(signed.sign(authority, hashes.SHA256()).public_bytes(pem))
        self.server_key.write_bytes(
            ours.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
    )
