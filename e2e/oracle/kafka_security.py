"""Log-ins and TLS of Kafka's clients: what is right is taken by all of them, what is wrong is refused with a clear error."""

import collections
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))

import tokens  # noqa: E402
import topics  # noqa: E402
from certificates import Authority  # noqa: E402
from common import compare  # noqa: E402
from kafka import free_ports  # noqa: E402
from kafka_case import BOUNDED, stop  # noqa: E402


def log_in(case, kafka):
    def secure(password, mechanism="SCRAM-SHA-512", user="writer"):
        module = "plain.Plain" if mechanism == "PLAIN" else "scram.Scram"
        jaas = f'org.apache.kafka.common.security.{module}LoginModule required username="{user}" password="{password}";'
        return (
            f", 'properties.security.protocol' = 'SASL_PLAINTEXT', 'properties.sasl.mechanism' = '{mechanism}', "
            f"'properties.sasl.jaas.config' = '{jaas}'"
        )

    for mechanism, user in (("SCRAM-SHA-256", "writer"), ("SCRAM-SHA-512", "writer"), ("PLAIN", "reader")):
        options = secure(f"{user}-secret", mechanism, user)
        name = mechanism.lower()
        one = case(name, read=BOUNDED + options, write=options, address=kafka.sasl_address)
        one.put(0, 2_000)
        one.finish()
        one.exact(0, 2_000, "log-in, also of the client that ends transactions")
    for mechanism, user in (("SCRAM-SHA-512", "writer"), ("PLAIN", "reader")):
        options = secure("not-so-secret", mechanism, user)
        for guarantee in ("exactly-once", "at-least-once"):
            one = case(f"wrong-password-{mechanism.lower()}-{guarantee}", read=BOUNDED + options, write=options,
                       address=kafka.sasl_address, patience=5000, guarantee=guarantee)
            one.put(0, 10)
            one.refused("properties.sasl")
            if any(text in one.log() for text in ("writer-secret", "reader-secret", "not-so-secret")):
                raise SystemExit("a password is in the log")


def tls(case, kafka, authority, top):
    """All of a job's clients speak TLS, and none goes on with a broker that it cannot trust, or that does not trust it."""
    other = Authority(top, "others-broker")

    def options(protocol="SSL", trusted=authority, more=""):
        return (
            f", 'properties.security.protocol' = '{protocol}', 'properties.ssl.truststore.type' = 'PEM', "
            f"'properties.ssl.truststore.location' = '{trusted.certificate}'{more}"
        )

    def own(store):
        return f", 'properties.ssl.keystore.type' = 'PEM', 'properties.ssl.keystore.location' = '{store}'"

    def exact(name, address, secure):
        one = case(name, read=BOUNDED + secure, write=secure, address=address)
        one.put(0, 2_000)
        one.finish()
        one.exact(0, 2_000, f"{name} to the broker")

    # What a life leaves behind, its successor ends with the client of its own that knows transactions of others.
    secure = options()
    one = case("ssl", read=secure, write=secure, address=kafka.tls_address)
    rows = 0
    for crash_at in ("before-committed:2", "after-complete:2", "between-commits:2"):
        rows = one.dies(rows, crash_at)
    for is_last in (False, True):
        process = one.start()
        one.put(rows, 2_000)
        rows += 2_000
        one.wait_for(rows)
        if not is_last:
            process.kill()
            process.wait()
    code = stop(process)
    if code != 0:
        raise SystemExit(f"ssl: exit code {code} at a stop\n{one.log()}")
    one.exact(0, rows, "killed four times, over TLS")

    jaas = "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"writer\" password=\"writer-secret\";"
    scram = f", 'properties.sasl.mechanism' = 'SCRAM-SHA-512', 'properties.sasl.jaas.config' = '{jaas}'"
    exact("sasl-ssl", kafka.sasl_tls_address, options("SASL_SSL", more=scram))
    exact("mutual-tls", kafka.mutual_address, options(more=own(authority.key_store("client"))))

    # Another name: the certificate is for the address.
    by_name = kafka.tls_address.replace("127.0.0.1", "localhost")
    strange = own(other.key_store("client"))
    unknown, refusing = ("UnknownIssuer", "certificate verify failed"), ("fatal alert: ", "alert bad certificate")
    stores, protocol = "properties.ssl.truststore.location", "properties.security.protocol"
    wrong = [
        ("other-authority", kafka.tls_address, options(trusted=other), stores, *unknown),
        ("unknown-authority", kafka.tls_address, ", 'properties.security.protocol' = 'SSL'", stores, *unknown),
        ("other-name", by_name, options(), stores, 'certificate not valid for name "localhost"', "certificate verify failed"),
        ("no-own-certificate", kafka.mutual_address, options(), "properties.ssl.keystore.location", *refusing),
        ("strange-own-certificate", kafka.mutual_address, options(more=strange), "properties.ssl.keystore.location", *refusing),
        ("plain-to-tls", kafka.tls_address, "", protocol, "does the port speak this 'properties.security.protocol'?", ""),
        ("tls-to-plain", kafka.address, options(), protocol, "", "SSL"),
    ]
    # Who writes exactly once meets the brokers with another client first.
    for client, guarantee in enumerate(("exactly-once", "at-least-once")):
        begun = []
        for name, address, secure, advice, *causes in wrong:
            one = case(f"{name}-{guarantee}", read=BOUNDED + secure, write=secure, address=address, patience=15_000,
                       guarantee=guarantee)
            one.put(0, 10)
            begun.append((one, one.start(), advice, causes[client]))
        for one, process, advice, cause in begun:
            one.refused("error: ", cause, advice, process=process)
            if advice not in one.log().rpartition("error: ")[2] or cause not in one.log().rpartition("error: ")[2]:
                raise SystemExit(f"{one.name}: its last word does not say {advice} and {cause}\n{one.log()}")
            if sum(topics.values(kafka.address, one.sink).values()):
                raise SystemExit(f"{one.name}: rows were written all the same")


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
    rows = 0
    for crash_at in places:
        rows = one.dies(rows, crash_at)
    process, first = one.start(), issuer.given
    for _ in range(14):
        one.put(rows, 100)
        rows += 100
        time.sleep(1)
    one.wait_for(rows)
    if issuer.given < first + 3:
        raise SystemExit(f"short-tokens: {issuer.given - first} tokens in 14 s, of 5 s each")
    # Longer than a token lives: clients that are cut off meanwhile log in again with the next one.
    issuer.refusing = True
    time.sleep(9)
    issuer.refusing = False
    one.put(rows, 1_000)
    rows += 1_000
    one.wait_for(rows)
    if stop(process) != 0:
        raise SystemExit(f"short-tokens: it did not stop well\n{one.log()}")
    one.exact(0, rows, f"{len(places)} deaths, {issuer.given} tokens of 5 s, none for 9 s")

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
    absent = secure("no-token-endpoint", by_tokens(nobody), patience=15_000)
    issuer.unavailable = True
    one = secure("token-endpoint-503", by_tokens(place), patience=15_000)
    process = absent.start()
    one.refused(f"no token from {place} within", "503 Service Unavailable: temporarily_unavailable")
    absent.refused(f"no token from {nobody} within", "Connection refused", "check that it is there and answers", process=process)
    issuer.unavailable = False
    issuer.audience = "others"
    one = secure("foreign-token", by_tokens(place))
    one.put(0, 10)
    one.refused("invalid_token", f"the brokers refuse the token of {place}", "audience")
    issuer.audience, issuer.opaque = tokens.AUDIENCE, True
    for guarantee in ("exactly-once", "at-least-once"):
        one = secure(f"opaque-token-{guarantee}", by_tokens(place), guarantee=guarantee, patience=15_000)
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
        begun = []

        def refused(name, more, *texts):
            one = trusting(name, more, patience=15_000)
            begun.append((one, one.start(), texts))

        within = f"no token from {place} within"
        refused("tls-other-authority", in_file(other), within, "invalid peer certificate: UnknownIssuer")
        refused("tls-unknown-authority", "", within, "invalid peer certificate: UnknownIssuer")
        refused("tls-no-certificates", f' ssl.truststore.location="{one.folder / "job.sql"}"', f"no token from {place}",
                "job.sql: certificates in PEM are needed")
        # Another name: the certificate is for the address.
        place = place.replace("127.0.0.1", "localhost")
        refused("tls-other-name", in_file(own), f"no token from {place} within", "certificate not valid for name")
        for one, process, texts in begun:
            one.refused(*texts, process=process)
        if encrypted.given != given:
            raise SystemExit("tls: a secret was shown to a server that is not trusted")
