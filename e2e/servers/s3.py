"""A real S3 server (SeaweedFS) on free ports of this machine, with its data in a folder of its own."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from s3_client import Client

KEY, SECRET = "streamfleet-test", "streamfleet-test-secret"
BUCKET = "streamfleet"
# The server knows a bucket's name in front of it as that bucket's host.
DOMAIN = "s3.streamfleet.test"

# Every port that the server listens at, all on the loopback address.
PORTS = ["s3", "master", "volume", "filer", "admin", "webdav"]


def free_ports(names):
    """A port for each name; they and those 10000 above them all differ."""
    found = {}
    for name in names:
        taken = {other + above for other in found.values() for above in (0, 10000)}
        found[name] = free_port(taken)
    return found


def free_port(taken):
    """A port that nobody listens at, and that leaves room for the one 10000 above it."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        low = 10000 + port % 20000
        if taken & {low, low + 10000}:
            continue
        with socket.socket() as probe, socket.socket() as above:
            try:
                probe.bind(("127.0.0.1", low))
                above.bind(("127.0.0.1", low + 10000))
                return low
            except OSError:
                continue


class S3:
    """A server that can be stopped and started again on the same data."""

    def __init__(self, folder, niceness=0):
        self.niceness = niceness
        self.folder = pathlib.Path(folder)
        self.ports = free_ports(PORTS)
        self.endpoint = f"http://127.0.0.1:{self.ports['s3']}"
        self.process = None

    def environment(self):
        """What a client needs."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def start(self):
        """Starts it and waits until it answers."""
        binary = shutil.which("weed", path=str(pathlib.Path(sys.executable).parent)) or shutil.which("weed")
        if binary is None:
            raise SystemExit("there is no S3 server for the tests: run `make setup`")
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        command = [binary, "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-bucket={BUCKET}"]
        command += [f"-{name}.port={port}" for name, port in self.ports.items()]
        command = ["nice", "-n", str(self.niceness), *command]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false", f"-s3.domainName={DOMAIN}"]
        environment = os.environ | {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        with open(self.folder / "server.log", "a") as log:
            # A group of its own: an interrupt at the terminal is for the tests, which then stop it.
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        # Longer than it takes: the machine may be busy with other things.
        deadline = time.time() + 240
        while not self.answers():
            if self.process.poll() is not None or time.time() > deadline:
                raise SystemExit(f"the S3 server does not start\n{(self.folder / 'server.log').read_text()[-3000:]}")
            time.sleep(0.2)

    def answers(self):
        """True if the bucket can be listed: to who has no credentials a bucket that is not made yet looks like one that is."""
        try:
            Client(self.endpoint, KEY, SECRET, BUCKET).list("none/")
        except OSError:
            return False
        return True

    def pause(self):
        """Stops it in its tracks: connections stay open and nothing is answered."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self):
        """Ends a pause."""
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self):
        """Stops it for good, or until it is started again."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.go_on()
            self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


@contextlib.contextmanager
def running(niceness=0):
    """A server while the block runs."""
    with tempfile.TemporaryDirectory(prefix="streamfleet-s3-") as folder:
        server = S3(folder, niceness)
        try:
            server.start()
            yield server
        finally:
            server.stop()
