"""A small schema registry as Confluent's, in this process: what the tests need of its interface, and harm on demand."""

import base64
import contextlib
import http.server
import json
import random
import re
import threading
import urllib.parse

TYPE = "application/vnd.schemaregistry.v1+json"


class Registry:
    """Schemas by number, and which numbers each subject has. Its faults are attributes that may change at any time."""

    def __init__(self, credentials=None):
        self.schemas = []
        self.subjects = {}
        self.credentials = credentials
        self.unavailable = 0.0  # share of requests that are answered 503
        self.refusing = False  # connections are closed at once
        self.asked = []
        self.lock = threading.Lock()
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def log_message(self, *_):
                pass

            def serve(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if registry.refusing:
                    self.close_connection = True
                    return
                status, answer = registry.answer(self.command, self.path, self.headers, body)
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", TYPE)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = serve

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                """Clients are killed in the midst of their requests."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, method, path, headers, body):
        with self.lock:
            self.asked.append((method, path))
            if random.random() < self.unavailable:
                return 503, {"error_code": 50301, "message": "not now"}
            if self.credentials:
                expected = "Basic " + base64.b64encode(self.credentials.encode()).decode()
                if headers.get("authorization") != expected:
                    return 401, {"error_code": 401, "message": "Unauthorized"}
            if found := re.fullmatch(r"/schemas/ids/(\d+)", path):
                number = int(found[1])
                if not 1 <= number <= len(self.schemas):
                    return 404, {"error_code": 40403, "message": f"Schema {number} not found"}
                return 200, {"schema": self.schemas[number - 1]}
            if found := re.fullmatch(r"/subjects/([^/]+)(/versions)?", path):
                subject = urllib.parse.unquote(found[1])
                return self.find(subject, json.loads(body)["schema"], register=found[2] is not None)
            return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def find(self, subject, text, register):
        schema = json.loads(text)
        versions = self.subjects.setdefault(subject, [])
        for number in versions:
            if json.loads(self.schemas[number - 1]) == schema:
                return 200, {"id": number, "subject": subject}
        if not register:
            return 404, {"error_code": 40403, "message": "Schema not found"}
        if versions and (why := incompatible(json.loads(self.schemas[versions[-1] - 1]), schema)):
            return 409, {"error_code": 409, "message": f"Schema being registered is incompatible: {why}"}
        if text not in self.schemas:
            self.schemas.append(text)
        number = self.schemas.index(text) + 1
        versions.append(number)
        return 200, {"id": number}

    def add(self, subject, schema):
        """Registers a schema; gives its number."""
        with self.lock:
            status, answer = self.find(subject, json.dumps(schema), register=True)
        if status != 200:
            raise SystemExit(f"{subject}: {answer}")
        return answer["id"]


def incompatible(old, new):
    """Why records of the old schema cannot be read by the new one (BACKWARD), as far as the tests need it."""
    before = {field["name"]: field["type"] for field in old["fields"]}
    for field in new["fields"]:
        if field["name"] not in before:
            if "default" not in field:
                return f"the new field {field['name']} has no default"
        elif json.dumps(before[field["name"]]) != json.dumps(field["type"]):
            wider = (before[field["name"]], field["type"]) in (("int", "long"), ("float", "double"))
            if not wider:
                return f"the type of {field['name']} changed"
    return None


@contextlib.contextmanager
def registry(credentials=None):
    """A registry while the block runs."""
    served = Registry(credentials)
    thread = threading.Thread(target=served.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.server.shutdown()
        served.server.server_close()
