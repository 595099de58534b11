"""What can go wrong with a broker, on a real one: every bad input has a clear error, and an outage loses and doubles nothing."""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))

import registry  # noqa: E402
import tokens  # noqa: E402
import topics  # noqa: E402
from certificates import Authority  # noqa: E402
from common import LIMIT, compare  # noqa: E402
from kafka import Kafka, free_ports  # noqa: E402
from kafka_case import BOUNDED, Case, stop  # noqa: E402
from kafka_security import log_in, tls, token_log_in, token_over_tls  # noqa: E402

# Milliseconds that a job waits for a broker which begins anew: a busy machine takes its time for that.
ACROSS_STARTS = 300_000


def refusals(case, kafka):
    (port,) = free_ports(1)
    source = case("no-source-topic", make=(0, 1), patience=15_000)
    sink = case("no-sink-topic", make=(1, 0), patience=15_000)
    sink.put(0, 10)
    broker = case("no-broker", address=f"127.0.0.1:{port}", patience=15_000)
    # All at once, since they try for long; the last one several times.
    processes = [one.start() for one in (source, sink, broker)]
    source.refused("topic no-source-topic-in", "no-source-topic-in", process=processes[0])
    sink.refused(f"topic no-sink-topic-out is not at {kafka.address}", "make it", process=processes[1])
    again = ("--set", "restart-strategy.type=exponential-delay")
    source.refused("not begun again: it was refused before its first checkpoint", process=source.start(*again))
    one = case("long-transaction", write=", 'properties.transaction.timeout.ms' = '7200000'")
    one.put(0, 10)
    one.refused("the brokers allow no transaction of 7200000 ms", "transaction.max.timeout.ms")
    one = case("short-transaction", write=", 'properties.transaction.timeout.ms' = '5000'")
    one.refused("a transaction may wait", "raise it", process=one.start())
    one = case("large-record", write=", 'properties.max.request.size' = '2000'")
    one.put(0, 10)
    one.put(10, 1, note="y" * 5000)
    one.refused("is larger than may be sent", "'properties.max.request.size'")
    one = case("unknown-property", write=", 'properties.no.such.thing' = '1'")
    one.refused("properties.no.such.thing", code=2)
    broker.refused(f"127.0.0.1:{port}: Connection refused", "check that the brokers run", process=processes[2])


def stops_at_start(case, kafka):
    """Whatever a job waits for before its first row is written: a stop ends it at once, and it can be started again."""
    (port,) = free_ports(1)
    nobody = f"127.0.0.1:{port}"
    with registry.registry() as schemas:
        schemas.unavailable = 1.0
        schema = f", 'avro-confluent.url' = '{schemas.url}'"
        waiting = [
            case("stop-no-fence", address=nobody, make=(0, 0)),
            case("stop-no-source", address=nobody, make=(0, 0), guarantee="at-least-once"),
            case("stop-no-sink", sink_address=nobody, make=(1, 0), guarantee="at-least-once"),
            case("stop-no-schema", guarantee="at-least-once", format="avro-confluent", write=schema),
        ]
        for one in waiting[2:]:
            one.put(0, 10)
        # Also with a checkpoint under way.
        processes = [one.start(interval="1s") for one in waiting]
        deadline = time.time() + 120
        while not all(one.has_begun() for one in waiting) and time.time() < deadline:
            time.sleep(0.1)
        time.sleep(2)
        began = time.time()
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for one, process in zip(waiting, processes):
            try:
                code = process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                code = "none"
            finally:
                process.kill()
            if code != 0 or ": stopped " not in one.log():
                raise SystemExit(f"{one.name}: exit code {code} after {time.time() - began:.0f} s\n{one.log()}")
        took, last = time.time() - began, waiting[-1]
        schemas.unavailable = 0.0
        last.finish()
    if sum(topics.values(kafka.address, last.sink).values()) != 10:
        raise SystemExit(f"{last.name}: not all rows are there\n{last.log()}")
    print(f"kafka faults: {len(waiting)} jobs stopped while they waited at their start, within {took:.1f} s", flush=True)


def left_over(case, kafka):
    """A transaction that a job left which is not started again holds up readers until it is ended by hand."""
    one = case("left-over", read="")
    process = one.start()
    one.put(0, 10)
    one.wait_for(10)
    if stop(process) != 0:
        raise SystemExit(f"left-over: it did not stop\n{one.log()}")
    record = json.loads(max((one.folder / "checkpoints" / "job" / "log").iterdir()).read_text())
    # As a process that stood still would leave them: of the job's last reign, of a later one, and of another job.
    ids = [f"streamfleet-{uid}-{term}-00000000-x-0-0" for uid, term in (
        (record["uid"], record["term"]), (record["uid"], record["term"] + 1), ("0123456789abcdef", 1))]
    producers = [Producer({"bootstrap.servers": kafka.address, "transactional.id": name}) for name in ids]
    for producer in producers:
        producer.init_transactions(60)
        producer.begin_transaction()
        producer.produce(one.sink, value=b'{"id": -1}', partition=0)
        if producer.flush(60):
            raise SystemExit("left-over: records were not taken")

    def collect(*options):
        command = [one.binary, "snapshots", "gc", *options, "--job", "job.sql"]
        done = subprocess.run(command, cwd=one.folder, capture_output=True, text=True, timeout=LIMIT)
        if done.returncode != 0:
            raise SystemExit(f"left-over: {command}: {done.stderr}")
        return done.stdout.splitlines()

    line, kept = f"abort transaction {ids[0]}", "1 at the sinks are kept: the newest start wrote them, and may be running"
    for found, expected in ((collect("--dry-run"), [line, kept, "1 would be removed"]), (collect(), [line, kept, "1 removed"]),
                            (collect(), [kept, "0 removed"])):
        if found != expected:
            raise SystemExit(f"left-over: gc says {found}, expected {expected}")
    # The next start ends what is of its own job and earlier; of a later term it is not yet.
    for producer, is_left in zip(producers, (False, True, True)):
        try:
            producer.commit_transaction(30)
        except KafkaException as error:
            if is_left:
                raise SystemExit(f"left-over: gc ended another's transaction: {error}")
        else:
            if not is_left:
                raise SystemExit("left-over: gc left a transaction of the job open")
    print("kafka faults: left-over: gc found and ended one transaction, and no other", flush=True)


def headers_of(address, topic):
    """Key, value and headers of every record."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "reader", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found = []
    while True:
        message = consumer.poll(30)
        if message is None or message.error():
            if message is None or message.error().code() != KafkaError._PARTITION_EOF:
                raise SystemExit(f"{topic}: {message and message.error()}")
            consumer.close()
            return found
        found.append((message.key(), message.value(), {k: v.decode() for k, v in message.headers() or []}))


def bad_records(case, kafka):
    bad = {b"nonsense": "the record is no JSON", b'{"id": "x"}': "x", b'{"id": 1, "note": {}': "the record is no JSON"}
    one = case("bad-record")
    one.put(0, 5)
    topics.fill(kafka.address, one.source, [(b"k", b"nonsense")])
    one.refused("topic bad-record-in, partition", "offset", "the record is no JSON")
    again = ("--set", "restart-strategy.type=exponential-delay")
    one.refused("not begun again: another run would fail in the same way", process=one.start(*again))
    topics.create(kafka.address, "dead", partitions=1)
    keep = ", 'scan.errors' = 'dead-letter', 'scan.errors.dead-letter.topic' = 'dead'"
    one = case("dead-letters", read=BOUNDED + keep)
    one.put(0, 500)
    # Where each came to lie, the broker says.
    placed, own_headers, time_of_first = {}, {}, 1_600_000_000_000

    def place(error, message):
        if error:
            raise SystemExit(f"{one.source}: {error}")
        kind, at = message.timestamp()
        placed[message.key(), message.value()] = (message.partition(), message.offset(), at)

    producer = Producer({"bootstrap.servers": kafka.address})
    for number, value in enumerate([*bad, *bad]):
        key = None if number == 0 else f"key {number}".encode()
        own = own_headers[key, value] = {"trace": str(number)} if number % 3 else {}
        producer.produce(one.source, value, key=key, headers=own, partition=number % 2, timestamp=time_of_first + number,
                         on_delivery=place)
    producer.flush(30)
    one.put(500, 500)
    one.finish()
    one.exact(0, 1000, "bad records are kept aside")
    found, expected = collections.Counter(), collections.Counter()
    for key, value, headers in headers_of(kafka.address, "dead"):
        reason = headers.pop("streamfleet.reason", "")
        if bad[value] not in reason:
            raise SystemExit(f"dead letters: {value} is there for the reason {reason!r}, not for {bad[value]!r}")
        found[key, value, tuple(sorted(headers.items()))] += 1
    for (key, value), (partition, offset, at) in placed.items():
        headers = {"table": "input", "topic": one.source, "partition": partition, "offset": offset, "timestamp": at}
        headers = own_headers[key, value] | {f"streamfleet.{name}": str(of) for name, of in headers.items()}
        expected[key, value, tuple(sorted(headers.items()))] += 1
    compare("dead letters", found, expected)
    print(f"kafka faults: {sum(found.values())} dead letters with their keys, headers, places and times", flush=True)


def over_topic_limit(case, kafka):
    """The topic takes less than the client would send."""
    one = case("over-topic-limit", make=(1, 0))
    topics.create(kafka.address, one.sink, partitions=2, config={"max.message.bytes": "2000"})
    one.put(0, 10)
    one.put(10, 1, note="y" * 5000)
    one.refused(one.sink, "max.message.bytes")
    again = ("--set", "restart-strategy.type=exponential-delay")
    one.refused(one.sink, "max.message.bytes", "not begun again", process=one.start(*again))


def down_at_start(case, kafka):
    """The broker comes up while jobs wait for it."""
    ones = [case(f"down-at-start-{guarantee}", guarantee=guarantee, patience=ACROSS_STARTS)
            for guarantee in ("exactly-once", "at-least-once")]
    for one in ones:
        one.put(0, 2_000)
    kafka.kill()
    processes = [one.start() for one in ones]
    time.sleep(8)
    for one, process in zip(ones, processes):
        if process.poll() is not None:
            raise SystemExit(f"{one.name}: it did not wait for its broker\n{one.log()}")
    kafka.start()
    for one, process in zip(ones, processes):
        one.finish(process)
        one.exact(0, 2_000, "the broker came up 8 s after the job")


def outages(case, kafka):
    one = case("outages", read="", patience=ACROSS_STARTS)
    process = one.start()
    one.put(0, 5_000)
    one.wait_for(5_000)
    kafka.pause()
    time.sleep(8)
    kafka.resume()
    one.put(5_000, 5_000)
    one.wait_for(10_000)
    kafka.kill()
    time.sleep(5)
    kafka.start()
    one.put(10_000, 5_000)
    one.wait_for(15_000)
    if stop(process) != 0:
        raise SystemExit(f"outages: it did not stop well\n{one.log()}")
    one.exact(0, 15_000, "broker paused, killed and restarted while the job ran")


class Feeder(threading.Thread):
    """Writes rows at a steady pace until it is told to end; outages hold them up, and none is lost or doubled."""

    def __init__(self, address, topic, first):
        super().__init__(daemon=True)
        self.address, self.topic, self.count, self.is_over = address, topic, first, threading.Event()

    def run(self):
        # It says nothing of brokers that are away.
        producer = Producer({"bootstrap.servers": self.address, "enable.idempotence": True, "log_level": 0})
        while not self.is_over.wait(0.05):
            # Less than what the client takes before it is full.
            for _ in range(500 if len(producer) < 50_000 else 0):
                producer.produce(self.topic, json.dumps({"id": self.count, "note": "x"}).encode())
                self.count += 1
            producer.poll(0)
        if producer.flush(LIMIT):
            raise SystemExit(f"{self.topic}: records were not taken")


def outages_under_way(case, kafka):
    """The broker goes away again and again between a transaction's first row and its end."""
    one = case("under-way", read="", patience=ACROSS_STARTS)
    one.put(0, 100_000)
    feeder = Feeder(kafka.address, one.source, 100_000)
    feeder.start()
    process = one.start(interval="50ms")

    def ends(isolation):
        return sum(topics.end_offsets(kafka.address, one.sink, isolation))

    def caught(before):
        """Lets the job stand still with rows committed since the last time, and others in open transactions."""
        deadline = time.time() + 300
        committed = written = before
        while time.time() < deadline and process.poll() is None:
            process.send_signal(signal.SIGSTOP)
            committed, written = ends("read_committed"), ends("read_uncommitted")
            if before + 2_000 < committed < written:
                return committed, written - committed
            process.send_signal(signal.SIGCONT)
            time.sleep(random.uniform(0.05, 0.3))
        raise SystemExit(f"under-way: {committed} committed, {written} written\n{one.log()}")

    def paused():
        kafka.pause()
        process.send_signal(signal.SIGCONT)
        time.sleep(5)
        kafka.resume()

    def restarted():
        kafka.kill()
        process.send_signal(signal.SIGCONT)
        time.sleep(2)
        kafka.start()

    committed, rows = 0, []
    for outage in (paused, restarted, paused, restarted, paused):
        committed, more = caught(committed)
        rows.append(more)
        outage()
    feeder.is_over.set()
    feeder.join()
    deadline = time.time() + LIMIT
    while ends("read_committed") < feeder.count and time.time() < deadline:
        time.sleep(0.2)
    one.wait_for(feeder.count)
    if stop(process) != 0:
        raise SystemExit(f"under-way: it did not stop well\n{one.log()}")
    one.exact(0, feeder.count, f"{len(rows)} outages with {', '.join(map(str, rows))} rows in open transactions")


def partition_added(case, kafka):
    one = case("partition-added", read=", 'scan.topic-partition-discovery.interval' = '1 s'")
    process = one.start()
    one.put(0, 1_000)
    one.wait_for(1_000)
    topics.add_partitions(kafka.address, one.source, 4)
    time.sleep(1)
    one.put(1_000, 4_000)
    one.wait_for(5_000)
    stop(process)
    one.exact(0, 5_000, "partitions added while the job ran")


def topic_made_anew(case, kafka):
    names = ("topic-anew", "topic-anew-longer", "topic-anew-running", "topic-gone", "topic-anew-unseen")
    across, longer, running, gone, unseen = cases = [case(name, read="") for name in names]
    processes = []
    for one in cases:
        processes.append(one.start())
        one.put(0, 1_000)
        one.wait_for(1_000)
    for process in processes[:2]:
        stop(process)
    # It does not see that there was none for a while.
    processes[4].send_signal(signal.SIGSTOP)
    topics.delete(kafka.address, *(one.source for one in cases))
    time.sleep(2)
    # Of the longer one every offset is there again.
    for one, rows in ((across, 10), (longer, 2_000), (running, 10), (unseen, 2_000)):
        topics.create(kafka.address, one.source, partitions=2)
        one.put(5_000, rows)
    processes[4].send_signal(signal.SIGCONT)
    unseen.refused(f"topic {unseen.source}: it was deleted and made anew (its id was ", "--from-nothing", process=processes[4])
    for one in (across, longer):
        one.refused(f"topic {one.source}: it was deleted and made anew (its id was ", "--from-nothing",
                    "'scan.topic.recreated' = 'continue'")
    # By its offset or by its id, whichever comes first.
    running.refused(f"topic {running.source}", "made anew", "--from-nothing", process=processes[2])
    for one in (across, longer, running):
        one.exact(0, 1_000, "nothing of the new topic is written")
    gone.refused(f"topic {gone.source}, partition", "it is gone", "that does not name the topic", process=processes[3])
    gone.refused(f"topic {gone.source}, partition", "it is gone", "that does not name the topic")


def taken_over(case, kafka):
    one = case("taken-over", read="")
    first = one.start()
    one.put(0, 3_000)
    one.wait_for(3_000)
    second = one.start()
    one.put(3_000, 3_000)
    one.refused("error: ", process=first)
    if not any(text in one.log() for text in ("took over", "fenced", "Fenced")):
        raise SystemExit(f"taken-over: the first run does not say why it stopped\n{one.log()}")
    one.wait_for(6_000)
    stop(second)
    one.exact(0, 6_000, "a second run took over")


def fenced_by_a_copy(case, kafka):
    """Who begins a job once more from a copy of its checkpoint place fences its producers: one goes on, the other says why not."""
    one = case("fenced-by-a-copy", read="")
    first = one.start()
    one.put(0, 3_000)
    one.wait_for(3_000)
    log = one.folder / "copied" / "job" / "log"
    first.send_signal(signal.SIGSTOP)
    shutil.copytree(one.folder / "checkpoints", one.folder / "copied")
    first.send_signal(signal.SIGCONT)
    known = {path.name for path in log.iterdir()}
    second = one.start("--checkpoints", "copied")
    # With a checkpoint of its own it reads and writes.
    deadline = time.time() + LIMIT
    while not any('"complete"' in path.read_text() for path in log.glob("[0-9]*") if path.name not in known):
        if time.time() > deadline or second.poll() is not None:
            raise SystemExit(f"fenced-by-a-copy: the second has no checkpoint\n{one.log()}")
        time.sleep(0.05)
    one.put(3_000, 3_000)
    one.refused("error: ", "one begun from a copy of its checkpoint place", process=first)
    one.wait_for(6_000)
    if stop(second) != 0:
        raise SystemExit(f"fenced-by-a-copy: the second does not stop well\n{one.log()}")
    one.exact(0, 6_000, "a copy of the job goes on")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--only", help="steps, separated by commas")
    arguments = parser.parse_args()
    binary = str(pathlib.Path(arguments.bin).resolve())
    os.environ.pop("STREAMFLEET_CRASH_AT", None)
    random.seed(1)
    with contextlib.ExitStack() as ends:
        top = pathlib.Path(ends.enter_context(tempfile.TemporaryDirectory()))
        issuer = ends.enter_context(tokens.tokens())
        authority = Authority(top, "broker")
        kafka = ends.enter_context(Kafka(issuer.key_set(), tokens.AUDIENCE, authority))

        def case(name, **options):
            return Case(binary, kafka, top, name, **options)

        def log_in_by_token(case, kafka):
            token_log_in(case, kafka, issuer)

        def log_in_by_token_over_tls(case, kafka):
            token_over_tls(case, kafka, issuer, top)

        def over_tls(case, kafka):
            tls(case, kafka, authority, top)

        steps = (refusals, stops_at_start, bad_records, log_in, over_tls, log_in_by_token, log_in_by_token_over_tls,
                 partition_added, topic_made_anew, over_topic_limit, taken_over, fenced_by_a_copy, left_over, down_at_start,
                 outages, outages_under_way)
        names = [step.__name__ for step in steps]
        wanted = arguments.only.split(",") if arguments.only else names
        if not set(wanted) <= set(names):
            raise SystemExit(f"--only takes {', '.join(names)}")
        for step in steps:
            if step.__name__ in wanted:
                began = time.time()
                step(case, kafka)
                print(f"kafka faults: {step.__name__}: {time.time() - began:.0f} s", flush=True)
    print("kafka faults: all as they should be")


if __name__ == "__main__":
    main()
