"""A real Kafka broker on this machine: one process, in a temporary folder, on free ports of loopback."""

import base64
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid

CACHE = pathlib.Path(os.environ.get("CACHE") or pathlib.Path.home() / ".cache" / "streamfleet" / "v1")

# Records of tests have times of their own, long past: the broker would delete them, half a minute after its start.
CONFIG = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_reader="reader-secret";
listener.name.sasl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
log.dirs={logs}
num.partitions=4
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
log.cleaner.enable=false
log.retention.ms=-1
"""

# Tokens are checked with a key set; a client must show a new one before the last one's life is over.
TOKENS = """
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.sasl.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
listener.name.sasl.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler
listener.name.sasl.oauthbearer.sasl.oauthbearer.jwks.endpoint.url={keys}
listener.name.sasl.oauthbearer.sasl.oauthbearer.expected.audience={audience}
listener.name.sasl.oauthbearer.connections.max.reauth.ms=3600000
"""

# TLS: with no log-in, with one, and with certificates of the clients.
TLS = """
listeners=PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller},TLS://127.0.0.1:{tls},SASLTLS://127.0.0.1:{sasl_tls},MUTUAL://127.0.0.1:{mutual}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl},TLS://127.0.0.1:{tls},SASLTLS://127.0.0.1:{sasl_tls},MUTUAL://127.0.0.1:{mutual}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,SASLTLS:SASL_SSL,MUTUAL:SSL
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={truststore}
listener.name.mutual.ssl.client.auth=required
listener.name.sasltls.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasltls.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


def free_ports(count):
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Kafka:
    """Begins with `start` and ends with `stop`; in between it may be killed, paused and started again on its data."""

    def __init__(self, keys=None, audience=None, authority=None):
        """`keys`: clients may log in with tokens for this audience that one of these keys signed (a JSON Web Key Set).

        `authority`: the broker speaks TLS too, with a certificate of this one, and trusts those of clients that it signed.
        """
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="streamfleet-kafka-"))
        self.port, self.sasl_port, controller, tls, sasl_tls, mutual = free_ports(6)
        self.address = f"127.0.0.1:{self.port}"
        self.sasl_address = f"127.0.0.1:{self.sasl_port}"
        self.process = None
        self.config = self.folder / "server.properties"
        logs = self.folder / "logs"
        self.config.write_text(
            CONFIG.format(port=self.port, sasl=self.sasl_port, controller=controller, logs=logs)
        )
        self.properties = []
        if keys:
            path = self.folder / "keys.json"
            path.write_text(keys)
            with open(self.config, "a") as config:
                config.write(TOKENS.format(keys=path.as_uri(), audience=audience))
            allowed = "-Dorg.apache.kafka.sasl.oauthbearer.allowed"
            self.properties = [f"{allowed}.urls={path.as_uri()}", f"{allowed}.files={path}"]
        if authority:
            self.tls_address, self.sasl_tls_address, self.mutual_address = (
                f"127.0.0.1:{port}" for port in (tls, sasl_tls, mutual)
            )
            text = TLS.format(
                port=self.port, sasl=self.sasl_port, controller=controller, tls=tls, sasl_tls=sasl_tls, mutual=mutual,
                keystore=authority.key_store("broker"), truststore=authority.certificate,
            )
            with open(self.config, "a") as config:
                config.write(text)
        if not list((CACHE / "kafka" / "libs").glob("kafka_*.jar")):
            raise SystemExit("Kafka's jars are not there: run `make servers`")
        user = 'SCRAM-SHA-256=[name=writer,password=writer-secret]'
        strong = 'SCRAM-SHA-512=[name=writer,password=writer-secret]'
        self._java("kafka.tools.StorageTool", "format", "--standalone", "-t", _cluster_id(), "-c", str(self.config),
                   "--add-scram", user, "--add-scram", strong)
        self.start()

    def _command(self, main, *arguments, heap="384m"):
        return ["java", f"-Xmx{heap}", *self.properties, "-cp", f"{CACHE}/kafka/libs/*", main, *arguments]

    def _java(self, main, *arguments):
        done = subprocess.run(self._command(main, *arguments), capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise SystemExit(f"{main}: exit code {done.returncode}\n{done.stdout}{done.stderr}")

    def start(self):
        """Starts the broker on its data and waits until it answers."""
        log = open(self.folder / "server.log", "ab")
        self.process = subprocess.Popen(self._command("kafka.Kafka", str(self.config)), stdout=log, stderr=log)
        # Longer than it takes: the machine may be busy with other things.
        deadline = time.time() + 240
        while time.time() < deadline:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.2)
        said = (self.folder / "server.log").read_text()[-3000:]
        self.stop()
        raise SystemExit(f"the broker does not start:\n{said}")

    def kill(self):
        """Lets the broker die at once."""
        self.process.kill()
        self.process.wait()

    def pause(self):
        """Lets the broker stand still, with its connections open."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self):
        """Lets it go on."""
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self):
        """Ends the broker and removes its data."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def _cluster_id():
    # One that begins with a dash would be taken for an option.
    return "s" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
