"""nginx before two review apps, with the configuration of deploy/nginx and TLS."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from heaters_dagster.settings import PROJECT_ROOT

CONFIGURATION = PROJECT_ROOT / "deploy" / "nginx" / "review.conf"
_MAIN = """
pid {folder}/pid;
error_log {folder}/error.log;
daemon off;
worker_processes 1;
events {{}}
http {{
    access_log off;
    {paths}
    include {folder}/review.conf;
}}
"""


@contextmanager
def balanced(folder: Path, port: int, apps: dict[str, int]) -> Iterator[str]:
    """The address of nginx on `port`, as long as the context lasts. apps: port of each app, by the letter that its cookie has."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        raise RuntimeError("nginx is missing: type make programs")
    folder.mkdir()
    text = CONFIGURATION.read_text()
    for address, at in zip(("10.0.0.11:8501", "10.0.0.12:8501"), apps.values(), strict=True):
        ours = f"127.0.0.1:{at}"
        assert text.count(address) == 2
        text = text.replace(address, ours).replace(re.escape(address), re.escape(ours))
    ours = {"listen 443 ssl": f"listen 127.0.0.1:{port} ssl", "review.example.org": "localhost", "/etc/ssl/": f"{folder}/"}
    for theirs, here in ours.items():
        assert theirs in text
        text = text.replace(theirs, here)
    (folder / "review.conf").write_text(text)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, paths=" ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)))
    _certified(folder)
    process = subprocess.Popen([program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")])
    try:
        yield f"https://localhost:{port}"
    finally:
        process.terminate()
        process.wait()


def _certified(folder: Path) -> None:
    """A key and a certificate of localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
    certificate = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False).sign(key, hashes.SHA256())
    (folder / "review.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    (folder / "review.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
