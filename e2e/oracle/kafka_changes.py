"""Changelogs on a real broker: orders that move between customers, joined and kept in topics by key.

Debezium records of two tables are joined into compacted topics while the job is killed and goes on at other parallelisms.
What a reader keeps of every key must be what a plain model of the two tables says. A second job reads one of these topics
again as a table, and counts it.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))

import topics  # noqa: E402
from common import compare, json_rows, killed, run  # noqa: E402
from kafka import Kafka  # noqa: E402

JOIN = """
CREATE TABLE orders (id BIGINT, customer BIGINT, amount BIGINT, PRIMARY KEY (id) NOT ENFORCED)
  WITH ('connector' = 'kafka', 'topic' = 'orders', 'format' = 'debezium-json', {read});
CREATE TABLE customers (id BIGINT, name STRING, PRIMARY KEY (id) NOT ENFORCED)
  WITH ('connector' = 'kafka', 'topic' = 'customers', 'format' = 'debezium-json', {read});
CREATE TABLE named (id BIGINT, name STRING, amount BIGINT, PRIMARY KEY (id) NOT ENFORCED)
  WITH ('connector' = 'upsert-kafka', 'topic' = 'named', {write});
CREATE TABLE large (name STRING, amount BIGINT, PRIMARY KEY (name) NOT ENFORCED)
  WITH ('connector' = 'upsert-kafka', 'topic' = 'large', {write});
EXECUTE STATEMENT SET BEGIN
INSERT INTO named SELECT o.id, c.name, o.amount FROM orders AS o JOIN customers AS c ON o.customer = c.id;
INSERT INTO large SELECT c.name, SUM(o.amount) FROM orders AS o JOIN customers AS c ON o.customer = c.id
  GROUP BY c.name HAVING SUM(o.amount) > {limit};
END;
"""

COUNT = """
CREATE TABLE named (id BIGINT, name STRING, amount BIGINT, PRIMARY KEY (id) NOT ENFORCED)
  WITH ('connector' = 'upsert-kafka', 'topic' = 'named', 'scan.bounded.mode' = 'latest-offset',
        'properties.isolation.level' = 'read_committed', {write});
CREATE TABLE counted (name STRING, orders BIGINT, amount BIGINT)
  WITH ('connector' = 'filesystem', 'path' = 'counted', 'format' = 'json');
INSERT INTO counted SELECT name, COUNT(*), SUM(amount) FROM named GROUP BY name;
"""

ORDERS, CUSTOMERS = 20_000, 60


class Table:
    """Rows by id, and the Debezium records of what becomes of them."""

    def __init__(self):
        self.rows = {}

    def change(self, key, row):
        before = self.rows.get(key)
        if row is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = row
        op = "c" if before is None else "d" if row is None else "u"
        return str(key).encode(), json.dumps({"before": before, "after": row, "op": op}).encode()


def histories():
    orders, customers = Table(), Table()
    order_records, customer_records = [], []
    for step in range(ORDERS * 4):
        key = random.randrange(ORDERS)
        if key in orders.rows and random.random() < 0.1:
            order_records.append(orders.change(key, None))
        else:
            row = {"id": key, "customer": random.randrange(CUSTOMERS + 5), "amount": random.randrange(1, 100)}
            order_records.append(orders.change(key, row))
        if step % 100 == 0:
            key = random.randrange(CUSTOMERS)
            gone = key in customers.rows and random.random() < 0.2
            customer_records.append(customers.change(key, None if gone else {"id": key, "name": f"c{key} v{step // 4000}"}))
    return orders.rows, order_records, customers.rows, customer_records


def compacted(address, topic):
    """The last value of every key, without those that were deleted."""
    last = {}
    topics.settle(address, topic)
    for records in topics.read(address, topic).values():
        last.update(records)
    return collections.Counter(tuple(json.loads(value).values()) for value in last.values() if value is not None)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.randrange(1 << 32)
    random.seed(seed)
    print(f"kafka changes: seed {seed}", flush=True)
    binary = str(pathlib.Path(arguments.bin).resolve())
    os.environ.pop("STREAMFLEET_CRASH_AT", None)
    orders, order_records, customers, customer_records = histories()
    named = collections.Counter(
        (key, customers[row["customer"]]["name"], row["amount"]) for key, row in orders.items() if row["customer"] in customers
    )
    sums, counts = collections.Counter(), collections.Counter()
    for _, name, amount in named:
        sums[name] += amount
        counts[name] += 1
    limit = sorted(sums.values())[len(sums) // 2]
    with tempfile.TemporaryDirectory() as top, Kafka() as kafka:
        address = kafka.address
        topics.create(address, "orders", "customers", partitions=4)
        topics.create(address, "named", "large", partitions=3, config={"cleanup.policy": "compact"})
        topics.fill(address, "customers", customer_records)
        topics.fill(address, "orders", order_records)
        folder = pathlib.Path(top)
        servers = f"'properties.bootstrap.servers' = '{address}'"
        read = f"{servers}, 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'"
        write = f"{servers}, 'key.format' = 'json', 'value.format' = 'json'"
        exactly = f"{write}, 'sink.delivery-guarantee' = 'exactly-once'"
        (folder / "join.sql").write_text(JOIN.format(read=read, write=exactly, limit=limit))
        (folder / "count.sql").write_text(COUNT.format(write=write))
        kills = killed(binary, folder, "join.sql", kills=12)
        compare("changes: orders by customer", compacted(address, "named"), named)
        large = collections.Counter((name, amount) for name, amount in sums.items() if amount > limit)
        compare("changes: large sums", compacted(address, "large"), large)
        run(binary, "count.sql", folder, "--mode", "batch", "--parallelism", "2")
        expected = collections.Counter((name, counts[name], sums[name]) for name in sums)
        compare("changes: counted again", json_rows(folder / "counted"), expected)
    print(f"kafka changes: {len(named)} orders of {len(order_records)} changes, {len(large)} sums, {kills} kills: exact")


if __name__ == "__main__":
    main()
