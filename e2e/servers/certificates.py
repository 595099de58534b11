"""Certificates for servers of the tests: an authority of our own, and what it signs for this machine."""

import ssl
import subprocess


class Authority:
    """Signs a certificate for 127.0.0.1. Everything lies in `folder`, in PEM, and is good for two days."""

    def __init__(self, folder, name):
        self.certificate = folder / f"{name}-ca.pem"
        self._folder, self._name, self._ca_key = folder, name, folder / f"{name}-ca.key"
        _make(self._ca_key, self.certificate, f"{name} authority", ["basicConstraints=critical,CA:TRUE"])
        self._key, self._server = self.signed("server")

    def signed(self, what):
        """Makes a key and a certificate of 127.0.0.1; gives both files."""
        key, certificate = self._folder / f"{self._name}-{what}.key", self._folder / f"{self._name}-{what}.pem"
        extensions = ["basicConstraints=critical,CA:FALSE", "subjectAltName=IP:127.0.0.1"]
        signer = ("-CA", self.certificate, "-CAkey", self._ca_key)
        _make(key, certificate, f"{self._name} {what}", extensions, *signer)
        return key, certificate

    def key_store(self, what):
        """The same in one file, as Kafka's Java programs read it."""
        path = self._folder / f"{self._name}-{what}-store.pem"
        path.write_text("".join(part.read_text() for part in self.signed(what)))
        return path

    def server(self):
        """What a server needs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._server, self._key)
        return context


def _make(key, certificate, name, extensions, *signed_by):
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={name}", "-keyout", str(key), "-out", str(certificate), *map(str, signed_by)]
    for extension in extensions:
        command += ["-addext", extension]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise SystemExit(f"openssl makes no certificate:\n{done.stderr}")
