"""As much of an S3 client as the tests need: signed requests, listings, objects, open uploads."""

import datetime
import hashlib
import hmac
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Client:
    """Speaks to one bucket."""

    def __init__(self, endpoint, key, secret, bucket, region="us-east-1"):
        self.endpoint, self.key, self.secret, self.bucket, self.region = endpoint, key, secret, bucket, region

    def ask(self, method, key="", query=(), body=b""):
        """One signed request; gives the answer's content."""
        now = datetime.datetime.now(datetime.timezone.utc)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        host = urllib.parse.urlsplit(self.endpoint).netloc
        path = urllib.parse.quote(f"/{self.bucket}/{key}" if key else f"/{self.bucket}", safe="/~")
        quote = lambda text: urllib.parse.quote(str(text), safe="~")  # noqa: E731
        text = "&".join(f"{quote(k)}={quote(v)}" for k, v in sorted(query))
        digest = hashlib.sha256(body).hexdigest()
        headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": stamp}
        names = ";".join(sorted(headers))
        canonical = "\n".join(
            [method, path, text, *(f"{n}:{headers[n]}" for n in sorted(headers)), "", names, digest]
        )
        scope = f"{day}/{self.region}/s3/aws4_request"
        to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        secret = ("AWS4" + self.secret).encode()
        for part in [day, self.region, "s3", "aws4_request"]:
            secret = sign(secret, part)
        signature = sign(secret, to_sign).hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        url = f"{self.endpoint}{path}" + (f"?{text}" if text else "")
        request = urllib.request.Request(url, data=body or None, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def elements(self, content, name):
        """Every element of a name, as a dictionary of its parts."""
        root = xml.etree.ElementTree.fromstring(content)
        plain = lambda element: element.tag.rsplit("}", 1)[-1]  # noqa: E731
        return [{plain(part): part.text for part in element} for element in root.iter() if plain(element) == name]

    def list(self, prefix):
        """The keys that begin with a prefix."""
        keys, more = [], []
        while True:
            content = self.ask("GET", query=[("list-type", 2), ("prefix", prefix), *more])
            keys += [found["Key"] for found in self.elements(content, "Contents")]
            said = self.elements(b"<r>" + content[content.find(b"<ListBucketResult") :] + b"</r>", "ListBucketResult")[0]
            if said.get("IsTruncated") != "true":
                return keys
            more = [("continuation-token", said["NextContinuationToken"])]

    def uploads(self, prefix):
        """Keys of uploads that were begun and neither completed nor aborted."""
        content = self.ask("GET", query=[("uploads", ""), ("prefix", prefix)])
        return [found["Key"] for found in self.elements(content, "Upload")]

    def get(self, key):
        return self.ask("GET", key)

    def put(self, key, body):
        self.ask("PUT", key, body=body)
