"""A small schema registry as Confluent's, in this process: what the tests need of its interface, and harm on demand."""

import base64
import json
import random
import re
import urllib.parse

from http_server import HttpServer, answer, body_of, hang_up, running

TYPE = "application/vnd.schemaregistry.v1+json"


class Registry(HttpServer):
    """Schemas by number, and which numbers each subject has. Its faults are attributes that may change at any time."""

    def __init__(self, credentials=None):
        super().__init__()
        self.schemas = []
        self.subjects = {}
        self.credentials = credentials
        self.unavailable = 0.0  # share of requests that are answered 503
        self.asked = []

    def serve(self, handler):
        body = body_of(handler)
        if self.refusing:
            hang_up(handler)
            return
        status, said = self.asked_for(handler.command, handler.path, handler.headers, body)
        answer(handler, status, [("content-type", TYPE)], json.dumps(said).encode())

    def asked_for(self, method, path, headers, body):
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


def registry(credentials=None):
    """A registry while the block runs."""
    return running(Registry(credentials))
