"""Whoever issues tokens and publishes the keys to check them with, as a real web server."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Issuer:
    """A web server that answers as told, and counts."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, b"one", dict[str, str]()
        self.paths: list[str] = []
        self.meanwhile: Callable[[], object] = lambda: None
        self.answers = threading.Event()
        self.answers.set()
        issuer = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.paths.append(self.path)
                issuer.meanwhile()
                assert issuer.answers.wait(10)
                self.send_response(issuer.status)
                for name, value in issuer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(issuer.body)))
                self.end_headers()
                self.wfile.write(issuer.body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/keys"
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def stop(self) -> None:
        self.answers.set()
        self._server.shutdown()
        self._server.server_close()
