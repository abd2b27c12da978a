"""Real servers on loopback that take alerts: one for HTTP, one for mail."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Callable
from email import message_from_string
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


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


class MailReceiver:
    """An SMTP server that takes every mail, and refuses recipients once `refuses` is set."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.recipients: list[list[str]] = []
        self.signed_in: list[str] = []
        self.refuses = False
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                def say(line: str) -> None:
                    self.wfile.write(f"{line}\r\n".encode())

                to: list[str] = []
                say("220 test")
                while line := self.rfile.readline().decode().strip():
                    word = line.split(":")[0].split(" ")[0].upper()
                    if word == "EHLO":
                        say("250-test")
                        say("250 AUTH PLAIN")
                    elif word == "AUTH":
                        outer.signed_in.append(line.split(" ")[2])
                        say("235 welcome")
                    elif word == "RCPT" and outer.refuses:
                        say("550 nobody of that name")
                    elif word == "DATA":
                        say("354 go on")
                        text = []
                        while (part := self.rfile.readline().decode()) != ".\r\n":
                            text.append(part)
                        outer.mails.append(message_from_string("".join(text)))
                        outer.recipients.append(to)
                        say("250 taken")
                    elif word == "QUIT":
                        say("221 bye")
                        return
                    else:
                        to += [line.partition(":")[2].strip("<> ")] if word == "RCPT" else []
                        say("250 ok")

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = allow_reuse_address = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
