"""What can go wrong with a broker, on a real one: every bad input has a clear error, and an outage loses and doubles nothing."""

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

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))

import registry  # noqa: E402
import tokens  # noqa: E402
import topics  # noqa: E402
from certificates import Authority  # noqa: E402
from common import compare  # noqa: E402
from kafka import Kafka, free_ports  # noqa: E402

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
        rows = ((None, json.dumps({"id": i, "note": note}).encode()) for i in range(first, first + count))
        topics.fill(self.kafka.address, self.source, rows)

    def start(self, *options, interval="200ms", crash_at=None):
        command = [self.binary, "run", "job.sql", "--quiet", "--parallelism", "2", *options]
        command += ["--set", f"execution.checkpointing.interval={interval}"]
        self.errors = open(self.folder / "log.txt", "a+")
        environment = os.environ | ({"STREAMFLEET_CRASH_AT": crash_at} if crash_at else {})
        return subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=self.errors, env=environment)

    def log(self):
        return (self.folder / "log.txt").read_text()

    def finish(self, process=None, limit=120):
        code = (process or self.start()).wait(timeout=limit)
        if code != 0:
            raise SystemExit(f"{self.name}: exit code {code}\n{self.log()}")

    def refused(self, *texts, code=1, process=None):
        """It must fail, and say all this."""
        found = (process or self.start()).wait(timeout=120)
        said = self.log()
        if found != code or any(text not in said for text in texts):
            raise SystemExit(f"{self.name}: exit code {found}, expected {code} and {texts}\n{said}")
        print(f"kafka faults: {self.name}: refused as it should be", flush=True)

    def written(self):
        return collections.Counter(json.loads(v)["id"] for v in topics.values(self.kafka.address, self.sink).elements())

    def exact(self, first, count, what):
        compare(f"{self.name}: {what}", self.written(), collections.Counter(range(first, first + count)))
        print(f"kafka faults: {self.name}: {what}: {count} rows, none lost, none twice", flush=True)

    def wait_for(self, count, limit=60):
        """Until so many rows are committed."""
        deadline = time.time() + limit
        while sum(self.written().values()) < count:
            if time.time() > deadline:
                raise SystemExit(f"{self.name}: {sum(self.written().values())} of {count} rows after {limit} s\n{self.log()}")
            time.sleep(0.3)


def stop(process):
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=60)


def refusals(case, kafka):
    one = case("no-source-topic", make=(0, 1), patience=2000)
    one.refused("topic no-source-topic-in", "no-source-topic-in")
    again = ("--set", "restart-strategy.type=exponential-delay")
    one.refused("not begun again: it was refused before its first checkpoint", process=one.start(*again))
    one = case("no-sink-topic", make=(1, 0), patience=2000)
    one.put(0, 10)
    one.refused(f"topic no-sink-topic-out is not at {kafka.address}", "make it")
    (port,) = free_ports(1)
    one = case("no-broker", address=f"127.0.0.1:{port}", patience=2000)
    one.refused(f"127.0.0.1:{port}: Connection refused", "check that the brokers run")
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
        time.sleep(4)
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


def bad_records(case, kafka):
    bad = [b"nonsense", b'{"id": "x"}', b'{"id": 1, "note": {}'[:-1]]
    one = case("bad-record")
    one.put(0, 5)
    topics.fill(kafka.address, one.source, ((b"k", value) for value in bad[:1]))
    one.refused("topic bad-record-in, partition", "offset", "the record is no JSON")
    again = ("--set", "restart-strategy.type=exponential-delay")
    one.refused("not begun again: another run would fail in the same way", process=one.start(*again))
    topics.create(kafka.address, "dead", partitions=1)
    keep = ", 'scan.errors' = 'dead-letter', 'scan.errors.dead-letter.topic' = 'dead'"
    one = case("dead-letters", read=BOUNDED + keep)
    one.put(0, 500)
    topics.fill(kafka.address, one.source, ((b"k", value) for value in bad))
    one.put(500, 500)
    one.finish()
    one.exact(0, 1000, "bad records are kept aside")
    letters = collections.Counter(topics.values(kafka.address, "dead"))
    compare("dead letters", letters, collections.Counter(bad))


def outages(case, kafka):
    one = case("outages", read="")
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
    one.wait_for(15_000, limit=90)
    if stop(process) != 0:
        raise SystemExit(f"outages: it did not stop well\n{one.log()}")
    one.exact(0, 15_000, "broker paused, killed and restarted while the job ran")


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
    one = case("topic-anew", read="")
    process = one.start()
    one.put(0, 1_000)
    one.wait_for(1_000)
    stop(process)
    topics.delete(kafka.address, one.source)
    time.sleep(2)
    topics.create(kafka.address, one.source, partitions=2)
    one.put(0, 10)
    one.refused("there is no such offset any more, or not yet", "--from-nothing")


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


def log_in(case, kafka):
    def secure(password, mechanism="SCRAM-SHA-512"):
        jaas = f'org.apache.kafka.common.security.scram.ScramLoginModule required username="writer" password="{password}";'
        return (
            f", 'properties.security.protocol' = 'SASL_PLAINTEXT', 'properties.sasl.mechanism' = '{mechanism}', "
            f"'properties.sasl.jaas.config' = '{jaas}'"
        )

    for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
        options = secure("writer-secret", mechanism)
        name = mechanism.lower()
        one = case(name, read=BOUNDED + options, write=options, address=kafka.sasl_address)
        one.put(0, 2_000)
        one.finish()
        one.exact(0, 2_000, "log-in, also of the client that ends transactions")
    options = secure("wrong")
    one = case("wrong-password", read=BOUNDED + options, write=options, address=kafka.sasl_address, patience=5000)
    one.put(0, 10)
    one.refused("properties.sasl")
    if "writer-secret" in one.log() or "wrong\"" in one.log():
        raise SystemExit("a password is in the log")


def by_tokens(place, secret=tokens.SECRET, more=""):
    jaas = (
        "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required "
        f'clientId="{tokens.CLIENT}" clientSecret="{secret}" scope="{tokens.SCOPE}" extension_team="tests"{more};'
    )
    return (
        ", 'properties.security.protocol' = 'SASL_PLAINTEXT', 'properties.sasl.mechanism' = 'OAUTHBEARER', "
        "'properties.sasl.login.callback.handler.class' = "
        "'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler', "
        f"'properties.sasl.oauthbearer.token.endpoint.url' = '{place}', 'properties.sasl.jaas.config' = '{jaas}'"
    )


def token_log_in(case, kafka, issuer):
    place = f"{issuer.url}/token"
    cases = []

    def secure(name, options, read=BOUNDED, **more):
        cases.append(case(name, read=read + options, write=options, address=kafka.sasl_address, **more))
        return cases[-1]

    one = secure("token", by_tokens(place))
    one.put(0, 2_000)
    one.finish()
    one.exact(0, 2_000, "log-in by a token")
    if issuer.given != 1:
        raise SystemExit(f"token: one token is enough for all clients of a process, {issuer.given} were got")

    # Lives of seconds: every client logs in again and again, also those of the next life, which finish what the last one left.
    issuer.life, issuer.given = 5, 0
    one = secure("short-tokens", by_tokens(place), read="")
    places = ["before-committed:2", "after-complete:2", "between-commits:2", "after-complete:5"]
    for number, crash_at in enumerate(places):
        process = one.start(crash_at=crash_at)
        one.put(number * 1_000, 1_000)
        if process.wait(timeout=60) != -signal.SIGKILL:
            raise SystemExit(f"short-tokens: it did not die\n{one.log()}")
    process, first = one.start(), issuer.given
    for second in range(14):
        one.put(4_000 + second * 100, 100)
        time.sleep(1)
    one.wait_for(5_400)
    if issuer.given < first + 3:
        raise SystemExit(f"short-tokens: {issuer.given - first} tokens in 14 s, of 5 s each")
    # Longer than a token lives: clients that are cut off meanwhile log in again with the next one.
    issuer.refusing = True
    time.sleep(9)
    issuer.refusing = False
    one.put(5_400, 1_000)
    one.wait_for(6_400)
    if stop(process) != 0:
        raise SystemExit(f"short-tokens: it did not stop well\n{one.log()}")
    one.exact(0, 6_400, f"{len(places)} deaths, {issuer.given} tokens of 5 s, none for 9 s")

    issuer.life = 3600
    path = one.folder / "token"
    path.write_text(issuer.token())
    topics.create(kafka.address, "dead-by-token", partitions=1)
    keep = ", 'scan.errors' = 'dead-letter', 'scan.errors.dead-letter.topic' = 'dead-by-token'"
    one = secure("token-in-file", by_tokens(path.as_uri()), read=BOUNDED + keep)
    one.put(0, 500)
    topics.fill(kafka.address, one.source, [(b"k", b"nonsense")])
    one.finish()
    one.exact(0, 500, "a token out of a file, for dead letters too")
    compare("dead letters", collections.Counter(topics.values(kafka.address, "dead-by-token")), collections.Counter([b"nonsense"]))

    one = secure("wrong-client-secret", by_tokens(place, secret="hush"))
    one.refused(f"no token from {place}", "credentials are refused (401 Unauthorized: invalid_client", "check `clientId`")
    (port,) = free_ports(1)
    nobody = f"http://127.0.0.1:{port}/token"
    one = secure("no-token-endpoint", by_tokens(nobody), patience=3000)
    one.refused(f"no token from {nobody} within", "Connection refused", "check that it is there and answers")
    issuer.unavailable = True
    one = secure("token-endpoint-503", by_tokens(place), patience=3000)
    one.refused(f"no token from {place} within", "503 Service Unavailable: temporarily_unavailable")
    issuer.unavailable = False
    issuer.audience = "others"
    one = secure("foreign-token", by_tokens(place))
    one.put(0, 10)
    one.refused("invalid_token", f"the brokers refuse the token of {place}", "audience")
    issuer.audience, issuer.opaque = tokens.AUDIENCE, True
    for guarantee in ("exactly-once", "at-least-once"):
        one = secure(f"opaque-token-{guarantee}", by_tokens(place), guarantee=guarantee, patience=6000)
        one.put(0, 10)
        one.refused("invalid_token", f"the brokers refuse the token of {place}", "audience")
    issuer.opaque, issuer.life = False, 12
    one = secure("token-turns-foreign", by_tokens(place), read="")
    process = one.start()
    one.put(0, 10)
    one.wait_for(10)
    issuer.audience = "others"
    one.refused("invalid_token", f"the brokers refuse the token of {place}", "audience", process=process)
    issuer.audience, issuer.life = tokens.AUDIENCE, 3600
    for one in cases:
        said = [secret for secret in (tokens.SECRET, "hush", "eyJ") if secret in one.log()]
        if said:
            raise SystemExit(f"{one.name}: secrets are in the log: {said}")


def token_over_tls(case, kafka, issuer, top):
    """The endpoint's certificate is signed by an authority of our own, which the system does not know."""
    own, other = Authority(top, "own"), Authority(top, "other")
    with tokens.tokens(key=issuer.key, tls=own.server()) as encrypted:
        place = f"{encrypted.url}/token"

        def trusting(name, more, patience=60_000):
            options = by_tokens(place, more=more)
            return case(name, read=BOUNDED + options, write=options, address=kafka.sasl_address, patience=patience)

        def in_file(authority):
            return f' ssl.truststore.type="PEM" ssl.truststore.location="{authority.certificate}"'

        in_text = f' ssl.truststore.type="PEM" ssl.truststore.certificates="{own.certificate.read_text()}"'
        for name, more in (("tls-file", in_file(own)), ("tls-text", in_text)):
            one = trusting(name, more)
            one.put(0, 500)
            one.finish()
            one.exact(0, 500, "a token over TLS, from an endpoint whose authority is the table's")
        given = encrypted.given
        for name, more in (("tls-other-authority", in_file(other)), ("tls-unknown-authority", "")):
            one = trusting(name, more, patience=2000)
            one.refused(f"no token from {place} within", "invalid peer certificate: UnknownIssuer")
        one = trusting("tls-no-certificates", f' ssl.truststore.location="{one.folder / "job.sql"}"', patience=2000)
        one.refused(f"no token from {place}", "job.sql: certificates in PEM are needed")
        if encrypted.given != given:
            raise SystemExit("tls: a secret was shown to a server that is not trusted")
        # Another name: the certificate is for the address.
        place = place.replace("127.0.0.1", "localhost")
        one = trusting("tls-other-name", in_file(own), patience=2000)
        one.refused(f"no token from {place} within", "certificate not valid for name")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--only")
    arguments = parser.parse_args()
    binary = str(pathlib.Path(arguments.bin).resolve())
    os.environ.pop("STREAMFLEET_CRASH_AT", None)
    random.seed(1)
    with contextlib.ExitStack() as ends:
        top = ends.enter_context(tempfile.TemporaryDirectory())
        issuer = ends.enter_context(tokens.tokens())
        kafka = ends.enter_context(Kafka(issuer.key_set(), tokens.AUDIENCE))

        def case(name, **options):
            return Case(binary, kafka, pathlib.Path(top), name, **options)

        def log_in_by_token(case, kafka):
            token_log_in(case, kafka, issuer)

        def log_in_by_token_over_tls(case, kafka):
            token_over_tls(case, kafka, issuer, pathlib.Path(top))

        steps = (refusals, stops_at_start, bad_records, log_in, log_in_by_token, log_in_by_token_over_tls, partition_added,
                 topic_made_anew, taken_over, outages)
        for step in steps:
            if arguments.only in (None, step.__name__):
                step(case, kafka)
    print("kafka faults: all as they should be")


if __name__ == "__main__":
    main()
