"""What the options of a table over Kafka do, on a real broker: which topics and records are read, what lies beside a record, which
partition it is written to and how, and what is promised of it.

What a job reads is compared with what another client wrote and reads itself.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))

import topics  # noqa: E402
from common import compare, json_rows  # noqa: E402
from kafka import Kafka  # noqa: E402

ROWS = 300_000
PATIENCE = 240  # seconds until it is plain that nothing happens any more
EARLIEST = "'scan.startup.mode' = 'earliest-offset'"
BOUNDED = EARLIEST + ", 'scan.bounded.mode' = 'latest-offset'"

# A table of where the records of a topic lie.
PLACES = """`topic` STRING METADATA VIRTUAL, `partition` INT METADATA VIRTUAL, `offset` BIGINT METADATA VIRTUAL"""


class Job:
    """Runs scripts with the broker's address, in a folder of its own. Clients of the broker are those of all cases."""

    def __init__(self, binary, kafka, folder, clients):
        self.binary, self.kafka, self.folder = binary, kafka, folder
        self.admin, self.producer, self.consumer = clients
        self.running = []

    def table(self, name, columns, options):
        """A table over Kafka."""
        return (f"CREATE TABLE {name} ({columns}) WITH ('connector' = 'kafka', "
                f"'properties.bootstrap.servers' = '{self.kafka.address}', {options});\n")

    def places(self, name, options):
        """Tables that show in a folder of this name where the records lie that are read with some options, and the statement."""
        return (self.table(name, f"v STRING, {PLACES}", f"'format' = 'raw', {options}"),
                f"CREATE TABLE {name}_read (`topic` STRING, `partition` INT, `offset` BIGINT) "
                f"WITH ('connector' = 'filesystem', 'path' = '{name}', 'format' = 'json');\n",
                f"INSERT INTO {name}_read SELECT `topic`, `partition`, `offset` FROM {name};\n")

    def start(self, name, script, *more, parallelism=2):
        (self.folder / f"{name}.sql").write_text(script)
        command = [self.binary, "run", f"{name}.sql", "--quiet", "--parallelism", str(parallelism)]
        command += ["--set", "execution.checkpointing.interval=100ms", *more]
        with open(self.folder / f"{name}.log", "a") as log:
            process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        self.running.append(process)
        return process

    def log(self, name):
        return (self.folder / f"{name}.log").read_text()[-3000:]

    def failed(self, name, what):
        raise SystemExit(f"kafka options: {name}: {what}\n{self.log(name)}")

    def end(self, name, process, expected=0):
        """Waits for its end."""
        try:
            code = process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.failed(name, f"it does not end within {PATIENCE} s")
        if code != expected:
            self.failed(name, f"exit code {code}, expected {expected}")

    def run(self, name, script, **more):
        self.end(name, self.start(name, script, **more))

    def refused(self, name, script, *texts):
        self.end(name, self.start(name, script), expected=1)
        if missing := [text for text in texts if text not in self.log(name)]:
            self.failed(name, f"it does not say {missing}")

    def stop(self, name, process):
        """Lets a job stop that would never end."""
        process.terminate()
        self.end(name, process)

    def until(self, name, process, what, is_so):
        deadline = time.time() + PATIENCE
        while not is_so():
            if process.poll() is not None:
                self.failed(name, f"it ended with exit code {process.returncode} before {what}")
            if time.time() > deadline:
                self.failed(name, f"not {what} after {PATIENCE} s")
            time.sleep(0.02)


def together(parts):
    """One script of many tables and statements."""
    tables, statements = [], []
    for *made, statement in parts:
        tables += made
        statements.append(statement)
    return "".join(tables) + "EXECUTE STATEMENT SET BEGIN\n" + "".join(statements) + "END;\n"


def put(job, topic, records, producer=None):
    """Writes records: each is what `produce` takes."""
    producer = producer or job.producer
    for record in records:
        while True:
            try:
                producer.produce(topic, **record)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(240):
        raise SystemExit(f"{topic}: records were not taken")


def fill_evenly(job, topic, partitions, count, first=0):
    """Writes so many numbers to each partition."""
    put(job, topic, ({"partition": p, "value": str(first + n)} for n in range(count) for p in range(partitions)))


def expected_places(topic, **ranges):
    """Where records lie: ranges of offsets, by `p` and the partition."""
    return collections.Counter((topic, int(p[1:]), offset) for p, offsets in ranges.items() for offset in offsets)


def written(job, topic):
    """How many records a topic has. It may be made just now, or its broker stood still: it is asked again, for half a minute."""
    deadline = time.time() + 30
    while True:
        try:
            partitions = job.consumer.list_topics(topic, timeout=30).topics[topic].partitions
            return sum(job.consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[1] for p in partitions)
        except KafkaException:
            if time.time() > deadline:
                raise
            time.sleep(0.1)


def topic_list(job):
    """Topics that are named are read, and no others."""
    names = ["list.a", "list.b", "list.ab"]
    topics.create(job.kafka.address, *names, "list.a-list.b", partitions=2)
    for number, name in enumerate(names):
        fill_evenly(job, name, 2, 10 + number)
    job.run("list", together([job.places("both", f"'topic' = 'list.a;list.b', {BOUNDED}")]))
    expected = expected_places("list.a", p0=range(10), p1=range(10)) + expected_places("list.b", p0=range(11), p1=range(11))
    compare("topic list", json_rows(job.folder / "both"), expected)
    return f"{sum(expected.values())} records of two topics"


def topic_pattern(job):
    """Topics whose whole name matches are read, also one that is made while the job runs, and no others."""
    topics.create(job.kafka.address, "some-1", "some-22", "some-x", "some-1x", "awesome-1", "matched", partitions=2)
    for name in ("some-1", "some-22", "some-x", "some-1x", "awesome-1"):
        fill_evenly(job, name, 2, 10)
    pattern = f"""'topic-pattern' = 'some-[0-9]+', 'format' = 'raw', {EARLIEST},
      'scan.topic-partition-discovery.interval' = '200 ms'"""
    process = job.start("pattern", job.table("found", f"v STRING, {PLACES}", pattern)
                        + job.table("matched", "`topic` STRING, `partition` INT, `offset` BIGINT",
                                    "'topic' = 'matched', 'format' = 'json'")
                        + "INSERT INTO matched SELECT `topic`, `partition`, `offset` FROM found;")
    job.until("pattern", process, "all read", lambda: written(job, "matched") >= 40)
    topics.create(job.kafka.address, "some-3", "some-3x", partitions=2)
    for name in ("some-3", "some-3x"):
        fill_evenly(job, name, 2, 10)
    began = time.time()
    job.until("pattern", process, "the new topic read", lambda: written(job, "matched") >= 60)
    took = time.time() - began
    fill_evenly(job, "some-3x", 2, 5)
    fill_evenly(job, "some-22", 2, 5)
    job.until("pattern", process, "more read", lambda: written(job, "matched") >= 70)
    job.stop("pattern", process)
    expected = (expected_places("some-1", p0=range(10), p1=range(10)) + expected_places("some-3", p0=range(10), p1=range(10))
                + expected_places("some-22", p0=range(15), p1=range(15)))
    found = collections.Counter()
    for value, count in topics.values(job.kafka.address, "matched").items():
        found[tuple(json.loads(value).values())] += count
    compare("topic pattern", found, expected)
    return f"{sum(expected.values())} records of three topics, one of them new and read after {took:.1f} s"


def beside(message):
    """What is known of a record, with headers as the client gives them."""
    kind, at = message.timestamp()
    return message.key(), message.value(), message.headers() or [], kind, at


COPIED = "k BYTES, v BYTES, headers MAP<STRING, BYTES> METADATA, `at` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp'"
TOLD = f"""{PLACES}, `at` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL, kind STRING METADATA FROM 'timestamp-type' VIRTUAL,
  epoch INT METADATA FROM 'leader-epoch' VIRTUAL, headers MAP<STRING, BYTES> METADATA VIRTUAL"""
AS_IS = "'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY'"
# 1 is a record's own time, and 2 is the broker's.
KINDS = {1: "CreateTime", 2: "LogAppendTime"}

TELL = """CREATE TABLE {name}_read (`topic` STRING, `partition` INT, `offset` BIGINT, millis BIGINT, kind STRING, epoch INT, a STRING,
  headers INT) WITH ('connector' = 'filesystem', 'path' = '{name}', 'format' = 'json');
"""


def tell(job, name, topic):
    """Tables and a statement that show what is beside the records of a topic."""
    millis = "CAST(TIMESTAMPDIFF(SECOND, TIMESTAMP '1970-01-01 00:00:00', CAST(`at` AS TIMESTAMP(3))) AS BIGINT) * 1000"
    millis += " + EXTRACT(MILLISECOND FROM `at`)"
    return (job.table(name, f"v BYTES, {TOLD}", f"'topic' = '{topic}', 'format' = 'raw', {BOUNDED}"), TELL.format(name=name),
            f"INSERT INTO {name}_read SELECT `topic`, `partition`, `offset`, {millis}, kind, epoch, "
            f"CAST(headers['a'] AS STRING), CARDINALITY(headers) FROM {name};\n")


def as_told(job, topic):
    """What a job must tell of a topic, as another client reads it."""
    expected = collections.Counter()
    for message in topics.messages(job.kafka.address, topic):
        kind, at = message.timestamp()
        headers = message.headers() or []
        # Of headers with the same name the first is found; all are there.
        of_a = [value for name, value in headers if name == "a"]
        expected[topic, message.partition(), message.offset(), at, KINDS[kind], message.leader_epoch(),
                 of_a[0].decode() if of_a and of_a[0] is not None else None, len(headers)] += 1
    return expected


def metadata(job):
    """What is beside a record is read as another client wrote it, and written so that it reads the same."""
    address, now = job.kafka.address, int(time.time() * 1000)
    topics.create(address, "beside", "beside-copied", partitions=2)
    topics.create(address, "beside-appended", partitions=2, config={"message.timestamp.type": "LogAppendTime"})
    headers = [
        [], [("a", b"1")], [("a", b"1"), ("b", b"2"), ("a", b"3"), ("a", b"4")], [("b", b""), ("a", None)], [("", b"nameless")],
        [("gr\u00f6\u00dfe", bytes(range(256)))], [(f"h{n}", b"x" * n) for n in range(50)],
    ]
    times = [1, 999, 1_000, 86_400_000, 1_700_000_000_123, now]
    records = [{"partition": n % 2, "key": [b"", b"k\xff", b"a key"][n % 3], "value": [b"v\0", b"", b"\xff", b"a\nb"][n % 4],
                "headers": random.choice(headers), "timestamp": random.choice(times)} for n in range(2_000)]
    put(job, "beside", records)
    put(job, "beside-appended", records)
    copy = (job.table("original", COPIED, f"'topic' = 'beside', {AS_IS}, {BOUNDED}"),
            job.table("copied", COPIED, f"'topic' = 'beside-copied', {AS_IS}"),
            "INSERT INTO copied SELECT * FROM original;\n")
    sources = {"created": "beside", "appended": "beside-appended"}
    job.run("metadata", together([copy] + [tell(job, name, topic) for name, topic in sources.items()]))
    whole, copied = (collections.Counter(map(repr, map(beside, topics.messages(address, topic)))) for topic in ("beside", "beside-copied"))
    compare("metadata: copied records", copied, whole)
    for name, topic in sources.items():
        compare(f"metadata: {topic}", json_rows(job.folder / name), as_told(job, topic))
    return f"{len(records)} records copied with headers and times, and told with times of their own and the broker's"


def changed_times(job):
    """A topic whose records have times of their own has the broker's from some record on: each is told as what it is."""
    topics.create(job.kafka.address, "times", partitions=2)
    records = [{"partition": n % 2, "value": b"v", "timestamp": 1_700_000_000_000 + n} for n in range(200)]
    put(job, "times", records)
    resource = ConfigResource(ResourceType.TOPIC, "times", incremental_configs=[
        ConfigEntry("message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET)])
    for future in job.admin.incremental_alter_configs([resource]).values():
        future.result(30)
    # Each partition knows of it some time later than the broker answers.
    deadline = time.time() + 60
    while {m.partition() for m in topics.messages(job.kafka.address, "times") if m.timestamp()[0] == 2} != {0, 1}:
        if time.time() > deadline:
            raise SystemExit("changed times: for a minute records had no times of the broker's")
        put(job, "times", records[:2])
    put(job, "times", records)
    job.run("times", together([tell(job, "told", "times")]))
    expected = as_told(job, "times")
    kinds = collections.Counter(row[4] for row in expected.elements())
    if len(kinds) != 2 or min(kinds.values()) < 200:
        raise SystemExit(f"changed times: the broker has {kinds}")
    compare("changed times", json_rows(job.folder / "told"), expected)
    return f"{len(records)} records with times of their own, and at least as many with the broker's behind them"


def early_times(job):
    """Times behind the Unix epoch are written as they are, and those before it are read so."""
    topics.create(job.kafka.address, "early", "early-copied", "written-early", partitions=2)
    records = [{"partition": n % 2, "value": b"v", "timestamp": -n} for n in range(2, 100)]
    put(job, "early", records)
    job.run("read", together([tell(job, "told", "early")]))
    compare("early times: read", json_rows(job.folder / "told"), as_told(job, "early"))
    at = "TIMESTAMP_LTZ(3) METADATA FROM 'timestamp'"
    write = (f"CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'fields.n.kind' = 'sequence', "
             f"'fields.n.start' = '1', 'fields.n.end' = '9');\n",
             job.table("early_written", f"v STRING, `at` {at}", "'topic' = 'written-early', 'format' = 'raw'"),
             "INSERT INTO early_written SELECT CAST(n AS STRING), TO_TIMESTAMP_LTZ(n, 3) FROM numbers;\n")
    job.run("write", together([write]))
    found = collections.Counter((m.value(), m.timestamp()[1]) for m in topics.messages(job.kafka.address, "written-early"))
    compare("early times: written", found, collections.Counter((str(n).encode(), n) for n in range(1, 10)))
    return f"{len(records)} records before 1970 read, and 9 written from then on"


def bounds(job):
    """Where reading begins and ends."""
    address, begin = job.kafka.address, 1_700_000_000_000
    topics.create(address, "bounds", "bounds-later", partitions=3)
    # A partition's records are 10 ms apart; the last partition is empty.
    put(job, "bounds", ({"partition": p, "value": str(n), "timestamp": begin + 10 * n + 500 * p}
                        for n in range(100) for p in range(2)))
    committing = Consumer({"bootstrap.servers": address, "group.id": "before"})
    at = {0: 30, 1: 0, 2: 0}
    committing.commit(offsets=[TopicPartition("bounds", p, offset) for p, offset in at.items()], asynchronous=False)
    committing.close()
    group = "'properties.group.id' = 'before'"
    offsets = "partition:0,offset:99;partition:1,offset:0"

    def startup(mode, more=""):
        return f"'topic' = 'bounds', 'scan.bounded.mode' = 'latest-offset', 'scan.startup.mode' = '{mode}'{more and ', ' + more}"

    def bounded(mode, more="", since=EARLIEST):
        return f"'topic' = 'bounds', {since}, 'scan.bounded.mode' = '{mode}'{more and ', ' + more}"

    every, none = range(100), range(0)
    modes = {
        "from_earliest": (startup("earliest-offset"), every, every),
        "from_latest": (startup("latest-offset"), none, none),
        "from_group": (startup("group-offsets", group), range(30, 100), every),
        "from_default": (f"'topic' = 'bounds', {group}, 'scan.bounded.mode' = 'latest-offset'", range(30, 100), every),
        "from_unknown_group": (startup("group-offsets", "'properties.group.id' = 'no', 'properties.auto.offset.reset' = 'earliest'"),
                               every, every),
        # Between two records, and at one.
        "from_time": (startup("timestamp", f"'scan.startup.timestamp-millis' = '{begin + 505}'"), range(51, 100), range(1, 100)),
        "from_time_of_one": (startup("timestamp", f"'scan.startup.timestamp-millis' = '{begin + 510}'"),
                             range(51, 100), range(1, 100)),
        "from_future": (startup("timestamp", f"'scan.startup.timestamp-millis' = '{begin * 2}'"), none, none),
        # The second is not named.
        "from_offsets": (startup("specific-offsets", "'scan.startup.specific-offsets' = 'partition:0,offset:42'"),
                         range(42, 100), every),
        "to_latest": (bounded("latest-offset"), every, every),
        "to_group": (bounded("group-offsets", group), range(30), none),
        "to_time": (bounded("timestamp", f"'scan.bounded.timestamp-millis' = '{begin + 505}'"), range(51), range(1)),
        "to_time_of_one": (bounded("timestamp", f"'scan.bounded.timestamp-millis' = '{begin + 510}'"), range(51), range(1)),
        "to_future": (bounded("timestamp", f"'scan.bounded.timestamp-millis' = '{begin * 2}'"), every, every),
        "to_past": (bounded("timestamp", "'scan.bounded.timestamp-millis' = '1'"), none, none),
        "to_offsets": (bounded("specific-offsets", f"'scan.bounded.specific-offsets' = '{offsets}'"), range(99), none),
        "between": (bounded("timestamp", f"'scan.bounded.timestamp-millis' = '{begin + 700}'",
                            since=f"'scan.startup.mode' = 'timestamp', 'scan.startup.timestamp-millis' = '{begin + 600}'"),
                    range(60, 70), range(10, 20)),
    }
    job.run("modes", together(job.places(name, options) for name, (options, *_) in modes.items()))
    for name, (_, first, second) in modes.items():
        expected, found = expected_places("bounds", p0=first, p1=second), json_rows(job.folder / name)
        if found != expected:
            # `compare` takes no empty result: here it is one among many.
            compare(f"bounds: {name}", found, expected or collections.Counter(["nothing at all"]))

    for what, options in (("startup", startup("group-offsets", "'properties.group.id' = 'none'")),
                          ("bounded", bounded("group-offsets", "'properties.group.id' = 'none'"))):
        job.refused(f"no-{what}", together([job.places(f"no_{what}", options)]),
                    "the consumer group none has committed no offset of bounds-", f"'scan.{what}.mode'")

    # What is written while jobs run: one begins at the end and ends at offsets to come, the other ends where the end was.
    fill_evenly(job, "bounds-later", 3, 20)
    ahead = ";".join(f"partition:{p},offset:{100 + p}" for p in range(3))
    later = (f"'topic' = 'bounds-later', 'scan.startup.mode' = 'latest-offset', 'scan.bounded.mode' = 'specific-offsets', "
             f"'scan.bounded.specific-offsets' = '{ahead}'")
    process = job.start("later", together([job.places("later", later), job.places("soon", f"'topic' = 'bounds-later', {BOUNDED}")]))
    job.until("later", process, "a complete checkpoint", lambda: covered(job, "later") > 0)
    deadline, count = time.time() + PATIENCE, 20
    while process.poll() is None and time.time() < deadline:
        time.sleep(0.05)
        fill_evenly(job, "bounds-later", 3, 2)
        count += 2
    job.end("later", process)
    for name, is_so in (("later", lambda p, first, last: first >= 20 and last == 99 + p),
                        ("soon", lambda _, first, last: first == 0 and 19 <= last < count - 2)):
        found = json_rows(job.folder / name)
        for p in range(3):
            read = sorted(offset for _, partition, offset in found.elements() if partition == p)
            if not read or read != list(range(read[0], read[-1] + 1)) or not is_so(p, read[0], read[-1]):
                raise SystemExit(f"bounds: {name}: of partition {p}, which has {count} records, these were read: {read}")
    return f"{len(modes)} ways to begin and end, groups without offsets, and ends while more is written"


def partitioners(job):
    """By the key's hash; a subtask to one partition; and to one after the other."""
    address, count = job.kafka.address, 20_000
    sinks = {"by_hash": "", "by_default": ", 'sink.partitioner' = 'default'", "fixed": ", 'sink.partitioner' = 'fixed'",
             "in_turn": ", 'sink.partitioner' = 'round-robin'"}
    topics.create(address, "parted", partitions=4)
    topics.create(address, "java", *sinks, partitions=6)
    put(job, "parted", ({"partition": n % 4, "value": json.dumps({"id": n, "of": n % 4})} for n in range(count)))
    # As Kafka's Java client distributes keys.
    producer = Producer({"bootstrap.servers": address, "partitioner": "murmur2_random"})
    for n in range(count):
        producer.produce("java", key=str(n), value=b"")
    producer.flush(60)
    options = "'key.format' = 'raw', 'key.fields' = 'id', 'value.format' = 'json'"
    parts = [(job.table(name, "id STRING, `of` INT", f"'topic' = '{name}', {options}{more}"),
              f"INSERT INTO {name} SELECT id, `of` FROM parted;\n") for name, more in sinks.items()]
    parts.insert(0, (job.table("parted", "id STRING, `of` INT", f"'topic' = 'parted', 'format' = 'json', {BOUNDED}"), ""))
    job.run("partitioners", together(parts))
    found = {name: topics.read(address, name) for name in (*sinks, "java")}
    by_key = {name: collections.Counter((key, partition) for partition, records in of.items() for key, _ in records)
              for name, of in found.items()}
    for name in ("by_hash", "by_default"):
        compare(f"partitioners: {name}", by_key[name], by_key["java"])
    whole = collections.Counter(str(n).encode() for n in range(count))
    for name in ("fixed", "in_turn"):
        compare(f"partitioners: {name}", collections.Counter(key for key, _ in by_key[name].elements()), whole)
    origins = {p: {json.loads(value)["of"] for _, value in records} for p, records in found["fixed"].items()}
    # Each subtask reads two of four partitions.
    if sorted(origins) != [0, 1] or sorted(map(len, origins.values())) != [2, 2] or set.union(*origins.values()) != set(range(4)):
        raise SystemExit(f"partitioners: fixed: records of these partitions were written to these ones: {origins}")
    sizes = [len(found["in_turn"][p]) for p in range(6)]
    if max(sizes) - min(sizes) > 2:
        raise SystemExit(f"partitioners: in turn: {sizes} records")
    return f"{count} records, distributed by Kafka's hash, by subtask and in turn"


def batches(job, topic):
    """The codec and size of a topic's batches, as they lie on the broker's disk."""
    for path in (job.kafka.folder / "logs").glob(f"{topic}-*/*.log"):
        data, at = path.read_bytes(), 0
        # Behind the last one a file may have zeros.
        while at + 61 <= len(data) and (length := int.from_bytes(data[at + 8:at + 12], "big")):
            yield int.from_bytes(data[at + 21:at + 23], "big") & 7, length
            at += 12 + length


def compression(job):
    """Records are really compressed, and read by another client and by a job."""
    address, codecs = job.kafka.address, {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
    topics.create(address, "loose", *(f"packed-{codec}" for codec in codecs), partitions=2)
    topics.create(address, "unpacked", partitions=2)
    rows = [json.dumps({"id": n, "note": f"{n % 10} times the same words, " * 10}) for n in range(20_000)]
    put(job, "loose", ({"value": row} for row in rows))
    columns = "id BIGINT, note STRING"
    parts = [(job.table("loose", columns, f"'topic' = 'loose', 'format' = 'json', {BOUNDED}"), "")]
    parts += [(job.table(f"packed_{codec}", columns,
                         f"'topic' = 'packed-{codec}', 'format' = 'json', 'properties.compression.type' = '{codec}'"),
               f"INSERT INTO packed_{codec} SELECT * FROM loose;\n") for codec in codecs]
    job.run("pack", together(parts))
    names = ";".join(f"packed-{codec}" for codec in codecs)
    job.run("unpack", job.table("packed", columns, f"'topic' = '{names}', 'format' = 'json', {BOUNDED}")
            + job.table("unpacked", columns, "'topic' = 'unpacked', 'format' = 'json'") + "INSERT INTO unpacked SELECT * FROM packed;")
    as_rows = lambda values: collections.Counter({tuple(json.loads(v).values()): n for v, n in values.items()})
    expected, sizes = as_rows(collections.Counter(rows)), {}
    for codec, number in codecs.items():
        compare(f"compression: {codec}", as_rows(topics.values(address, f"packed-{codec}")), expected)
        found = list(batches(job, f"packed-{codec}"))
        sizes[codec] = sum(size for _, size in found)
        # A batch of one record may be smaller as it is.
        if any(of != number and size > 1_000 for of, size in found) or not any(of == number for of, _ in found):
            numbers_found = collections.Counter(of for of, _ in found)
            raise SystemExit(f"compression: {codec} has number {number}, and these are on disk: {numbers_found}")
        if codec != "none" and sizes[codec] * 3 > sizes["none"]:
            raise SystemExit(f"compression: {codec}: {sizes[codec]} bytes, and {sizes['none']} without")
    every = collections.Counter({row: len(codecs) for row in expected})
    compare("compression: read by a job", as_rows(topics.values(address, "unpacked")), every)
    return ", ".join(f"{codec} {size / 1e6:.2f} MB" for codec, size in sizes.items())


def no_guarantee(job):
    """A job that comes to its end has written every row, whatever it guarantees."""
    topics.create(job.kafka.address, "numbers", "unsure", partitions=3)
    put(job, "numbers", ({"value": str(n)} for n in range(ROWS)))
    script = (job.table("numbers", "v STRING", f"'topic' = 'numbers', 'format' = 'raw', {BOUNDED}")
              + job.table("copy", "v STRING", "'topic' = 'unsure', 'format' = 'raw', 'sink.delivery-guarantee' = 'none'")
              + "INSERT INTO copy SELECT * FROM numbers;")
    job.run("none", script)
    found = topics.values(job.kafka.address, "unsure")
    compare("no guarantee", found, collections.Counter(str(n).encode() for n in range(ROWS)))
    return f"{ROWS} rows were written at the end of a job without a guarantee"


def covered(job, name):
    """How many records the newest checkpoint of a job covers."""
    for path in sorted((job.folder / "checkpoints" / name / "log").glob("[0-9]*"), reverse=True):
        try:
            record = json.loads(path.read_text())["record"]
        except (OSError, ValueError):
            continue  # Retired meanwhile.
        if record["type"] == "complete":
            return sum(position["position"]["offset"] for position in record["snapshot"]["positions"])
    return 0


def settled(job, topic):
    """How many records a topic has when nobody writes it any more; what a dead writer had sent may come yet."""
    before, now = None, written(job, topic)
    while before != now:
        time.sleep(0.3)
        before, now = now, written(job, topic)
    return now


class Feed:
    """Writes numbers to a topic, a few every moment, until it is told to stop: no job that reads it comes to an end."""

    def __init__(self, job, topic):
        self.count, self.stopped = 0, threading.Event()
        self.thread = threading.Thread(target=self.write, args=(job, topic), daemon=True)

    def write(self, job, topic):
        while not self.stopped.wait(0.02):
            put(job, topic, ({"value": str(self.count + n)} for n in range(500)))
            self.count += 500

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()


def at_least_once(job):
    """Killed twice and its broker paused, a job writes every row, and those again that its checkpoint does not cover, no others."""
    topics.create(job.kafka.address, "fed", "sure", partitions=3)
    script = (job.table("fed", "v STRING", f"'topic' = 'fed', 'format' = 'raw', {EARLIEST}")
              + job.table("copy", "v STRING", "'topic' = 'sure', 'format' = 'raw', 'sink.delivery-guarantee' = 'at-least-once'")
              + "INSERT INTO copy SELECT * FROM fed;")
    before = begin = 0
    with Feed(job, "fed") as feed:
        for _ in range(2):
            process, more = job.start("sure", script), begin + 20_000
            job.until("sure", process, f"{more} rows covered by a checkpoint", lambda: covered(job, "sure") > more)
            process.kill()
            process.wait()
            before, begin = settled(job, "sure"), covered(job, "sure")
        process = job.start("sure", script)
        job.until("sure", process, "more written", lambda: written(job, "sure") > before)
        job.kafka.pause()
        time.sleep(3)
        job.kafka.resume()
        more = written(job, "sure")
        job.until("sure", process, "more written after the pause", lambda: written(job, "sure") > more)
    rows = feed.count
    job.until("sure", process, "every row covered by a checkpoint", lambda: covered(job, "sure") == rows)
    job.stop("sure", process)
    found, expected = topics.values(job.kafka.address, "sure"), collections.Counter(str(n).encode() for n in range(rows))
    compare("at least once", collections.Counter(found.keys()), expected)
    # The last life began from a checkpoint, and the pause made it write nothing twice.
    if sum(found.values()) != before + rows - begin:
        raise SystemExit(f"at least once: {sum(found.values())} rows, and {before} before it went on from {begin} of {rows}")
    return f"{rows} rows, two kills, the broker paused for 3 s: none lost, {sum(found.values()) - rows} written again"


CASES = [topic_list, topic_pattern, metadata, changed_times, early_times, bounds, partitioners, compression, no_guarantee,
         at_least_once]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--only", nargs="+", choices=[case.__name__ for case in CASES])
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.randrange(1 << 32)
    random.seed(seed)
    print(f"kafka options: seed {seed}", flush=True)
    binary = str(pathlib.Path(arguments.bin).resolve())
    os.environ.pop("STREAMFLEET_CRASH_AT", None)
    start = time.time()
    with tempfile.TemporaryDirectory() as top, Kafka() as kafka:
        # It says nothing of the broker's end.
        broker = {"bootstrap.servers": kafka.address, "log_level": 0}
        clients = (AdminClient(broker), Producer(broker | {"linger.ms": 5, "enable.idempotence": True}),
                   Consumer(broker | {"group.id": "watching"}))
        for case in CASES:
            if arguments.only and case.__name__ not in arguments.only:
                continue
            folder = pathlib.Path(top) / case.__name__
            folder.mkdir()
            began, job = time.time(), Job(binary, kafka, folder, clients)
            try:
                said = case(job)
            finally:
                for process in job.running:
                    process.kill()
            print(f"  {case.__name__}: {said}; {time.time() - began:.1f} s", flush=True)
    print(f"kafka options: all passed in {time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
