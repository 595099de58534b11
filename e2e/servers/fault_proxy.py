"""A proxy in front of an S3 server that does harm on demand.

It can answer 503 to a share of the requests, deny all, delay them, refuse connections, drop answers of requests that took effect, and have another
clock. It keeps the headers of what creates objects, and which hosts and paths were asked for.
"""

import datetime
import email.utils
import http.client
import random
import time
import urllib.parse

from http_server import HttpServer, answer, body_of, hang_up, running

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection"}


def headers_of(handler):
    """A request's headers, by their names in small letters."""
    return {name.lower(): value for name, value in handler.headers.items()}


class Proxy(HttpServer):
    """Its faults are attributes that may change at any time."""

    def __init__(self, target, seed=0):
        super().__init__()
        self.endpoint = self.url
        self.target = urllib.parse.urlsplit(target)
        self.chance = random.Random(seed)
        self.unavailable = 0.0  # share of the requests hit that are answered 503, without effect
        self.hits = lambda method, path: True  # which requests may be answered 503
        self.denying = False  # every request is answered 403
        self.dropped = 0.0  # share of requests that take effect, and whose answer is lost
        self.delay = 0.0  # seconds, of every request
        self.ahead = None  # seconds that the server's clock is ahead: requests of another time are refused
        self.says_time = True  # its answers tell the time
        self.asked = set()  # host and first part of the path of every request
        self.created = []  # method and headers of the requests that create objects
        self.parts = []  # headers of the requests that add to them
        self.counts = {"served": 0, "unavailable": 0, "dropped": 0, "refused": 0, "denied": 0, "skewed": 0}

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
        body = body_of(handler)
        with self.lock:
            self.asked.add((handler.headers.get("host"), urllib.parse.urlsplit(handler.path).path.split("/")[1]))
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(handler.path).query, keep_blank_values=True)
        # Parts of an upload are encrypted as its beginning says.
        if (handler.command == "PUT" and "partNumber" not in query) or (handler.command == "POST" and "uploads" in query):
            with self.lock:
                self.created.append((handler.command, headers_of(handler)))
        elif handler.command == "PUT":
            with self.lock:
                self.parts.append(headers_of(handler))
        if self.delay:
            time.sleep(self.delay)
        if self.hits(handler.command, handler.path) and self.draws(self.unavailable):
            self.count("unavailable")
            answer(handler, 503, [("content-type", "application/xml")],
                   b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
            return
        if self.denying:
            self.count("denied")
            answer(handler, 403, [("content-type", "application/xml")],
                   b"<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>")
            return
        if self.is_skewed(handler):
            self.count("skewed")
            answer(handler, 403, [("content-type", "application/xml"), *self.date()],
                   b"<Error><Code>RequestTimeTooSkewed</Code><Message>The difference is too large.</Message></Error>")
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
        mine = HOP_BY_HOP | ({"date"} if self.ahead is not None else set())
        headers = [(n, v) for n, v in said.getheaders() if n.lower() not in mine]
        answer(handler, said.status, headers + self.date(), content)

    def is_skewed(self, handler):
        """True if a request was signed five minutes before or after the server's time: real servers allow fifteen."""
        if self.ahead is None:
            return False
        signed = datetime.datetime.strptime(handler.headers.get("x-amz-date"), "%Y%m%dT%H%M%SZ")
        signed = signed.replace(tzinfo=datetime.timezone.utc).timestamp()
        return abs(time.time() + self.ahead - signed) > 300

    def date(self):
        if self.ahead is None or not self.says_time:
            return []
        return [("date", email.utils.formatdate(time.time() + self.ahead, usegmt=True))]


def in_front_of(target, seed=0):
    """A proxy while the block runs."""
    return running(Proxy(target, seed))
