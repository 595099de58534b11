"""How fast a job copies a topic exactly once, beside what the client library with the same decoder and encoder reaches alone.

Both copy the same records on the same machine, one after the other, three times; the ratio of the best times is printed.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))

import topics  # noqa: E402
from kafka import Kafka  # noqa: E402

SCRIPT = """
CREATE TABLE input (id BIGINT, k BIGINT, price DOUBLE, note STRING, `at` TIMESTAMP(3))
  WITH ('connector' = 'kafka', 'topic' = 'in', 'properties.bootstrap.servers' = '{address}', 'format' = 'json',
        'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
CREATE TABLE output (id BIGINT, k BIGINT, price DOUBLE, note STRING, `at` TIMESTAMP(3))
  WITH ('connector' = 'kafka', 'topic' = '{sink}', 'properties.bootstrap.servers' = '{address}', 'format' = 'json',
        'sink.delivery-guarantee' = 'exactly-once');
INSERT INTO output SELECT id, k, price, note, `at` FROM input;
"""


def row(i):
    at = f"2024-01-01 {i // 3_600_000 % 24:02}:{i // 60_000 % 60:02}:{i // 1000 % 60:02}.{i % 1000:03}"
    return json.dumps({"id": i, "k": i % 1000, "price": i * 1.5, "note": f"row number {i}", "at": at}).encode()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--records", type=int, default=3_000_000)
    parser.add_argument("--parallelism", default="1")
    parser.add_argument("--raw", required=True, help="the test binary of the crate connectors, which has `raw_copy`")
    arguments = parser.parse_args()
    binary = str(pathlib.Path(arguments.bin).resolve())
    with tempfile.TemporaryDirectory() as top, Kafka() as kafka:
        topics.create(kafka.address, "in", partitions=4)
        topics.fill(kafka.address, "in", ((None, row(i)) for i in range(arguments.records)))
        raw, job = [], []
        for turn in range(3):
            topics.create(kafka.address, f"raw{turn}", f"job{turn}", partitions=4)
            environment = os.environ | {
                "STREAMFLEET_TEST_KAFKA": kafka.address,
                "RAW_COPY_FROM": "in",
                "RAW_COPY_TO": f"raw{turn}",
                "RAW_COPY_RECORDS": str(arguments.records),
            }
            said = subprocess.run([arguments.raw, "--ignored", "--nocapture", "raw_copy"], env=environment, capture_output=True, text=True, timeout=600)
            found = re.search(r"raw copy: \d+ records in ([\d.]+) s", said.stdout)
            if not found:
                raise SystemExit(said.stdout + said.stderr)
            raw.append(float(found.group(1)))
            script = pathlib.Path(top) / f"copy{turn}.sql"
            script.write_text(SCRIPT.format(address=kafka.address, sink=f"job{turn}"))
            command = [binary, "run", script.name, "--quiet", "--parallelism", arguments.parallelism]
            began = time.time()
            subprocess.run([*command, "--set", "execution.checkpointing.interval=1s"], cwd=top, check=True)
            job.append(time.time() - began)
            print(f"turn {turn}: alone {raw[-1]:.2f} s, job {job[-1]:.2f} s", flush=True)
    rate = arguments.records / min(job)
    print(f"kafka speed: job {rate:,.0f} records/s, {min(raw) / min(job):.0%} of the client library alone")


if __name__ == "__main__":
    main()
