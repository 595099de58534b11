"""Starts a broker and an S3 server, fills topics, runs the example, and shows what came out."""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import duckdb

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "e2e" / "servers"))

import s3  # noqa: E402
import topics  # noqa: E402
from kafka import Kafka  # noqa: E402
from s3_client import Client  # noqa: E402

PAGES = ["home", "search", "cart", "help", "news", *(f"product-{i}" for i in range(40))]


def moment(ms):
    return f"2024-05-01 {ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


def clicks(chance, count):
    """Clicks of ten minutes; few pages are popular."""
    for number in range(count):
        page = PAGES[min(int(chance.expovariate(0.15)), len(PAGES) - 1)]
        user = chance.randrange(20_000)
        row = {"user_id": user, "page": page, "at": moment(number * 600_000 // count)}
        yield str(user).encode(), json.dumps(row).encode()


def orders(chance, count):
    for number in range(count):
        user = chance.randrange(20_000)
        row = {"user_id": user, "amount": chance.randrange(100, 20_000) / 100, "at": moment(number * 600_000 // count)}
        yield str(user).encode(), json.dumps(row).encode()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--clicks", type=int, default=300_000)
    arguments = parser.parse_args()
    binary, out = str(pathlib.Path(arguments.bin).resolve()), pathlib.Path(arguments.out)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    chance = random.Random(7)
    print("example: starting a Kafka broker and an S3 server", flush=True)
    with Kafka() as kafka, s3.running() as bucket:
        topics.create(kafka.address, "clicks", "orders", "top_pages", partitions=4)
        topics.fill(kafka.address, "clicks", clicks(chance, arguments.clicks))
        topics.fill(kafka.address, "orders", orders(chance, arguments.clicks // 20))
        for name in ("job.sql", "job.yaml"):
            text = (HERE / name).read_text().replace("${KAFKA}", kafka.address).replace("${BUCKET}", s3.BUCKET)
            (out / name).write_text(text)
        print(f"example: {arguments.clicks} clicks from {kafka.address}, files to {bucket.endpoint}", flush=True)
        environment = os.environ | bucket.environment()
        began = time.time()
        first = subprocess.Popen([binary, "run", "job.yaml", "--quiet"], cwd=out, env=environment)
        time.sleep(0.9)
        if first.poll() is None:
            print("example: kill -9, to show that it does no harm", flush=True)
            first.send_signal(signal.SIGKILL)
        first.wait()
        subprocess.run([binary, "run", "job.yaml"], cwd=out, env=environment, check=True)
        print(f"example: took {time.time() - began:.1f} s\n")
        show(kafka, bucket)


def show(kafka, bucket):
    rows = [json.loads(value) for records in topics.read(kafka.address, "top_pages").values() for _, value in records]
    rows.sort(key=lambda row: (row["window_end"], row["place"]))
    print(f"top_pages: {len(rows)} committed records; of the last minute:")
    for row in rows[-3:]:
        print(f"  {row['window_end']}  {row['place']}. {row['page']:<12} {row['clicks']:>6} clicks")
    client = Client(bucket.endpoint, s3.KEY, s3.SECRET, s3.BUCKET)
    with tempfile.TemporaryDirectory() as folder:
        for number, key in enumerate(client.list("conversions/")):
            (pathlib.Path(folder) / f"{number}.parquet").write_bytes(client.get(key))
        files = f"read_parquet('{folder}/*.parquet')"
        query = f"SELECT window_start, count(*), sum(clicks), sum(spent) FROM {files} GROUP BY 1 ORDER BY 1"
        found = duckdb.sql(query).fetchall()
    print(f"\nconversions: {sum(row[1] for row in found)} rows in parquet files; per minute:")
    for start, buyers, clicked, spent in found[:3]:
        print(f"  {start}  {buyers:>5} buyers, {clicked:>6} clicks, {spent:>10} spent")
    if len(rows) != 30 or len(found) != 10:
        raise SystemExit(f"ten minutes have 30 places and 10 groups, not {len(rows)} and {len(found)}")


if __name__ == "__main__":
    main()
