"""Real servers on loopback that take alerts: one for HTTP, one for mail."""

from __future__ import annotations

import json
import socketserver
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email import message_from_string
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class WebReceiver:
    """Keeps what is posted. status: what it answers. before_answer: called when a message has arrived whole."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.seconds = 0.0
        self.before_answer: Callable[[], object] = lambda: None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.received.append(json.loads(body))
                outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                outer.before_answer()
                time.sleep(outer.seconds)
                self.send_response(outer.status)
                if outer.status in {301, 302, 307}:
                    self.send_header("Location", f"{outer.url}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook-with-a-secret-path"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """(What a server on 127.0.0.1 shows, the file of the authority that vouches for it.)"""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - timedelta(1), now + timedelta(1))
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
    shown, secret = folder / "certificate.pem", folder / "key.pem"
    shown.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown, secret)
    return context, shown


class MailReceiver:
    """An SMTP server that takes every mail, and refuses recipients once `refuses` is set, and everybody once `knows_nobody` is.

    tls: it offers STARTTLS, or begins with TLS when is_smtps. encrypted: of each sign-in and mail, whether it came so.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, *, is_smtps: bool = False) -> None:
        self.encrypted: list[tuple[str, bool]] = []
        self.knows_nobody = False
        self.mails: list[Message] = []
        self.recipients: list[list[str]] = []
        self.signed_in: list[str] = []
        self.refuses = False
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                def say(line: str) -> None:
                    self.wfile.write(f"{line}\r\n".encode())

                def encrypt() -> None:
                    assert tls is not None
                    self.request = tls.wrap_socket(self.request, server_side=True)
                    self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", 0)

                if is_smtps:
                    encrypt()
                to: list[str] = []
                say("220 test")
                while line := self.rfile.readline().decode().strip():
                    word = line.split(":")[0].split(" ")[0].upper()
                    if word == "EHLO":
                        say("250-test")
                        if tls is not None and not isinstance(self.request, ssl.SSLSocket):
                            say("250-STARTTLS")
                        say("250 AUTH PLAIN")
                    elif word == "STARTTLS":
                        say("220 go on")
                        encrypt()
                    elif word == "AUTH":
                        outer.signed_in.append(line.split(" ")[2])
                        outer.encrypted.append((word, isinstance(self.request, ssl.SSLSocket)))
                        say("535 who are you" if outer.knows_nobody else "235 welcome")
                    elif word == "RCPT" and outer.refuses:
                        say("550 nobody of that name")
                    elif word == "DATA":
                        say("354 go on")
                        text = []
                        while (part := self.rfile.readline().decode()) != ".\r\n":
                            text.append(part)
                        outer.mails.append(message_from_string("".join(text)))
                        outer.recipients.append(to)
                        outer.encrypted.append((word, isinstance(self.request, ssl.SSLSocket)))
                        say("250 taken")
                    elif word == "QUIT":
                        say("221 bye")
                        return
                    else:
                        to += [line.partition(":")[2].strip("<> ")] if word == "RCPT" else []
                        say("250 ok")

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = allow_reuse_address = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that does not trust the certificate breaks off."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
