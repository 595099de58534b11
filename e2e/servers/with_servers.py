"""Runs a command while the servers run that tests need, and tells it where they are by environment variables.

    with_servers.py -- cargo test
"""

import contextlib
import os
import subprocess
import sys

import kafka
import s3


@contextlib.contextmanager
def s3_variables():
    """An S3 server for `STREAMFLEET_TEST_S3`."""
    with s3.running() as server:
        yield server.environment() | {"STREAMFLEET_TEST_S3": server.endpoint}


@contextlib.contextmanager
def kafka_variables():
    """A broker for `STREAMFLEET_TEST_KAFKA`."""
    with kafka.Kafka() as broker:
        yield {"STREAMFLEET_TEST_KAFKA": broker.address}


# Every server is a context manager that gives the variables of its tests.
SERVERS = [s3_variables, kafka_variables]


def main():
    command = sys.argv[1:]
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        raise SystemExit(__doc__)
    with contextlib.ExitStack() as servers:
        environment = dict(os.environ)
        for server in SERVERS:
            environment |= servers.enter_context(server())
        code = subprocess.run(command, env=environment).returncode
    sys.exit(code)


if __name__ == "__main__":
    main()
