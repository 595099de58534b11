"""A small token endpoint (OAuth 2.0, client credentials), in this process: signed tokens of any life, and harm on demand."""

import base64
import hashlib
import hmac
import json
import secrets
import time
import urllib.parse

from http_server import HttpServer, answer, body_of, hang_up, running

CLIENT, SECRET, SCOPE, AUDIENCE = "job", "job-client-secret", "kafka", "brokers"


def encoded(content):
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


class Tokens(HttpServer):
    """Its faults are attributes that may change at any time."""

    def __init__(self, life=3600, key=None, tls=None):
        super().__init__(tls)
        self.key = key or secrets.token_bytes(32)
        self.life = life  # seconds
        self.audience = AUDIENCE
        self.unavailable = False  # 503
        self.opaque = False  # tokens that only their giver understands
        self.given = 0

    def key_set(self):
        """What brokers check tokens with: a key set as a text of JSON."""
        return json.dumps({"keys": [{"kty": "oct", "kid": "k", "alg": "HS256", "use": "sig", "k": encoded(self.key)}]})

    def token(self):
        """A signed one, from now on."""
        now = time.time()
        claims = {"sub": CLIENT, "aud": self.audience, "iat": int(now), "exp": now + self.life, "scope": SCOPE,
                  "jti": secrets.token_hex(4)}
        parts = [encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "k"}, claims)]
        signature = hmac.new(self.key, ".".join(parts).encode(), hashlib.sha256).digest()
        return ".".join([*parts, encoded(signature)])

    def serve(self, handler):
        body = body_of(handler)
        if self.refusing:
            hang_up(handler)
            return
        status, said = self.asked(handler, urllib.parse.parse_qs(body.decode()))
        answer(handler, status, [("content-type", "application/json")], json.dumps(said).encode())

    def asked(self, handler, form):
        if self.unavailable:
            return 503, {"error": "temporarily_unavailable"}
        if (handler.command, handler.path) != ("POST", "/token"):
            return 404, {"error": "nothing there"}
        expected = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if handler.headers.get("authorization") != expected:
            return 401, {"error": "invalid_client", "error_description": "unknown client, or a wrong secret"}
        if form.get("grant_type") != ["client_credentials"]:
            return 400, {"error": "unsupported_grant_type"}
        if form.get("scope") != [SCOPE]:
            return 400, {"error": "invalid_scope"}
        with self.lock:
            self.given += 1
        return 200, {"access_token": secrets.token_hex(16) if self.opaque else self.token(), "token_type": "Bearer", "expires_in": self.life}


def tokens(life=3600, key=None, tls=None):
    """A token endpoint while the block runs; `key`: what tokens are signed with, `tls`: the context of its TLS."""
    return running(Tokens(life, key, tls))
