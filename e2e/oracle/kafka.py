"""Exactly once on real servers: a job that is killed again and again must write what an undisturbed one writes.

A real broker and a real S3 server are started. One job reads two topics, joins them, counts per window and copies some of the
rows; it writes three topics in transactions and files in a bucket, where its checkpoints are too. It is killed with SIGKILL at
random moments and at every named place, twice in a row too, and goes on at other parallelisms. A reader of committed records
and a reader of the files must find exactly the rows of a run without kills, each key's rows in the order of their source; at
the end no transaction is open, nothing in the bucket is half written, and no state file is left that nothing refers to. Then a
second job begins from a checkpoint of the first while that goes on: it must write what comes behind that checkpoint, and the
first must not notice. And jobs with a restart strategy are denied their checkpoint place until an attempt fails: they must go
on by themselves, exactly once, or at least once where no more is asked for.
"""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))

import fault_proxy  # noqa: E402
import s3  # noqa: E402
import topics  # noqa: E402
from common import compare, nothing_to_collect  # noqa: E402
from kafka import Kafka, free_ports  # noqa: E402
from s3_client import Client  # noqa: E402

# Named places in a job's life, and at which of the times that a life comes there it may die. Some are reached once only.
CRASH_POINTS = {
    "before-complete": [1, 1, 2, 3],
    "after-complete": [1, 1, 2, 3],
    "between-commits": [1, 1, 2, 3],
    "before-committed": [1, 1, 2, 3],
    "after-committed": [1, 1, 2, 3],
    "before-abandon": [1],
    "before-restore": [1],
    "after-restore": [1],
}

# From so many kills on every place must have been the end of a process. One that so many lives in a row lived past is none.
ENOUGH, TRIES = 60, 8

SCRIPT = """
CREATE TABLE bids (auction BIGINT, bidder BIGINT, price BIGINT, `at` TIMESTAMP(3),
    WATERMARK FOR `at` AS `at` - INTERVAL '2' SECOND)
  WITH ('connector' = 'kafka', 'topic' = 'bids', {read});
CREATE TABLE auctions (id BIGINT, category BIGINT)
  WITH ('connector' = 'kafka', 'topic' = 'auctions', {read});
CREATE TABLE counts (auction BIGINT, window_end TIMESTAMP(3), bids BIGINT, best BIGINT)
  WITH ('connector' = 'kafka', 'topic' = '{counts}', 'key.fields' = 'auction', {write});
CREATE TABLE joined (auction BIGINT, bidder BIGINT, price BIGINT, category BIGINT)
  WITH ('connector' = 'kafka', 'topic' = '{joined}', 'key.fields' = 'bidder', {write});
CREATE TABLE copied (auction BIGINT, number BIGINT)
  WITH ('connector' = 'kafka', 'topic' = '{copied}', 'key.fields' = 'auction', {write});
CREATE TABLE files (auction BIGINT, bidder BIGINT, price BIGINT, category BIGINT)
  WITH ('connector' = 'filesystem', 'path' = '{files}', 'format' = 'json');
EXECUTE STATEMENT SET BEGIN
INSERT INTO counts SELECT auction, window_end, COUNT(*), MAX(price)
  FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(`at`), INTERVAL '10' SECOND)) GROUP BY auction, window_start, window_end;
INSERT INTO joined SELECT b.auction, b.bidder, b.price, a.category FROM bids AS b JOIN auctions AS a ON b.auction = a.id;
INSERT INTO copied SELECT auction, price FROM bids WHERE bidder < 300;
INSERT INTO files SELECT b.auction, b.bidder, b.price, a.category FROM bids AS b JOIN auctions AS a ON b.auction = a.id
  WHERE a.category < 3;
END;
"""


def generate(chance, bids):
    """Auctions, and bids in event-time order: keys and values."""
    auctions = [(i, i % 7) for i in range(500)]
    yield "auctions", ((str(i).encode(), json.dumps({"id": i, "category": c}).encode()) for i, c in auctions)

    def rows():
        for number in range(bids):
            auction = chance.randrange(600)
            at = number * 3
            time_text = f"2024-01-01 {at // 3_600_000:02}:{at // 60_000 % 60:02}:{at // 1000 % 60:02}.{at % 1000:03}"
            row = {"auction": auction, "bidder": chance.randrange(1000), "price": number, "at": time_text}
            yield str(auction).encode(), json.dumps(row).encode()

    yield "bids", rows()


class Job:
    """The job, writing to topics and a place in the bucket of its own."""

    def __init__(self, binary, kafka, bucket, folder, name, read_more="", guarantee="exactly-once"):
        self.binary, self.kafka, self.bucket = binary, kafka, bucket
        self.folder, self.name, self.guarantee = folder / name, name, guarantee
        self.client = Client(bucket.endpoint, s3.KEY, s3.SECRET, s3.BUCKET)
        self.checkpoints = f"s3://{s3.BUCKET}/{name}/checkpoints"
        self.folder.mkdir()
        self.sinks = [f"{name}-counts", f"{name}-joined", f"{name}-copied"]
        topics.create(kafka.address, *self.sinks)
        common = f"'properties.bootstrap.servers' = '{kafka.address}'"
        read = f"{common}, 'format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'{read_more}"
        write = (
            f"{common}, 'sink.delivery-guarantee' = '{guarantee}', 'key.format' = 'raw', 'value.format' = 'json', "
            "'properties.transaction.timeout.ms' = '300000'"
        )
        text = SCRIPT.format(read=read, write=write, counts=self.sinks[0], joined=self.sinks[1], copied=self.sinks[2],
                             files=f"s3://{s3.BUCKET}/{name}/files")
        (self.folder / "job.sql").write_text(text)

    def start(self, parallelism, crash_at=None, interval="50ms", more=(), endpoint=None):
        """Begins one life of the job; `endpoint`: where it thinks that the S3 server is."""
        command = [self.binary, "run", "job.sql", "--quiet", "--parallelism", str(parallelism)]
        command += ["--checkpoints", self.checkpoints, *more]
        command += ["--set", f"execution.checkpointing.interval={interval}", "--set", "execution.checkpointing.timeout=20s"]
        environment = os.environ | self.bucket.environment()
        environment.pop("STREAMFLEET_CRASH_AT", None)
        if endpoint:
            environment["AWS_ENDPOINT_URL"] = endpoint
        if crash_at:
            environment["STREAMFLEET_CRASH_AT"] = crash_at
        with open(self.folder / "log.txt", "a") as log:
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=environment)

    def lives(self):
        """How many of its lives came so far that they began to run."""
        return (self.folder / "log.txt").read_text().count("job: run ") if (self.folder / "log.txt").exists() else 0

    def log(self):
        return (self.folder / "log.txt").read_text()[-3000:]

    def fail(self, text):
        raise SystemExit(f"{self.name}: {text}\n{self.log()}")

    def finish(self, parallelism=2):
        """Runs it to its end."""
        code = self.start(parallelism).wait(timeout=300)
        if code != 0:
            raise SystemExit(f"{self.name}: exit code {code}\n{self.log()}")

    def rows(self):
        """What the sinks' topics hold for a reader of committed records; checks that each key's come in the order of the source."""
        found, self.last = {}, {}
        topics.settle(self.kafka.address, *self.sinks)
        for sink in self.sinks:
            rows = collections.Counter()
            last = {}
            rising = {"counts": "window_end", "copied": "number"}.get(sink.rsplit("-", 1)[1])
            for partition, records in topics.read(self.kafka.address, sink).items():
                for key, value in records:
                    row = json.loads(value)
                    rows[tuple(row.values())] += 1
                    if rising is None:
                        continue
                    # What is written at least once goes back at times, and then on from there to the end.
                    if self.guarantee == "exactly-once" and key in last and last[key] >= (partition, row[rising]):
                        raise SystemExit(f"{sink}: rows of key {key} are out of order: {row} behind {last[key]}")
                    if key in last and last[key][0] != partition:
                        raise SystemExit(f"{sink}: rows of key {key} are in several partitions")
                    last[key] = (partition, row[rising])
            self.last[sink.rsplit("-", 1)[1]] = {key: number for key, (_, number) in last.items()}
            found[sink.rsplit("-", 1)[1]] = rows
        found["files"] = collections.Counter(
            tuple(json.loads(line).values())
            for key in self.client.list(f"{self.name}/files/")
            for line in self.client.get(key).splitlines()
        )
        return found

    def nothing_is_left(self):
        """No transaction is open, no upload, and no state file or record that nothing refers to."""
        uploads = self.client.uploads(f"{self.name}/")
        hidden = [key for key in self.client.list(f"{self.name}/files/") if "/." in key]
        if uploads or hidden:
            raise SystemExit(f"{self.name}: left over: uploads {uploads}, objects {hidden}")
        for sink in self.sinks:
            committed = topics.end_offsets(self.kafka.address, sink, "read_committed")
            all_there = topics.end_offsets(self.kafka.address, sink, "read_uncommitted")
            if committed != all_there:
                raise SystemExit(f"{sink}: a transaction is still open: {committed} of {all_there}")
        nothing_to_collect(self.binary, f"{self.checkpoints}/job", self.bucket.environment())


class Places:
    """The named places that are still to be the end of a process: each so many times."""

    def __init__(self, chance, times):
        self.chance = chance
        self.left = list(CRASH_POINTS) * times
        self.deaths, self.passed = collections.Counter(), collections.Counter()
        chance.shuffle(self.left)

    def arm(self):
        """A place, and at the how manieth time there. It is still to be visited until a process has died there."""
        name = self.left[-1]
        return name, 1 if self.passed[name] else self.chance.choice(CRASH_POINTS[name])

    def died(self, name):
        self.left.pop()
        self.deaths[name] += 1
        self.passed[name] = 0

    def lived(self, name):
        """A life went on to its end. It may have had too few checkpoints, so the next one is to die at the first."""
        self.passed[name] += 1
        if self.passed[name] >= TRIES:
            raise SystemExit(f"kafka: {TRIES} lives in a row did not come to the place {name}: is it there?")
        self.chance.shuffle(self.left)

    def check(self):
        missing = [name for name in CRASH_POINTS if not self.deaths[name]]
        if missing:
            raise SystemExit(f"kafka: no process died at {', '.join(missing)}, which shows little")


def with_kills(job, kills, places, chance, longest):
    """Runs to the end with up to so many kills; `places`: named ones still to be visited. Gives the number of kills."""
    killed = 0
    while True:
        place = None
        if killed < kills and places.left and chance.random() < 0.6:
            place, time_there = places.arm()
        lives = job.lives()
        process = job.start(chance.choice([1, 2, 3]), place and f"{place}:{time_there}")
        if killed < kills and not place:
            # While it starts, or some time later, however long its start takes.
            if chance.random() < 0.4:
                time.sleep(chance.uniform(0.01, 0.3))
            else:
                while process.poll() is None and job.lives() == lives:
                    time.sleep(0.02)
                time.sleep(chance.uniform(0, longest))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
        code = process.wait(timeout=300)
        if code not in (0, -signal.SIGKILL):
            raise SystemExit(f"{job.name}: exit code {code}\n{job.log()}")
        if place:
            (places.lived if code == 0 else places.died)(place)
        if code == 0:
            return killed
        killed += 1


def kills(arguments, kafka, bucket, top, chance, expected, took):
    done = runs = restores = 0
    places = Places(chance, 3)
    while done < arguments.kills:
        runs += 1
        job = Job(arguments.bin, kafka, bucket, top, f"run{runs}")
        began = time.time()
        done += with_kills(job, arguments.kills - done, places, chance, max(took * 0.8, 0.5))
        # A machine that was busy during the undisturbed run makes it seem long: kills would come when jobs have ended.
        took = min(took, time.time() - began)
        found = job.rows()
        for sink, rows in expected.items():
            compare(f"kafka, run {runs}: {sink}", found[sink], rows)
        job.nothing_is_left()
        restores += (job.folder / "log.txt").read_text().count("goes on from checkpoint")
    rows = sum(sum(e.values()) for e in expected.values())
    at_places = ", ".join(f"{name} {places.deaths[name]}" for name in CRASH_POINTS)
    print(f"kafka: deaths at named places: {at_places}", flush=True)
    if done >= ENOUGH:
        places.check()
        if restores * 4 < done:
            raise SystemExit(f"kafka: only {restores} of {done} lives after a kill went on from a checkpoint, which shows little")
    said = f"{done} kills in {runs} runs, {restores} lives went on from a checkpoint, {rows} rows each"
    print(f"kafka: {said}, none lost, none twice, no transaction, upload or state file left over")


def newest_checkpoint(job, least):
    """The key of the newest record of a job's log that is a complete checkpoint of at least this number, and the snapshot."""
    deadline = time.time() + 60
    while time.time() < deadline:
        for key in reversed(job.client.list(f"{job.name}/checkpoints/job/log/")):
            try:
                record = json.loads(job.client.get(key))["record"]
            except (OSError, ValueError):
                continue  # Retired meanwhile.
            if record["type"] == "complete" and record["snapshot"]["epoch"] >= least:
                return key, record["snapshot"]
        time.sleep(0.005)
    raise SystemExit(f"{job.name}: no checkpoint\n{job.log()}")


def split_at(kafka, snapshot, topic):
    """For each reader of a topic, the rows that it read before a checkpoint, and those that it reads after it."""
    found, readers = topics.read(kafka.address, topic), collections.defaultdict(lambda: ([], []))
    for position in snapshot["positions"]:
        name, partition = position["split"].rsplit("-", 1)
        if name == topic:
            rows = [json.loads(value) for _, value in found[int(partition)]]
            offset = position["position"]["offset"]
            before, after = readers[position["operator"]]
            before += rows[:offset]
            after += rows[offset:]
    return list(readers.values())


def joined_after(bids, auctions):
    """What a join gives after a checkpoint: a pair when the second of the two is read."""
    (earlier, later), (known, new) = bids, ({a["id"]: a["category"] for a in rows} for rows in auctions)
    pairs = [(b, (known | new).get(b["auction"])) for b in later] + [(b, new.get(b["auction"])) for b in earlier]
    return collections.Counter((b["auction"], b["bidder"], b["price"], c) for b, c in pairs if c is not None)


def check_clone(kafka, snapshot, readers, found, expected):
    """The clone's rows are those behind the checkpoint. Which of a topic's readers feeds what is not told: one must fit."""
    auctions = split_at(kafka, snapshot, "auctions")
    joins = [[joined_after(bids, rows) for rows in auctions] for bids in readers]
    # Several fit if no auction was read before the checkpoint: then every pair comes behind it.
    fitting = [n for n, of_bids in enumerate(joins) if found["joined"] in of_bids] or [0]
    compare("clone: joined", found["joined"], next((r for r in joins[fitting[0]] if r == found["joined"]), joins[fitting[0]][0]))
    few = [collections.Counter(row for row in rows.elements() if row[3] < 3) for n in fitting for rows in joins[n]]
    compare("clone: files", found["files"], next((r for r in few if r == found["files"]), few[0]))
    copies = [collections.Counter((b["auction"], b["price"]) for b in later if b["bidder"] < 300) for _, later in readers]
    compare("clone: copied", found["copied"], next((rows for rows in copies if rows == found["copied"]), copies[0]))
    # A window that a later bid falls into counts the earlier ones too: its state came along.
    wrong = found["counts"] - expected["counts"]
    if wrong:
        raise SystemExit(f"clone: counts has wrong rows: {list(wrong)[:3]}")
    closed = {(row[0], row[1]) for row in found["counts"]}
    missing = min(
        ([b for b in later if not any((b["auction"], end) in closed for end in ends_of(b["at"]))] for _, later in readers), key=len
    )
    if missing:
        raise SystemExit(f"clone: counts lacks windows of {len(missing)} bids, as {missing[0]}")


def stopped_in_the_middle(job, bids):
    """Starts a job and lets it stand still at a checkpoint with some bids read and some not: its process, and the checkpoint's
    key, snapshot and readers of bids. `None` if it was too fast."""
    running, epoch = job.start(1), 0
    while running.poll() is None:
        newest_checkpoint(job, epoch + 1)
        running.send_signal(signal.SIGSTOP)
        key, snapshot = newest_checkpoint(job, epoch + 1)
        epoch, readers = snapshot["epoch"], split_at(job.kafka, snapshot, "bids")
        if not any(later for _, later in readers):
            break
        if any(len(later) < bids * 0.95 for _, later in readers):
            return running, key, snapshot, readers
        running.send_signal(signal.SIGCONT)
    running.kill()
    running.wait()
    return None


def run_beside(running, first, second, checkpoint, chance):
    """Begins the second job from a checkpoint of the first, then lets both run to their ends, the second with kills."""
    process = second.start(2, "after-restore:1", more=("--from-savepoint", checkpoint))
    if process.wait(timeout=120) != -signal.SIGKILL:
        raise SystemExit(f"clone: it did not begin\n{second.log()}")
    running.send_signal(signal.SIGCONT)
    kills_left = 2
    while True:
        process = second.start(chance.choice([1, 2, 3]))
        if kills_left:
            time.sleep(chance.uniform(0.2, 0.8))
            process.kill()
        code = process.wait(timeout=300)
        if code == 0:
            break
        if code != -signal.SIGKILL:
            raise SystemExit(f"clone: exit code {code}\n{second.log()}")
        kills_left -= 1
    if running.wait(timeout=300) != 0:
        raise SystemExit(f"clone: the first job failed\n{first.log()}")


def clone(arguments, kafka, bucket, top, chance, expected):
    """A second job from a checkpoint of the first, beside it, and killed twice."""
    for turn in range(5):
        # In small portions, so that there is a checkpoint in the middle.
        small = ", 'properties.max.partition.fetch.bytes' = '8192'"
        first = Job(arguments.bin, kafka, bucket, top, f"first{turn}", small)
        if found := stopped_in_the_middle(first, arguments.bids):
            break
    else:
        raise SystemExit(f"clone: the first job never had a checkpoint in the middle\n{first.log()}")
    running, key, snapshot, readers = found
    second = Job(arguments.bin, kafka, bucket, top, "second")
    try:
        run_beside(running, first, second, f"s3://{s3.BUCKET}/{key}", chance)
    finally:
        # It may stand still yet.
        running.kill()
    whole, rest = first.rows(), second.rows()
    for sink, rows in expected.items():
        compare(f"clone: {sink} of the first job", whole[sink], rows)
    check_clone(kafka, snapshot, readers, rest, expected)
    for job in (first, second):
        job.nothing_is_left()
    print(f"clone: begun from checkpoint {snapshot['epoch']}, {sum(map(len, rest.values()))} rows; both jobs' rows are exact", flush=True)


def counter(port, name):
    """The value of a job's metric."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name}{{")), 0)


def restarted(job, endpoint, denied, limit=120):
    """Runs a job to its end. From its first checkpoint on it is denied its place until an attempt has failed; gives the restarts."""
    (port,) = free_ports(1)
    more = ["--set", "restart-strategy.type=fixed-delay", "--set", "restart-strategy.fixed-delay.attempts=100"]
    more += ["--set", "restart-strategy.fixed-delay.delay=500ms", "--metrics", f"127.0.0.1:{port}"]
    process = job.start(1, more=more, endpoint=endpoint)
    try:
        # Of the first one it may not know yet: then it would be refused before its first checkpoint.
        newest_checkpoint(job, 2)
        if process.poll() is not None:
            return None
        denied(True)
        deadline, restarts = time.time() + limit, 0
        while restarts < 2:
            if process.poll() is not None:
                return None if process.returncode == 0 else job.fail("the restart strategy did not hold")
            if time.time() > deadline:
                job.fail(f"{restarts} restarts in {limit} s")
            time.sleep(0.2)
            with contextlib.suppress(OSError):
                restarts = counter(port, "streamfleet_job_restarts_total")
        denied(False)
        if process.wait(timeout=300) != 0:
            job.fail(f"exit code {process.returncode}")
    finally:
        denied(False)
        process.kill()
        process.wait()
    log = (job.folder / "log.txt").read_text()
    if "goes on from checkpoint" not in log or log.count("restarting in") < restarts:
        job.fail(f"{restarts} restarts were counted, but not told")
    return log.count("restarting in")


def restarts(arguments, kafka, bucket, top, plain, expected):
    """Jobs that go on by themselves, in one process, when their checkpoint place denies everything for a while."""
    told = {}
    with fault_proxy.in_front_of(bucket.endpoint) as proxy:

        def denied(yes):
            proxy.denying = yes

        for guarantee in ("exactly-once", "at-least-once"):
            for turn in range(5):
                small = ", 'properties.max.partition.fetch.bytes' = '8192'"
                job = Job(arguments.bin, kafka, bucket, top, f"restarts{turn}-{guarantee}", small, guarantee)
                told[guarantee] = restarted(job, proxy.endpoint, denied)
                if told[guarantee]:
                    break
            else:
                job.fail("it was always over before an attempt failed")
            found = job.rows()
            for sink, rows in expected.items():
                if guarantee == "exactly-once" or sink == "files":
                    compare(f"restarts, {guarantee}: {sink}", found[sink], rows)
                elif set(found[sink]) != set(rows) or rows - found[sink]:
                    job.fail(f"{sink}: {sum((rows - found[sink]).values())} rows missing, or others that are wrong")
            # A key's last record is that of its last row, whatever was written again.
            for sink in ("counts", "copied"):
                if job.last[sink] != plain.last[sink]:
                    job.fail(f"{sink}: the last records of keys are not those of their last rows")
            job.nothing_is_left()
    said = ", ".join(f"{guarantee} after {count} restarts" for guarantee, count in told.items())
    print(f"restarts: {said}: rows as they must be, each key's last record is that of its last row", flush=True)


def ends_of(at):
    """The end of the window that a bid falls into, as it is written with and without a fraction."""
    seconds = sum(int(part) * unit for part, unit in zip(at[11:19].split(":"), (3600, 60, 1)))
    end = seconds // 10 * 10 + 10
    text = f"2024-01-01 {end // 3600:02}:{end // 60 % 60:02}:{end % 60:02}"
    return text, f"{text}.000"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--bids", type=int, default=250_000)
    parser.add_argument("--only", choices=["clone", "restarts", "kills"], help="one part of it")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    arguments.bin = str(pathlib.Path(arguments.bin).resolve())
    chance = random.Random(arguments.seed)
    print(f"kafka: seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as top, Kafka() as kafka, s3.running() as bucket:
        top = pathlib.Path(top)
        topics.create(kafka.address, "bids", "auctions")
        for topic, records in generate(chance, arguments.bids):
            topics.fill(kafka.address, topic, records)
        plain = Job(arguments.bin, kafka, bucket, top, "plain")
        began = time.time()
        plain.finish()
        took = time.time() - began
        expected = plain.rows()
        if any(not rows for rows in expected.values()):
            raise SystemExit("the undisturbed run wrote nothing, which shows nothing")
        if arguments.only in (None, "clone"):
            clone(arguments, kafka, bucket, top, chance, expected)
        if arguments.only in (None, "restarts"):
            restarts(arguments, kafka, bucket, top, plain, expected)
        if arguments.only in (None, "kills"):
            kills(arguments, kafka, bucket, top, chance, expected, took)


if __name__ == "__main__":
    main()
