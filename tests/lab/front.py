"""The way from a browser to a function's URL, whose name leads to AWS: a proxy that knows the emulator instead."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LONGEST_BODY = 1 << 20


class Front(ThreadingHTTPServer):
    """Leads to the function of the name `function_host`, by way of the emulator at `gateway` (HOST:PORT)."""

    daemon_threads = True

    def __init__(self, gateway, function_host, address=("127.0.0.1", 0), tls=None):
        """`tls`: a context; with it a browser reaches the function by its own name, if that leads to `address`."""
        super().__init__(address, FrontHandler)
        self.gateway, self.function_host = gateway, function_host
        # What a browser calls this page's own origin, where it is not the function's.
        self.origins = {f"http://{name}:{self.server_port}" for name in ("localhost", "127.0.0.1")}
        if tls:
            # The handshake is the connection's own thread's: somebody who says nothing must not hold up the others.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, path="/"):
        return f"http://localhost:{self.server_port}{path}"

    def handle_error(self, request, client_address):
        """Whoever breaks a connection off is no news."""


class FrontHandler(BaseHTTPRequestHandler):
    timeout = 60  # of a connection on which nothing comes
    # Of one connection only, and set anew by each side (RFC 9110, 7.6.1).
    OWN = {
        "host", "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
        "content-length",
    }

    def forward(self):
        length = int(self.headers.get("Content-Length") or 0)
        if length > LONGEST_BODY:
            self.send_error(413)
            return
        body = self.rfile.read(length)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in self.OWN}
        # The launcher compares a form's origin with the name that it is reached by. Only the own page's is translated: a form
        # of any other site arrives as what it is.
        if headers.get("Origin") in self.server.origins:
            headers["Origin"] = f"https://{self.server.function_host}"
        connection = http.client.HTTPConnection(self.server.gateway, timeout=30)
        try:
            connection.request(self.command, self.path, body or None, headers | {"Host": self.server.function_host})
            answer = connection.getresponse()
            content = answer.read()
        except OSError:
            self.send_error(502)
            return
        finally:
            connection.close()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in self.OWN:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = forward

    def log_message(self, *_):
        """The path of an invitation is a key."""
