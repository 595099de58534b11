"""A proxy in front of an S3 server that does harm on demand.

It can answer 503 to a share of the requests, delay them, refuse connections, and drop answers of requests that took effect.
"""

import contextlib
import http.client
import http.server
import random
import socket
import threading
import time
import urllib.parse

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection"}


class Proxy:
    """Its faults are attributes that may change at any time."""

    def __init__(self, target, seed=0):
        self.target = urllib.parse.urlsplit(target)
        self.chance = random.Random(seed)
        self.lock = threading.Lock()
        self.unavailable = 0.0  # share of the requests hit that are answered 503, without effect
        self.hits = lambda method, path: True  # which requests may be answered 503
        self.dropped = 0.0  # share of requests that take effect, and whose answer is lost
        self.delay = 0.0  # seconds, of every request
        self.refusing = False  # connections are closed at once
        self.counts = {"served": 0, "unavailable": 0, "dropped": 0, "refused": 0}
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def log_message(self, *_):
                pass

            def serve(self):
                proxy.serve(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def draws(self, share):
        with self.lock:
            return self.chance.random() < share

    def serve(self, handler):
        """Takes one request."""
        if self.refusing:
            self.count("refused")
            hang_up(handler)
            return
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        if self.delay:
            time.sleep(self.delay)
        if self.hits(handler.command, handler.path) and self.draws(self.unavailable):
            self.count("unavailable")
            answer(handler, 503, [("content-type", "application/xml")],
                   b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
            return
        try:
            upstream = http.client.HTTPConnection(self.target.hostname, self.target.port, timeout=60)
            upstream.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
            for name, value in handler.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    upstream.putheader(name, value)
            upstream.endheaders(body)
            said = upstream.getresponse()
            content = said.read()
            upstream.close()
        except (OSError, http.client.HTTPException):
            self.count("refused")
            hang_up(handler)
            return
        if self.draws(self.dropped):
            self.count("dropped")
            hang_up(handler)
            return
        self.count("served")
        headers = [(n, v) for n, v in said.getheaders() if n.lower() not in HOP_BY_HOP]
        answer(handler, said.status, headers, content)


def answer(handler, status, headers, content):
    with contextlib.suppress(OSError):
        handler.send_response_only(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length":
                # Of what is asked for by HEAD there is a length and no content.
                length = value if handler.command == "HEAD" else length
            else:
                handler.send_header(name, value)
        if status != 204:
            handler.send_header("content-length", length)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)


def hang_up(handler):
    handler.close_connection = True
    with contextlib.suppress(OSError):
        handler.connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def in_front_of(target, seed=0):
    """A proxy while the block runs."""
    proxy = Proxy(target, seed)
    thread = threading.Thread(target=proxy.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        proxy.server.server_close()
