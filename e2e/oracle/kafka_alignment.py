"""Two topics that are read at one pace of event time, on a real broker: one has an hour, the other is written bit by bit.

With alignment the first must wait for the second, however long that takes and whatever dies meanwhile, and little is kept of
it; without, it is read to its end at once. Nothing here is measured in seconds: what is looked at is where the job stands
when it cannot go on.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))

import topics  # noqa: E402
from common import compare  # noqa: E402
from kafka import Kafka, free_ports  # noqa: E402

SCRIPT = """
CREATE TABLE orders (id BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('topic' = 'orders', {read});
CREATE TABLE clicks (id BIGINT, of_order BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('topic' = 'clicks', {read});
CREATE TABLE joined (id BIGINT, click BIGINT)
  WITH ('topic' = '{sink}', 'sink.delivery-guarantee' = 'exactly-once', {write});
INSERT INTO joined SELECT o.id, c.id FROM orders AS o JOIN clicks AS c
  ON o.id = c.of_order AND c.ts BETWEEN o.ts - INTERVAL '5' SECOND AND o.ts + INTERVAL '5' SECOND;
"""
ALIGNED = (
    ", 'scan.watermark.alignment.group' = 'g', 'scan.watermark.alignment.max-drift' = '1 min', "
    "'scan.watermark.alignment.update-interval' = '100 ms'"
)

SPAN, DRIFT = 3_600, 60  # seconds of event time
ORDERS, CLICKS, PARTITIONS = 60_000, 12_000, 3
PADDING = "x" * 400
# What the source takes at once of a partition: a MiB, of which nothing is given back.
BLOCK = (1 << 20) // len(PADDING) + 1
PATIENCE = 120  # seconds until it is plain that nothing happens any more


def time_of(number, count):
    seconds = 1_700_000_000 + number * SPAN / count
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(int(seconds))) + f".{int(seconds * 1000) % 1000:03d}"


def order(number):
    row = {"id": number, "ts": time_of(number, ORDERS), "padding": PADDING}
    return str(number).encode(), json.dumps(row).encode()


def click(number, of_order):
    row = {"id": number, "of_order": of_order, "ts": time_of(number, CLICKS)}
    return str(number).encode(), json.dumps(row).encode()


class Job:
    """Reads both topics, in a folder of its own."""

    def __init__(self, binary, kafka, top, name, alignment):
        self.binary, self.kafka, self.name = binary, kafka, name
        self.folder = top / name
        self.folder.mkdir()
        topics.create(kafka.address, name, partitions=2)
        write = f"'connector' = 'kafka', 'properties.bootstrap.servers' = '{kafka.address}', 'format' = 'json'"
        read = write + ", 'scan.startup.mode' = 'earliest-offset', 'properties.statistics.interval.ms' = '100'" + alignment
        (self.folder / "job.sql").write_text(SCRIPT.format(read=read, write=write, sink=name))

    def start(self):
        (self.port,) = free_ports(1)
        command = [self.binary, "run", "job.sql", "--quiet", "--parallelism", "2", "--metrics", f"127.0.0.1:{self.port}"]
        command += ["--set", "execution.checkpointing.interval=200ms"]
        with open(self.folder / "log.txt", "a") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)

    def failed(self, what):
        self.process.kill()
        raise SystemExit(f"kafka alignment: {self.name}: {what}\n{(self.folder / 'log.txt').read_text()[-2000:]}")

    def metrics(self):
        """Where it stands: paused partitions, bytes of state, and for both topics the records left, by partition."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except (urllib.error.URLError, OSError):
            return None
        paused, state, left = 0, 0, {"orders": {}, "clicks": {}}
        for line in text.splitlines():
            found = re.match(r"(\w+)\{(.*)\} (\S+)$", line)
            if not found:
                continue
            name, labels, value = found[1], found[2], int(float(found[3]))
            if name == "streamfleet_source_paused_splits":
                paused += value
            elif name == "streamfleet_task_state_bytes":
                state += value
            elif name == "streamfleet_source_partition_lag_records":
                topic, partition = re.search(r'topic="(\w+)",partition="(\d+)"', labels).groups()
                left[topic][partition] = value
        is_known = all(len(partitions) == PARTITIONS for partitions in left.values())
        return (paused, state, sum(left["orders"].values()), sum(left["clicks"].values())) if is_known else None

    def until(self, what, is_so):
        """Looks until something is so; gives what it was then."""
        deadline = time.time() + PATIENCE
        while time.time() < deadline:
            if self.process.poll() is not None:
                self.failed(f"it ended with exit code {self.process.returncode}")
            found = self.metrics()
            if found and is_so(*found):
                return found
            time.sleep(0.05)
        self.failed(f"not {what} after {PATIENCE} s, but {found}")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def written(self):
        values = topics.values(self.kafka.address, self.name)
        return collections.Counter({tuple(json.loads(value).values()): count for value, count in values.items()})

    def stands(self, seconds):
        """Clicks end after so many seconds: orders must have come a minute further, and stop there. Gives the state's bytes."""
        # In one of their partitions clicks may end some seconds earlier.
        least = ORDERS * (seconds + DRIFT - 10) // SPAN
        most = ORDERS * (seconds + DRIFT) // SPAN + PARTITIONS * BLOCK

        def is_waiting(paused, _, orders_left, clicks_left):
            if ORDERS - orders_left > most:
                self.failed(f"{ORDERS - orders_left} orders were read, at most {most} may be while clicks end at {seconds} s")
            return paused == PARTITIONS and clicks_left == 0 and ORDERS - orders_left >= least

        _, state, orders_left, _ = self.until("waiting for clicks", is_waiting)
        print(f"kafka alignment: clicks end at {seconds} s: {ORDERS - orders_left} of {ORDERS} orders were read, "
              f"{least} to {most} may be; state {state / 1e6:.1f} MB", flush=True)
        return state


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    arguments = parser.parse_args()
    binary = str(pathlib.Path(arguments.bin).resolve())
    os.environ.pop("STREAMFLEET_CRASH_AT", None)
    random.seed(1)
    # An order lies within five seconds of about half of its clicks.
    of_order = [min(max(n * ORDERS // CLICKS + random.randrange(-170, 170), 0), ORDERS - 1) for n in range(CLICKS)]
    is_near = lambda click: abs(click * SPAN * 1000 // CLICKS - of_order[click] * SPAN * 1000 // ORDERS) <= 5_000
    expected = collections.Counter((of_order[click], click) for click in range(CLICKS) if is_near(click))
    with tempfile.TemporaryDirectory() as top, Kafka() as kafka:
        topics.create(kafka.address, "orders", "clicks", partitions=PARTITIONS)
        topics.fill(kafka.address, "orders", map(order, range(ORDERS)))

        def put_clicks(since, until):
            numbers = range(CLICKS * since // SPAN, CLICKS * until // SPAN)
            topics.fill(kafka.address, "clicks", (click(n, of_order[n]) for n in numbers))

        put_clicks(0, 600)
        aligned = Job(binary, kafka, pathlib.Path(top), "aligned", ALIGNED)
        aligned.start()
        kept = aligned.stands(600)
        aligned.kill()

        free = Job(binary, kafka, pathlib.Path(top), "free", "")
        free.start()
        free.until("reading orders to their end", lambda paused, _, orders, clicks: paused == orders == clicks == 0)
        _, state, _, _ = free.until("keeping twice the state", lambda _p, state, _o, _c: state > 2 * kept)
        free.kill()
        print(f"kafka alignment: not aligned, all orders were read, and state is {state / 1e6:.1f} MB", flush=True)

        put_clicks(600, 1200)
        aligned.start()
        aligned.stands(1200)
        # Nobody sees the clicks that come now but those who wait.
        put_clicks(1200, SPAN)
        aligned.until("at the end", lambda _p, _s, orders, clicks: orders == clicks == 0)
        deadline = time.time() + PATIENCE
        while sum(aligned.written().values()) < sum(expected.values()) and time.time() < deadline:
            time.sleep(0.2)
        aligned.process.send_signal(signal.SIGTERM)
        if aligned.process.wait(timeout=PATIENCE) != 0:
            aligned.failed("it did not stop well")
        topics.settle(kafka.address, aligned.name)
        compare("kafka alignment", aligned.written(), expected)
    print(f"kafka alignment: {sum(expected.values())} pairs, none lost, none twice, killed while it waited")


if __name__ == "__main__":
    main()
