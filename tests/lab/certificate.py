"""A certificate for TLS servers of a test, by an authority of its own."""

import base64
import hashlib
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def certificate(folder, names):
    """A certificate for the host names, and that of the authority that has signed it (ca.pem), in `folder`.

    Returns the paths of the certificate and of its key.
    """
    folder = Path(folder)

    def named(name):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def sign(subject, public_key, by, extension, critical):
        now = datetime.now(timezone.utc)
        builder = x509.CertificateBuilder().subject_name(named(subject)).issuer_name(named("lab")).public_key(public_key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        return builder.add_extension(extension, critical=critical).sign(by, hashes.SHA256())

    authority, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pem = serialization.Encoding.PEM
    ca = sign("lab", authority.public_key(), authority, x509.BasicConstraints(ca=True, path_length=0), True)
    hosts = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    leaf = sign(names[0], own.public_key(), authority, hosts, False)
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "own.pem").write_bytes(leaf.public_bytes(pem))
    plain = serialization.NoEncryption()
    (folder / "own.key").write_bytes(own.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return str(folder / "own.pem"), str(folder / "own.key")


def key_hash(file):
    """Of the key in a certificate, as Chromium's --ignore-certificate-errors-spki-list takes it."""
    key = x509.load_pem_x509_certificate(Path(file).read_bytes()).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return base64.b64encode(hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).digest()).decode()
