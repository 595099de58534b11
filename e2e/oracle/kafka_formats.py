"""Avro under a schema registry and Protocol Buffers, on a real broker, written and read by other implementations.

Orders are written by fastavro under two versions of a schema. A job reads them as one table and writes them under schemas of
its own, key and value, exactly once, while it is killed and the registry answers 503 half the time or not at all. What fastavro
reads then must be every order. Records that no schema says how to read are kept aside. What cannot be got over is told.
The same is done with changes of rows as Debezium writes them, and with messages of Google's implementation, without a registry.
"""

import argparse
import collections
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time

import fastavro
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))

import topics  # noqa: E402
from common import compare, killed  # noqa: E402
from kafka import Kafka  # noqa: E402
from registry import registry  # noqa: E402

ORDERS = 60_000
CHANGED = 20_000

LINE = {"type": "record", "name": "Line", "fields": [
    {"name": "sku", "type": "string"},
    {"name": "count", "type": "int"},
]}

FIRST = {"type": "record", "name": "Order", "namespace": "shop", "fields": [
    {"name": "id", "type": "int"},
    {"name": "status", "type": {"type": "enum", "name": "Status", "symbols": ["OPEN", "PAID", "GONE"]}},
    {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "lines", "type": {"type": "array", "items": LINE}},
]}

# Another order of fields, a wider number, a field that the table lacks, and one that the first version lacks.
SECOND = {"type": "record", "name": "Order", "namespace": "shop", "fields": [
    {"name": "comment", "type": ["null", "string"], "default": None},
    {"name": "lines", "type": {"type": "array", "items": LINE}},
    {"name": "source", "type": {"type": "map", "values": ["string", "long"]}, "default": {}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}},
    {"name": "status", "type": {"type": "enum", "name": "Status", "symbols": ["OPEN", "PAID", "GONE"]}},
    {"name": "id", "type": "long"},
]}

COLUMNS = """id BIGINT, status STRING, amount DECIMAL(10, 2), `at` TIMESTAMP(3),
  lines ARRAY<ROW<sku STRING, `count` INT>>, comment STRING"""

JOB = """
CREATE TABLE orders ({columns})
  WITH ('connector' = 'kafka', 'topic' = 'orders', 'format' = 'avro-confluent', 'avro-confluent.url' = '{url}',
        'avro-confluent.basic-auth.user-info' = 'job:secret', 'scan.startup.mode' = 'earliest-offset',
        'scan.bounded.mode' = 'latest-offset', 'scan.errors' = 'dead-letter', 'scan.errors.dead-letter.topic' = 'dead',
        'properties.bootstrap.servers' = '{address}');
CREATE TABLE copied ({columns})
  WITH ('connector' = 'kafka', 'topic' = 'copied', 'key.format' = 'avro-confluent', 'key.fields' = 'id',
        'key.avro-confluent.url' = '{url}', 'key.avro-confluent.basic-auth.user-info' = 'job:secret',
        'value.format' = 'avro-confluent', 'value.avro-confluent.url' = '{url}',
        'value.avro-confluent.basic-auth.user-info' = 'job:secret',
        'sink.delivery-guarantee' = 'exactly-once', 'properties.bootstrap.servers' = '{address}');
INSERT INTO copied SELECT * FROM orders;
"""

REFUSED = """
CREATE TABLE orders (id BIGINT, status STRING)
  WITH ('connector' = 'kafka', 'topic' = 'orders', 'format' = 'avro-confluent', 'avro-confluent.url' = '{url}',
        'avro-confluent.basic-auth.user-info' = '{user}', 'avro-confluent.retry-timeout' = '2 s',
        'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', 'scan.errors' = 'skip',
        'properties.bootstrap.servers' = '{address}');
CREATE TABLE copied (id BIGINT NOT NULL, extra {extra} NOT NULL)
  WITH ('connector' = 'kafka', 'topic' = 'copied', 'format' = 'avro-confluent', 'avro-confluent.url' = '{url}',
        'avro-confluent.basic-auth.user-info' = '{user}', 'avro-confluent.retry-timeout' = '2 s',
        'avro-confluent.subject' = '{subject}', 'properties.bootstrap.servers' = '{address}');
INSERT INTO copied SELECT id, {value} FROM orders;
"""


def encoded(number, schema, row):
    out = io.BytesIO()
    out.write(b"\0" + number.to_bytes(4, "big"))
    fastavro.schemaless_writer(out, schema, row)
    return out.getvalue()


def decoded(served, message):
    number = int.from_bytes(message[1:5], "big")
    if message[0] != 0 or not 1 <= number <= len(served.schemas):
        raise SystemExit(f"no message of the registry's form: {message[:20]}")
    return fastavro.schemaless_reader(io.BytesIO(message[5:]), fastavro.parse_schema(json.loads(served.schemas[number - 1])))


def orders():
    """Orders as Python's rows, whose times have whole milliseconds."""
    import datetime
    import decimal

    start = datetime.datetime(2024, 2, 28, tzinfo=datetime.timezone.utc)
    for key in range(ORDERS):
        lines = [{"sku": f"s{random.randrange(100)}", "count": random.randrange(-5, 1000)} for _ in range(random.randrange(4))]
        yield {
            "id": key,
            "status": random.choice(["OPEN", "PAID", "GONE"]),
            "amount": decimal.Decimal(random.randrange(-99_999_999, 99_999_999)).scaleb(-2),
            "at": start + datetime.timedelta(milliseconds=random.randrange(10**9)),
            "lines": lines,
            "comment": random.choice([None, "", "schön"]),
            "source": {"a": "b", "c": 7},
        }


def row_of(order):
    lines = tuple((line["sku"], line["count"]) for line in order["lines"])
    return order["id"], order["status"], str(order["amount"]), order["at"].timestamp(), lines, order["comment"]


def trouble(served, until):
    """Lets the registry be down, and answer half the time."""
    while not until.is_set():
        served.refusing = random.random() < 0.3
        served.unavailable = 0.5
        until.wait(random.uniform(0.1, 0.5))
    served.refusing, served.unavailable = False, 0.0


def refusals(binary, folder, served, address):
    """What cannot be got over, each with its error."""
    def tried(name, expected, url=served.url, user="job:secret", extra="BIGINT", value="id", subject="fresh"):
        (folder / "refused.sql").write_text(
            REFUSED.format(url=url, user=user, extra=extra, value=value, subject=subject, address=address))
        began = time.time()
        done = subprocess.run([binary, "run", "refused.sql", "--quiet"], cwd=folder, capture_output=True, text=True, timeout=120)
        if done.returncode == 0 or expected not in done.stderr or "secret" in done.stderr:
            raise SystemExit(f"{name}: exit code {done.returncode}, expected `{expected}`\n{done.stderr}")
        print(f"  {name}: told after {time.time() - began:.1f} s", flush=True)

    tried("registry down", "no answer for", url="http://127.0.0.1:1")
    tried("wrong password", "the credentials are refused (401", user="job:secret-of-another")
    served.add("taken-value", {"type": "record", "name": "r", "fields": [{"name": "id", "type": "long"}]})
    tried("incompatible schema", "it is incompatible with what is registered", extra="STRING", value="status", subject="taken-value")


def avro(binary, folder, kafka):
    """Orders of two schemas through a job, and back."""
    with registry("job:secret") as served:
        topics.create(kafka.address, "orders", "copied", "dead", partitions=3)
        versions = [(served.add("orders-value", schema), fastavro.parse_schema(schema)) for schema in (FIRST, SECOND)]
        expected, records = collections.Counter(), []
        for order in orders():
            number, schema = versions[random.random() < 0.5 + order["id"] / ORDERS / 2]
            if number == versions[0][0]:
                order["comment"] = None
            expected[row_of(order)] += 1
            records.append((str(order["id"]).encode(), encoded(number, schema, order)))
        broken = [b"{\"id\": 1}", b"", b"\0\0\0\0\1", b"\0\0\1\0\0abc", encoded(*versions[1], order) + b"x"]
        for message in broken:
            records.insert(random.randrange(len(records)), (b"broken", message))
        topics.fill(kafka.address, "orders", records)
        (folder / "job.sql").write_text(JOB.format(columns=COLUMNS, url=served.url, address=kafka.address))
        is_over = threading.Event()
        troubling = threading.Thread(target=trouble, args=(served, is_over))
        troubling.start()
        try:
            kills = killed(binary, folder, "job.sql", kills=6)
        finally:
            is_over.set()
            troubling.join()
        found = collections.Counter()
        topics.settle(kafka.address, "copied")
        for messages in topics.read(kafka.address, "copied").values():
            for key, value in messages:
                order = decoded(served, value)
                if decoded(served, key) != {"id": order["id"]}:
                    raise SystemExit(f"the key of {order} is {decoded(served, key)}")
                found[row_of(order)] += 1
        compare("registry: copied orders", found, expected)
        dead = set(topics.values(kafka.address, "dead"))
        if dead != set(broken):
            raise SystemExit(f"dead letters: {dead}, expected {broken}")
        subjects = {name: len(versions) for name, versions in served.subjects.items()}
        if subjects != {"orders-value": 2, "copied-value": 1, "copied-key": 1}:
            raise SystemExit(f"subjects: {subjects}")
        asked = len(served.asked)
        refusals(binary, folder, served, kafka.address)
    print(f"  avro-confluent: {ORDERS} orders of two schemas, {kills} kills, {asked} questions to the registry: exact", flush=True)


# As Debezium registers it: what is around the row has fields that the table lacks, and a row's type is named once.
ENVELOPE = {"type": "record", "name": "Envelope", "namespace": "shop.orders", "fields": [
    {"name": "before", "type": ["null", {"type": "record", "name": "Value", "fields": [
        {"name": "status", "type": ["null", "string"], "default": None},
        {"name": "id", "type": "int"},
    ]}], "default": None},
    {"name": "after", "type": ["null", "Value"], "default": None},
    {"name": "source", "type": {"type": "record", "name": "Source", "fields": [{"name": "table", "type": "string"}]}},
    {"name": "op", "type": "string"},
    {"name": "ts_ms", "type": ["null", "long"], "default": None},
]}

# The epoch of the leader of a new topic of one broker is 0.
CHANGES = """
CREATE TABLE changed (id BIGINT, status STRING, epoch INT METADATA FROM 'leader-epoch' VIRTUAL, PRIMARY KEY (id) NOT ENFORCED)
  WITH ('topic' = 'changed', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', {options});
CREATE TABLE rechanged (id BIGINT, status STRING, epoch INT, PRIMARY KEY (id) NOT ENFORCED)
  WITH ('topic' = 'rechanged', 'sink.delivery-guarantee' = 'exactly-once', {options});
INSERT INTO rechanged SELECT * FROM changed;
"""


def by_row(changes):
    """The changes of each row, in order."""
    found = collections.defaultdict(list)
    for change in changes:
        found[(change["before"] or change["after"])["id"]].append(change)
    return found


def changes(binary, folder, kafka):
    """Changes of rows as Debezium writes them through a job, which writes an update as a deletion and an insertion."""
    with registry("job:secret") as served:
        topics.create(kafka.address, "changed", "rechanged", partitions=1)
        number, schema = served.add("changed-value", ENVELOPE), fastavro.parse_schema(ENVELOPE)
        rows, expected, records = {}, [], []
        for _ in range(CHANGED):
            before = rows.pop(random.choice(list(rows)), None) if rows and random.random() < 0.6 else None
            after = None
            if before is None or random.random() < 0.6:
                key = before["id"] if before else random.randrange(1 << 30)
                after = {"id": key, "status": random.choice([None, "OPEN", "schön"])}
                rows[key] = after
            operation = "u" if before and after else "d" if before else random.choice("cr")
            change = {"before": before, "after": after, "op": operation, "source": {"table": "t"}, "ts_ms": None}
            records.append((None, encoded(number, schema, change)))
            if operation == "d":
                records.append((None, None))
            expected += [{"before": {**before, "epoch": 0}, "after": None, "op": "d"}] if before else []
            expected += [{"before": None, "after": {**after, "epoch": 0}, "op": "c"}] if after else []
        topics.fill(kafka.address, "changed", records)
        options = f"""'connector' = 'kafka', 'properties.bootstrap.servers' = '{kafka.address}',
          'format' = 'debezium-avro-confluent', 'debezium-avro-confluent.schema-registry.url' = '{served.url}',
          'debezium-avro-confluent.properties.basic.auth.user.info' = 'job:secret'"""
        (folder / "changes.sql").write_text(CHANGES.format(options=options))
        kills = killed(binary, folder, "changes.sql", kills=2)
        (messages,) = topics.read(kafka.address, "rechanged").values()
        found = [decoded(served, value) for _, value in messages]
        if by_row(found) != by_row(expected):
            raise SystemExit(f"debezium-avro-confluent: {len(found)} changes, expected {len(expected)}: {found[:3]}, {expected[:3]}")
    print(f"  debezium-avro-confluent: {CHANGED} changes, {kills} kills: exact", flush=True)


def messages():
    """The message class of an order, and the file of its descriptors as protoc writes it."""
    file = descriptor_pb2.FileDescriptorProto(name="order.proto", package="shop", syntax="proto3")
    order = file.message_type.add(name="Order")
    line = order.nested_type.add(name="Line")
    kinds = descriptor_pb2.FieldDescriptorProto

    def field(message, name, number, kind, type_name=None, repeated=False, optional=False):
        label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
        added = message.field.add(name=name, number=number, type=kind, type_name=type_name, label=label)
        if optional:
            added.proto3_optional = True
            added.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name="_" + name)

    field(line, "sku", 1, kinds.TYPE_STRING)
    field(line, "count", 2, kinds.TYPE_SINT32)
    status = order.enum_type.add(name="Status")
    for number, name in enumerate(["OPEN", "PAID", "GONE"]):
        status.value.add(name=name, number=number)
    entry = order.nested_type.add(name="SourceEntry")
    entry.options.map_entry = True
    field(entry, "key", 1, kinds.TYPE_STRING)
    field(entry, "value", 2, kinds.TYPE_INT64)
    field(order, "id", 1, kinds.TYPE_INT64)
    field(order, "status", 2, kinds.TYPE_ENUM, ".shop.Order.Status")
    field(order, "amount", 3, kinds.TYPE_DOUBLE)
    field(order, "lines", 4, kinds.TYPE_MESSAGE, ".shop.Order.Line", repeated=True)
    field(order, "comment", 5, kinds.TYPE_STRING, optional=True)
    field(order, "source", 6, kinds.TYPE_MESSAGE, ".shop.Order.SourceEntry", repeated=True)
    field(order, "sizes", 7, kinds.TYPE_UINT32, repeated=True)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    described = descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Order")), described


MESSAGES = """
CREATE TABLE read_orders ({columns}) WITH ('topic' = 'messages', 'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = 'latest-offset', 'protobuf.ignore-parse-errors' = 'true', {options});
CREATE TABLE written_orders ({columns}) WITH ('topic' = 'written', 'sink.delivery-guarantee' = 'exactly-once', {options});
INSERT INTO written_orders SELECT * FROM read_orders;
"""

MESSAGE_COLUMNS = """id BIGINT, status STRING, amount DOUBLE, lines ARRAY<ROW<sku STRING, `count` INT>>, comment STRING,
  source MAP<STRING, BIGINT>, sizes ARRAY<BIGINT>"""


def protobuf(binary, folder, kafka):
    """Messages through a job, and back."""
    message, described = messages()
    (folder / "order.desc").write_bytes(described)
    topics.create(kafka.address, "messages", "written", partitions=3)
    expected, records = collections.Counter(), []
    for order in orders():
        made = message(id=order["id"], status=order["status"], amount=float(order["amount"]), comment=order["comment"],
                       lines=order["lines"], source={"a": order["id"], "b": -1}, sizes=range(order["id"] % 5))
        expected[made.SerializeToString(deterministic=True)] += 1
        records.append((None, made.SerializeToString()))
    for broken in (b"\xff", b"{\"id\": 1}"):
        records.insert(random.randrange(len(records)), (None, broken))
    topics.fill(kafka.address, "messages", records)
    options = f"""'connector' = 'kafka', 'format' = 'protobuf', 'properties.bootstrap.servers' = '{kafka.address}',
  'protobuf.descriptor-file' = 'order.desc', 'protobuf.message-class-name' = 'shop.OrderOuterClass$Order'"""
    (folder / "messages.sql").write_text(MESSAGES.format(columns=MESSAGE_COLUMNS, options=options))
    kills = killed(binary, folder, "messages.sql", kills=3)
    found = collections.Counter()
    topics.settle(kafka.address, "written")
    for value, count in topics.values(kafka.address, "written").items():
        found[message.FromString(value).SerializeToString(deterministic=True)] += count
    compare("protobuf: messages", found, expected)
    print(f"  protobuf: {ORDERS} messages, {kills} kills: exact", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.randrange(1 << 32)
    random.seed(seed)
    print(f"kafka formats: seed {seed}", flush=True)
    binary = str(pathlib.Path(arguments.bin).resolve())
    os.environ.pop("STREAMFLEET_CRASH_AT", None)
    with tempfile.TemporaryDirectory() as top, Kafka() as kafka:
        for check in (avro, changes, protobuf):
            folder = pathlib.Path(top) / check.__name__
            folder.mkdir()
            check(binary, folder, kafka)
    print("kafka formats: exact")


if __name__ == "__main__":
    main()
