"""A job that copies one topic to another, for tests of what can go wrong."""

import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))

import topics  # noqa: E402
from common import LIMIT, compare  # noqa: E402

READ = """
CREATE TABLE input (id BIGINT, note STRING)
  WITH ('connector' = 'kafka', 'topic' = '{source}', 'properties.bootstrap.servers' = '{address}', 'format' = 'json',
        'properties.default.api.timeout.ms' = '{patience}', 'scan.startup.mode' = 'earliest-offset'{read});
"""
WRITE = """
CREATE TABLE output (id BIGINT, note STRING)
  WITH ('connector' = 'kafka', 'topic' = '{sink}', 'properties.bootstrap.servers' = '{sink_address}', 'format' = '{format}',
        'properties.default.api.timeout.ms' = '{patience}', 'sink.delivery-guarantee' = '{guarantee}'{write});
INSERT INTO output SELECT id, note FROM input;
"""
BOUNDED = ", 'scan.bounded.mode' = 'latest-offset'"


class Case:
    """A job that copies one topic to another, in a folder of its own."""

    def __init__(self, binary, kafka, top, name, read=BOUNDED, write="", address=None, sink_address=None, patience=60_000,
                 make=(1, 1), guarantee="exactly-once", format="json"):
        self.binary, self.kafka, self.name = binary, kafka, name
        self.folder = top / name
        self.folder.mkdir()
        self.source, self.sink = f"{name}-in", f"{name}-out"
        if make[0]:
            topics.create(kafka.address, self.source, partitions=2)
        if make[1]:
            topics.create(kafka.address, self.sink, partitions=2)
        address = address or kafka.address
        text = (READ + WRITE).format(
            source=self.source, sink=self.sink, address=address, sink_address=sink_address or address, patience=patience,
            read=read, write=write, guarantee=guarantee, format=format,
        )
        (self.folder / "job.sql").write_text(text)

    def put(self, first, count, note="x"):
        """Writes rows; by their keys every partition has some."""
        rows = ((str(i).encode(), json.dumps({"id": i, "note": note}).encode()) for i in range(first, first + count))
        topics.fill(self.kafka.address, self.source, rows)

    def start(self, *options, interval="200ms", crash_at=None):
        command = [self.binary, "run", "job.sql", "--quiet", "--parallelism", "2", *options]
        command += ["--set", f"execution.checkpointing.interval={interval}"]
        self.errors = open(self.folder / "log.txt", "a+")
        environment = os.environ | ({"STREAMFLEET_CRASH_AT": crash_at} if crash_at else {})
        return subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=self.errors, env=environment)

    def log(self):
        return (self.folder / "log.txt").read_text()

    def has_begun(self):
        """True if its job log has a record: it waits for brokers from then on."""
        return any((self.folder / "checkpoints" / "job" / "log").glob("[0-9]*"))

    def finish(self, process=None, limit=LIMIT):
        code = (process or self.start()).wait(timeout=limit)
        if code != 0:
            raise SystemExit(f"{self.name}: exit code {code}\n{self.log()}")

    def refused(self, *texts, code=1, process=None):
        """It must fail, and say all this."""
        found = (process or self.start()).wait(timeout=LIMIT)
        said = self.log()
        if found != code or any(text not in said for text in texts):
            raise SystemExit(f"{self.name}: exit code {found}, expected {code} and {texts}\n{said}")
        print(f"kafka faults: {self.name}: refused as it should be", flush=True)

    def dies(self, first, crash_at):
        """Runs it until it dies at a place; gives the number of rows then. To come to a place again and again, it is given rows
        again and again, from `first` on."""
        process, deadline = self.start(crash_at=crash_at), time.time() + LIMIT
        while process.poll() is None and time.time() < deadline:
            self.put(first, 100)
            first += 100
        if process.poll() != -signal.SIGKILL:
            process.kill()
            raise SystemExit(f"{self.name}: it did not die at {crash_at}: exit code {process.returncode}\n{self.log()}")
        return first

    def written(self):
        return collections.Counter(json.loads(v)["id"] for v in topics.values(self.kafka.address, self.sink).elements())

    def exact(self, first, count, what):
        """When it has ended: these rows are there, each once."""
        topics.settle(self.kafka.address, self.sink)
        compare(f"{self.name}: {what}", self.written(), collections.Counter(range(first, first + count)))
        print(f"kafka faults: {self.name}: {what}: {count} rows, none lost, none twice", flush=True)

    def wait_for(self, count, limit=LIMIT):
        """Until so many rows are committed."""
        deadline = time.time() + limit
        while sum(self.written().values()) < count:
            if time.time() > deadline:
                raise SystemExit(f"{self.name}: {sum(self.written().values())} of {count} rows after {limit} s\n{self.log()}")
            time.sleep(0.3)


def stop(process):
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=LIMIT)
