"""Topics of a broker: made, filled and read as another program would."""

import collections
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic


def create(address, *names, partitions=3, config=None):
    """Makes topics."""
    admin = AdminClient({"bootstrap.servers": address})
    topics = [NewTopic(name, num_partitions=partitions, replication_factor=1, config=config or {}) for name in names]
    for future in admin.create_topics(topics).values():
        future.result(240)


def delete(address, *names):
    """Deletes topics."""
    admin = AdminClient({"bootstrap.servers": address})
    for future in admin.delete_topics(list(names)).values():
        future.result(240)


def fill(address, topic, records):
    """Writes (key, value) pairs."""
    producer = Producer({"bootstrap.servers": address, "linger.ms": 20, "enable.idempotence": True})
    for key, value in records:
        while True:
            try:
                producer.produce(topic, value=value, key=key)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(240):
        raise SystemExit(f"{topic}: records were not taken")


def messages(address, topic, isolation="read_committed"):
    """Every record that may be read now, as the client gives it; each partition's in order."""
    consumer = Consumer({
        "bootstrap.servers": address,
        "group.id": "reader",
        "isolation.level": isolation,
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
    })
    metadata = consumer.list_topics(topic, timeout=30).topics[topic]
    if metadata.error:
        raise SystemExit(f"{topic}: {metadata.error}")
    partitions = sorted(metadata.partitions)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    left = set(partitions)
    while left:
        for message in consumer.consume(10_000, timeout=0.1):
            if not message.error():
                yield message
            elif message.error().code() == KafkaError._PARTITION_EOF:
                left.discard(message.partition())
            else:
                raise SystemExit(f"{topic}: {message.error()}")
    consumer.close()


def read(address, topic, isolation="read_committed"):
    """Every record that may be read now: lists of (key, value) by partition, in order."""
    found = collections.defaultdict(list)
    for message in messages(address, topic, isolation):
        found[message.partition()].append((message.key(), message.value()))
    return found


def values(address, topic):
    """Every committed value, as a multiset."""
    return collections.Counter(value for records in read(address, topic).values() for _, value in records)


def end_offsets(address, topic, isolation):
    """Where each partition ends for a reader of this isolation: the two differ while a transaction is open.

    A broker that has just begun may not lead its partitions yet: it is asked again, for half a minute.
    """
    consumer = Consumer({"bootstrap.servers": address, "group.id": "reader", "isolation.level": isolation})
    deadline = time.time() + 30
    try:
        while True:
            try:
                partitions = sorted(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
                return [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[1] for p in partitions]
            except KafkaException:
                if time.time() > deadline:
                    raise
                time.sleep(0.2)
    finally:
        consumer.close()


def settle(address, *names):
    """When their writers have ended: waits, for a minute at most, until no transaction is open.

    A broker says that one is committed before it marks its records so. One that nobody will end changes nothing for readers.
    """
    deadline = time.time() + 60
    while time.time() < deadline:
        if all(end_offsets(address, name, "read_committed") == end_offsets(address, name, "read_uncommitted") for name in names):
            return
        time.sleep(0.2)


def add_partitions(address, topic, count):
    """Gives a topic more partitions."""
    admin = AdminClient({"bootstrap.servers": address})
    for future in admin.create_partitions([NewPartitions(topic, count)]).values():
        future.result(240)
