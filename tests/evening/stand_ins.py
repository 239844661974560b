"""What stands in for programs that nobody but their owners has: Discord's webhooks, and Mojang's session server.

The mail server is another's program (aiosmtpd). All of them speak TLS, on the originals' ports and by their names.
"""

import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from aiosmtpd.controller import Controller

WEBHOOK = "/api/webhooks/1/a-secret"


class Message:
    """What somebody was told, and when."""

    def __init__(self, text):
        self.text, self.at = text, time.time()


class Server(ThreadingHTTPServer):
    """On port 443 of an address, until this process ends."""

    daemon_threads = True

    def __init__(self, address, tls, handler):
        super().__init__((address, 443), handler)
        self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """Whoever breaks a connection off is no news."""


class Handler(BaseHTTPRequestHandler):
    timeout = 30

    def body(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, status, content=None):
        body = json.dumps(content).encode() if content is not None else b""
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Discord:
    """A webhook that keeps what it gets."""

    def __init__(self, address, tls):
        messages = self.messages = []

        class Webhook(Handler):
            def do_POST(self):
                if self.path != WEBHOOK:
                    self.answer(404)
                    return
                content = self.body()
                # Else a player's name could call everybody on the channel.
                if content["allowed_mentions"] != {"parse": []}:
                    self.answer(400)
                    return
                messages.append(Message(content["content"]))
                self.answer(204)

        Server(address, tls, Webhook)


class Mail:
    """A mail server that keeps what it gets."""

    def __init__(self, address, tls):
        messages = self.messages = []

        class Keeper:
            async def handle_DATA(self, _server, _session, envelope):
                text = envelope.content.decode(errors="replace")
                messages.append(Message(text.partition("\r\n\r\n")[2].strip()))
                return "250 OK"

        Controller(Keeper(), hostname=address, port=587, tls_context=tls, require_starttls=True).start()


class Sessions:
    """Whoever has said with which account he joins is vouched for once, as by Mojang."""

    def __init__(self, address, tls):
        joined = self.joined = {}
        asked = self.asked = []

        class Session(Handler):
            def do_POST(self):
                sent = self.body()
                joined[sent["serverId"]] = sent["selectedProfile"]
                self.answer(204)

            def do_GET(self):
                query = parse_qs(urlsplit(self.path).query)
                name, server = query["username"][0], query["serverId"][0]
                asked.append(name)
                account = joined.pop(server, None)
                if account is None:
                    self.answer(204)
                else:
                    self.answer(200, {"id": account, "name": name, "properties": []})

        Server(address, tls, Session)


def tls(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
