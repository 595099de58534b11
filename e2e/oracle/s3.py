"""Jobs with checkpoints and output on a real S3 server, which fails in every way: rows must be those of an undisturbed run.

Kills with SIGKILL; a server that stands still or is away for a minute; half of the answers 503; answers lost after the request
took effect; wrong credentials, a missing bucket, a server that is not there.
"""

import argparse
import collections
import contextlib
import io
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import duckdb
import fastavro

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))

import fault_proxy  # noqa: E402
import s3  # noqa: E402
from common import LIMIT, MERGED, Over, compare, in_time, jobs_over_files, json_rows, nothing_to_collect, run  # noqa: E402
from s3_client import Client  # noqa: E402

# In front of every place on S3.
ROOT = f"s3://{s3.BUCKET}"


def with_hosts(hosts, command):
    """The command with a file that only it sees as /etc/hosts. Each one becomes the next, so that a kill is the job's."""
    mount = 'mount --bind "$0" /etc/hosts && exec "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, hosts, *command]


class Trial:
    """One run of a job, in a folder and a part of the bucket of its own."""

    def __init__(self, binary, script, folder, sinks, server, interval="200ms", sink_options=""):
        self.binary, self.folder, self.sinks, self.server = binary, folder, sinks, server
        self.prefix = folder.name
        self.client = Client(server.endpoint, s3.KEY, s3.SECRET, s3.BUCKET)
        self.options = ["--checkpoints", f"{ROOT}/{self.prefix}/checkpoints"]
        self.options += ["--set", f"execution.checkpointing.interval={interval}"]
        text = pathlib.Path(script if script.is_absolute() else folder / script).read_text()
        for sink in sinks:
            text = text.replace(f"'path' = '{sink}'", f"'path' = '{ROOT}/{self.prefix}/{sink}'{sink_options}")
        text = text.replace("'path' = 'rows/", f"'path' = '{ROOT}/rows/")
        (folder / "on-s3.sql").write_text(text)

    def start(self, parallelism="2", endpoint=None, more=(), profile=None, hosts=None):
        command = [self.binary, "run", "on-s3.sql", "--quiet", "--parallelism", parallelism, *self.options, *more]
        if hosts:
            command = with_hosts(hosts, command)
        environment = os.environ | self.server.environment()
        if endpoint:
            environment["AWS_ENDPOINT_URL"] = endpoint
        if profile:
            # What the server's environment says goes into files, as people have it at home.
            files = {"AWS_SHARED_CREDENTIALS_FILE": self.folder / "credentials", "AWS_CONFIG_FILE": self.folder / "config"}
            key, secret = environment.pop("AWS_ACCESS_KEY_ID"), environment.pop("AWS_SECRET_ACCESS_KEY")
            text = f"aws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
            files["AWS_SHARED_CREDENTIALS_FILE"].write_text(f"[{profile}]\n{text}")
            files["AWS_CONFIG_FILE"].write_text(f"[profile {profile}]\nregion = {environment.pop('AWS_REGION')}\n")
            environment |= {name: str(path) for name, path in files.items()} | {"AWS_PROFILE": profile}
        with open(self.folder / "log.txt", "a") as log:
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=environment)

    def log(self):
        return (self.folder / "log.txt").read_text()

    def finish(self, process):
        code = process.wait(timeout=LIMIT)
        if code != 0:
            raise SystemExit(f"s3: {self.prefix}: exit code {code}\n{self.log()[-3000:]}")

    def until(self, said, process):
        """Waits until a checkpoint is complete, or whatever else the bucket must show."""
        while process.poll() is None and not said():
            time.sleep(0.05)
        self.not_over(process)

    def not_over(self, process):
        """It must be under way still."""
        code = process.poll()
        if code == 0:
            raise Over(f"s3: {self.prefix}: over before anything was done to it")
        if code is not None:
            raise SystemExit(f"s3: {self.prefix}: exit code {code}\n{self.log()[-3000:]}")

    def records(self):
        """The job log. Before it begins the place is only looked at, which waits for no outage."""
        return self.client.list(f"{self.prefix}/checkpoints/on-s3/log/")

    def said(self, kind):
        """The numbers of the checkpoints that the job log has records of this kind for."""
        found = []
        for key in self.records():
            try:
                record = json.loads(self.client.get(key))["record"]
            except OSError:
                continue  # Retired meanwhile.
            if record["type"] == kind:
                found.append(record.get("snapshot", record)["epoch"])
        return found

    def newest(self):
        """The newest checkpoint that is complete. It is looked again if what is found is retired meanwhile."""
        deadline = time.time() + LIMIT
        while not (found := self.said("complete")):
            if time.time() > deadline:
                raise SystemExit(f"s3: {self.prefix}: no checkpoint is complete\n{self.log()[-3000:]}")
            time.sleep(0.05)
        return max(found)

    def rows(self, sink):
        rows = collections.Counter()
        for key in self.client.list(f"{self.prefix}/{sink}/"):
            rows.update(tuple(json.loads(line).values()) for line in self.client.get(key).splitlines())
        return rows

    def files(self):
        """How many files each sink shows."""
        return {sink: len(self.client.list(f"{self.prefix}/{sink}/")) for sink in self.sinks}

    def exact(self, expected, what):
        """The rows are right, and nothing is left over."""
        for sink in self.sinks:
            compare(f"s3: {what}: {sink}", self.rows(sink), expected[sink])
        left = self.client.uploads(f"{self.prefix}/")
        hidden = [key for key in self.client.list(f"{self.prefix}/") if "/." in key]
        if left or hidden:
            raise SystemExit(f"s3: {what}: left over: uploads {left}, objects {hidden}")


def kills(trial, chance, count, longest):
    """Runs a job to its end with so many kills on the way, if it lives long enough; gives their number."""
    killed = 0
    while True:
        process = trial.start(chance.choice(["1", "2", "3"]))
        if killed < count:
            time.sleep(chance.uniform(0.1, longest))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                killed += 1
        code = process.wait(timeout=LIMIT)
        if code == 0:
            return killed
        if code != -signal.SIGKILL:
            raise SystemExit(f"s3: {trial.prefix}: exit code {code}\n{trial.log()[-3000:]}")


def merged(plain, trial, chance, expected, count, took):
    """Small files are merged before they show: fewer files, the same rows, whatever dies."""
    for turn in range(2):
        # Where the machine stands still, the one without may have few checkpoints, and so few files.
        pair = plain(f"not-merged{turn}"), trial(f"merged{turn}")
        for one in pair:
            one.finish(one.start())
            one.exact(expected, one.prefix)
        many, few = (one.files() for one in pair)
        if all(few[sink] < many[sink] for sink in many):
            break
    else:
        raise SystemExit(f"s3: merged files are not fewer: {few}, {many} without")
    done = runs = 0
    while done < count:
        runs += 1
        killed = trial(f"merged-kills{runs}")
        done += kills(killed, chance, count - done, max(took * 0.7, 0.5))
        killed.exact(expected, f"merged files, run {runs} after {done} kills")
    print(f"s3: files merged: {few}, {many} without; {done} kills in {runs} runs: exact, nothing left over", flush=True)


def refused(trial, what, words, environment, options=(), within=LIMIT, hosts=None):
    """The job does not begin, and says why."""
    began = time.time()
    command = [trial.binary, "run", "on-s3.sql", "--quiet", *(options or trial.options)]
    if hosts:
        command = with_hosts(hosts, command)
    done = subprocess.run(
        command, cwd=trial.folder, env=os.environ | trial.server.environment() | environment, capture_output=True,
        text=True, timeout=within,
    )
    missing = [word for word in words if word not in done.stderr]
    if done.returncode != 1 or missing or s3.SECRET in done.stderr or "wrong-secret" in done.stderr:
        raise SystemExit(f"s3: {what}: exit code {done.returncode}, not said: {missing}\n{done.stderr}")
    print(f"s3: {what}: told after {time.time() - began:.0f} s", flush=True)


def refusals(trial):
    refused(trial, "wrong secret", ["the credentials were refused", "check AWS_ACCESS_KEY_ID"],
            {"AWS_SECRET_ACCESS_KEY": "wrong-secret"})
    refused(trial, "missing bucket", ["s3://not-there/", "there is no such bucket: create it"], {},
            ["--checkpoints", "s3://not-there/checkpoints"])
    refused(trial, "no server", ["the checkpoint place cannot be used", "the server cannot be reached", "check the endpoint"],
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})


def look(trial, expected):
    """Checkpoints on S3 can be looked at, gone back to and cleaned."""
    environment = os.environ | trial.server.environment()
    place = f"{ROOT}/{trial.prefix}/checkpoints/on-s3"
    folder = f"{trial.prefix}/checkpoints/on-s3"

    def command(words, *said, count=None):
        done = subprocess.run(
            [trial.binary, *words], cwd=trial.folder, env=environment, capture_output=True, text=True, timeout=60
        )
        missing = [word for word in said if word not in done.stdout + done.stderr]
        if done.returncode != 0 or missing or (count and done.stdout.splitlines()[-1:] != [count]):
            raise SystemExit(f"s3: {words}: not said: {missing}, {count}\n{done.stdout}{done.stderr}")

    records = {key: json.loads(trial.client.get(key)) for key in trial.client.list(f"{folder}/log/")}
    newest = max(key for key, record in records.items() if record["record"]["type"] == "complete")
    record = f"{ROOT}/{newest}"
    for path in [place, record]:
        command(["savepoint", "inspect", path], "job          on-s3")
    command(["run", "on-s3.sql", "--quiet", *trial.options, "--from-savepoint", record], "finished")
    trial.exact(expected, "gone back to the last checkpoint")

    # What a start of the same job left long ago, whole and staged; and what is another's.
    uid = records[newest]["uid"]
    left, staged = f"data/{uid}-0-00000000-0-000000-0.state", f"data/{uid}-0-00000000-0-000001-0.state"
    # No start of any job writes under term 0: such files were copied for a job that never began.
    other = "data/0123456789abcdef-1-00000000-0-000000-0.state"
    trial.client.put(f"{folder}/{left}", b"x")
    trial.client.put(f"{folder}/{other}", b"x")
    trial.client.ask("POST", f"{folder}/{staged}", query=[("uploads", "")])
    trial.client.put(f"{folder}/probe/1000-0000000000000001", b"x")
    said = [f"delete {left}", f"discard {staged}", "delete probe/1000-"]
    command(["snapshots", "gc", "--dry-run", place], *said, count="3 would be removed")
    if len(trial.client.uploads(folder)) != 1:
        raise SystemExit("s3: gc --dry-run removed something")
    command(["snapshots", "gc", place], *said, count="3 removed")
    command(["snapshots", "gc", place], count="0 removed")
    if trial.client.uploads(folder) or other not in "".join(trial.client.list(f"{folder}/data/")):
        raise SystemExit("s3: gc did not remove what is left over, or removed another job's")

    # With the job, also what lies where its rows go: the job has ended, so what its newest term left is found too.
    sink, term = trial.sinks[0], max(record["term"] for record in records.values())
    mine, others = (f"{trial.prefix}/{sink}/part-{name}-{term}-00000000-x-0-0.json" for name in (uid, "0123456789abcdef"))
    hidden = f"{trial.prefix}/{sink}/.compaction/part-{uid}-{term}-00000000-x-0-1.json"
    for part in (mine, others):
        trial.client.ask("POST", part, query=[("uploads", "")])
    trial.client.put(hidden, b"x")
    said = [f"discard s3://{s3.BUCKET}/{mine}", f"delete s3://{s3.BUCKET}/{hidden}"]
    gc = ["snapshots", "gc", "--job", "on-s3.sql", *trial.options]
    command([*gc, "--dry-run"], *said, count="2 would be removed")
    command(["snapshots", "gc", place], count="0 removed")
    command(gc, *said, count="2 removed")
    if len(trial.client.uploads(f"{trial.prefix}/")) != 1 or trial.client.list(hidden):
        raise SystemExit("s3: gc did not remove what is left at a sink, or removed another job's")
    print("s3: inspect, --from-savepoint and gc work on S3", flush=True)


def encryption(make, server, expected):
    """Whatever creates an object, at once or as an upload, asks for its encryption."""
    kind, key = "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"
    with fault_proxy.in_front_of(server.endpoint) as proxy:

        def check(what, *wanted):
            asked = {(method, headers.get(kind), headers.get(key)) for method, headers in proxy.created}
            if asked != set(wanted):
                raise SystemExit(f"s3: {what}: {asked} asked for in {len(proxy.created)} creations")
            print(f"s3: {what}: asked for in each of {len(proxy.created)} creations", flush=True)
            proxy.created.clear()

        trial = make("sse-s3")
        trial.finish(trial.start(endpoint=proxy.endpoint, more=["--set", "s3.sse.type=sse-s3"]))
        trial.exact(expected, "sse-s3")
        check("sse-s3", ("PUT", "AES256", None), ("POST", "AES256", None))
        # The server here has no keys to manage, and refuses the first of each kind.
        more = ["--set", "s3.sse.type=sse-kms", "--set", "s3.sse.kms.key-id=key-of-tests"]
        for name, method in [("at-once", "PUT"), ("as-an-upload", "POST")]:
            trial = make(f"sse-kms-{name}")
            if method == "POST":
                trial.options[1] = "checkpoints"
            process = trial.start(endpoint=proxy.endpoint, more=more)
            trial.until(lambda: proxy.created, process)
            process.kill()
            process.wait()
            check(f"sse-kms, {name}", (method, "aws:kms", "key-of-tests"))


def checksums(make, server, expected):
    """Whatever is uploaded is uploaded with its checksum, if that is asked for. Who asks is said by a profile."""
    with fault_proxy.in_front_of(server.endpoint) as proxy:
        trial = make("checksums")
        more = ["--set", "s3.create.checksum.algorithm=crc32c"]
        trial.finish(trial.start(endpoint=proxy.endpoint, more=more, profile="of-tests"))
        trial.exact(expected, "checksums")
        begun = [headers for method, headers in proxy.created if method == "POST"]
        sent = [headers for method, headers in proxy.created if method == "PUT"] + proxy.parts
        # The server here takes them without. Amazon's does not, if they are announced.
        bare = [h for h in sent if not h.get("x-amz-checksum-crc32c") and h.get("x-amz-trailer") != "x-amz-checksum-crc32c"]
        if bare or not proxy.parts or {headers.get("x-amz-checksum-algorithm") for headers in begun} != {"CRC32C"}:
            raise SystemExit(f"s3: checksums: {len(bare)} of {len(sent)} without: {bare[:1]}, begun: {begun[:1]}")
        print(f"s3: checksums: in each of {len(sent)} puts and parts", flush=True)


def hosts(make, server, expected, turn):
    """The bucket's name is in the URL's path or in its host, as the option says. It is the same bucket: the job goes on there."""
    bucket_host = f"{s3.BUCKET}.{s3.DOMAIN}"
    trial = make(f"hosts{turn}")
    names = trial.folder / "hosts"
    names.write_text(f"127.0.0.1 {s3.DOMAIN} {bucket_host}\n")
    for in_path, host, to_the_end in [("true", s3.DOMAIN, False), ("false", bucket_host, False), ("false", bucket_host, True)]:
        # One for each run: what a killed one asked for may come late.
        with fault_proxy.in_front_of(server.endpoint) as proxy:
            address = proxy.endpoint.removeprefix("http://").replace("127.0.0.1", "{}")
            before = max(trial.said("complete"), default=0)
            more = ["--set", f"s3.path.style.access={in_path}"]
            process = trial.start(endpoint="http://" + address.format(s3.DOMAIN), more=more, hosts=names)
            if to_the_end:
                trial.finish(process)
            else:
                trial.until(lambda: max(trial.said("complete"), default=0) > before, process)
                process.kill()
                process.wait()
            asked = {(name, first == s3.BUCKET) for name, first in proxy.asked}
            if asked != {(address.format(host), in_path == "true")}:
                raise SystemExit(f"s3: path style {in_path}: hosts and first parts of paths: {proxy.asked}")
    trial.exact(expected, "bucket in the host")
    print("s3: bucket in the path, and in the host: asked for so, exact after a kill of each", flush=True)
    # A server that does not know the name takes the first part of the path for the bucket, and makes one.
    trial = make(f"foreign-host{turn}")
    names.write_text(f"127.0.0.1 other.test {s3.BUCKET}.other.test\n")
    port = server.endpoint.rsplit(":", 1)[1]
    for options in (trial.options, ["--checkpoints", "checkpoints"]):
        refused(trial, "a bucket in the host of a server that does not know it", ["set `s3.path.style.access` to `true`"],
                {"AWS_ENDPOINT_URL": f"http://other.test:{port}"}, [*options, "--set", "s3.path.style.access=false"], hosts=names)
    everywhere = Client(server.endpoint, s3.KEY, s3.SECRET, "")
    buckets = [bucket["Name"] for bucket in everywhere.elements(everywhere.ask("GET"), "Bucket")]
    if s3.BUCKET not in buckets or trial.prefix in buckets:
        raise SystemExit(f"s3: a bucket was made of a folder's name: {buckets}")


def clocks(make, server, expected):
    """Of a server whose clock is ten minutes ahead the client learns the time; of one that does not tell it, the user hears."""
    with fault_proxy.in_front_of(server.endpoint) as proxy:
        proxy.ahead = 600
        trial = make("clock-ahead")
        trial.finish(trial.start(endpoint=proxy.endpoint))
        trial.exact(expected, "clock ten minutes ahead")
        print(f"s3: the server's clock ten minutes ahead: exact, {proxy.counts}", flush=True)
        if not proxy.counts["skewed"]:
            raise SystemExit("s3: no request had another time than the server, which shows nothing")
        proxy.says_time = False
        refused(trial, "wrong clock", ["this machine's clock differs too much from the server's (RequestTimeTooSkewed", "set the clock"],
                {"AWS_ENDPOINT_URL": proxy.endpoint})


def restarts(make, server, expected, turn):
    """Everything is denied for longer than it is tried: a job with a restart strategy goes on, and one without ends."""
    with fault_proxy.in_front_of(server.endpoint) as proxy:
        often = ["--set", "execution.checkpointing.interval=100ms"]
        strategy = ["--set", "restart-strategy.type=exponential-delay"]
        without, with_one = make(f"without-restarts{turn}"), make(f"with-restarts{turn}")
        with under_way((without, {"endpoint": proxy.endpoint, "more": often}),
                       (with_one, {"endpoint": proxy.endpoint, "more": often + strategy})) as processes:
            for one, process in zip((without, with_one), processes):
                # Only of what follows its first checkpoint it can be told that it knows of that one.
                one.until(lambda: one.said("committed"), process)
            proxy.denying = True
            code = processes[0].wait(timeout=LIMIT)
            if code == 0:
                without.not_over(processes[0])
            if code != 1 or "error: " not in without.log() or "restarting" in without.log():
                raise SystemExit(f"s3: without a restart strategy the job must end\n{without.log()[-3000:]}")
            with_one.until(lambda: "attempt 2: " in with_one.log(), processes[1])
            proxy.denying = False
            with_one.finish(processes[1])
        log = with_one.log()
        if "goes on from checkpoint" not in log:
            raise SystemExit(f"s3: the job did not go on from a checkpoint\n{log[-3000:]}")
        with_one.exact(expected, "begun again")
        print(f"s3: denied: {log.count('restarting in')} restarts, exact; without a strategy: the end", flush=True)


@contextlib.contextmanager
def under_way(*trials):
    """Processes of trials, each with its options; none runs on behind the block."""
    processes = []
    try:
        for trial, options in trials:
            processes.append(trial.start(**options))
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def outage(make, server, expected, seed, turn):
    """A minute without the server, when checkpoints, their uploads and commits are under way.

    Two outages at once, of two kinds, so that the test takes one minute and not two.
    """
    with fault_proxy.in_front_of(server.endpoint, seed) as proxy:
        jobs = [make(f"frozen{turn}"), make(f"refused{turn}")]
        options = {"parallelism": "1", "more": ["--set", "execution.checkpointing.interval=50ms"]}
        with under_way((jobs[0], options), (jobs[1], options | {"endpoint": proxy.endpoint})) as processes:
            for job, process in zip(jobs, processes):
                job.until(lambda: job.said("complete"), process)
            proxy.refusing = True
            server.pause()
            time.sleep(30)
            # What it was asked for before it stood still may take effect now, but nobody is told.
            server.stop()
            time.sleep(30)
            # The first one asks nothing either, until it is known how far both were.
            processes[0].send_signal(signal.SIGSTOP)
            server.start()
            for job, process in zip(jobs, processes):
                job.not_over(process)
            before = [job.newest() for job in jobs]
            processes[0].send_signal(signal.SIGCONT)
            proxy.refusing = False
            for job, process, epoch in zip(jobs, processes, before):
                job.finish(process)
                job.exact(expected, f"{job.prefix} for a minute")
                if job.newest() <= epoch:
                    raise SystemExit(f"s3: {job.prefix}: no checkpoint after the outage, which shows little")
    print("s3: away for a minute, standing still and then ended: jobs went on from checkpoints under way, exact", flush=True)


HOURLY = """
CREATE TABLE input (id BIGINT, `at` AS TO_TIMESTAMP_LTZ(id * 1000, 3), WATERMARK FOR `at` AS `at` - INTERVAL '1' MINUTE)
  WITH ('connector' = 'datagen', 'rows-per-second' = '{rate}',
        'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '{rows}');
"""
INTO_PARTITIONS = """
CREATE TABLE as_{format} (id BIGINT, `hour` STRING) PARTITIONED BY (`hour`)
  WITH ('connector' = 'filesystem', 'path' = '{place}/as_{format}', 'format' = '{format}'{more},
        'sink.partition-commit.policy.kind' = 'success-file', 'sink.partition-commit.trigger' = 'partition-time',
        'sink.partition-commit.delay' = '1 h', 'partition.time-extractor.timestamp-pattern' = '$hour:00:00');
"""
HOURS, HOUR, RATE = 18, 3600, 8_000


def ids_in(content, format, folder):
    """The ids in a file of this format, as other implementations read it."""
    if format == "json":
        return [json.loads(line)["id"] for line in content.splitlines()]
    if format == "avro":
        return [row["id"] for row in fastavro.reader(io.BytesIO(content))]
    path = folder / "read.parquet"
    path.write_bytes(content)
    return [row[0] for row in duckdb.sql(f"SELECT id FROM read_parquet('{path}', hive_partitioning = false)").fetchall()]


class Partitions:
    """A job into hourly partitions, in three formats, each partition with a mark when it is complete."""

    formats = ["json", "avro", "parquet"]

    def __init__(self, binary, server, folder):
        self.binary, self.server, self.folder = binary, server, folder
        folder.mkdir()
        self.client = Client(server.endpoint, s3.KEY, s3.SECRET, s3.BUCKET)
        text = HOURLY.format(rate=RATE, rows=HOURS * HOUR - 1)
        # The other implementation cannot read what is compressed as Avro files are without it.
        more = {"avro": ", 'avro.codec' = 'deflate'"}
        for f in self.formats:
            text += INTO_PARTITIONS.format(format=f, place=f"{ROOT}/{folder.name}", more=more.get(f, ""))
        hour = "DATE_FORMAT(`at`, 'yyyy-MM-dd HH')"
        inserts = "".join(f"INSERT INTO as_{f} SELECT id, {hour} FROM input;\n" for f in self.formats)
        (folder / "job.sql").write_text(f"{text}EXECUTE STATEMENT SET BEGIN\n{inserts}END;\n")

    def start(self, parallelism):
        command = [self.binary, "run", "job.sql", "--quiet", "--parallelism", str(parallelism)]
        command += ["--checkpoints", f"{ROOT}/{self.folder.name}/checkpoints"]
        command += ["--set", "execution.checkpointing.interval=200ms"]
        with open(self.folder / "log.txt", "a") as log:
            return subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, env=os.environ | self.server.environment()
            )

    def log(self):
        return (self.folder / "log.txt").read_text()[-3000:]

    def shown(self):
        """By table and partition: the files, and if they are said to be all."""
        found = {}
        for format in self.formats:
            for key in self.client.list(f"{self.folder.name}/as_{format}/"):
                partition, name = key.rsplit("/", 1)
                files, marks = found.setdefault((format, partition.rsplit("/", 1)[1]), (set(), set()))
                (marks if name == "_SUCCESS" else files).add(key)
        return found

    def complete(self):
        return {which: files for which, (files, marks) in self.shown().items() if marks}


def partitions(binary, server, chance, top, turn):
    """Whatever dies, a partition is said to be complete when its rows are all there, and none comes after."""
    job = Partitions(binary, server, top / f"partitions{turn}")
    seen, killed = {}, 0
    while True:
        process = job.start(chance.choice([1, 2, 3]))
        if killed < 4:
            # In the midst of the rows, and not before new ones show.
            deadline, more = time.time() + LIMIT, len(job.complete()) + chance.choice([1, 4, 8])
            while process.poll() is None and len(job.complete()) < more and time.time() < deadline:
                time.sleep(0.02)
            process.kill()
        code = process.wait(timeout=LIMIT)
        if code not in (0, -signal.SIGKILL):
            raise SystemExit(f"s3: partitions: exit code {code}\n{job.log()}")
        # Nobody writes now.
        now = job.complete()
        grown = [which for which, files in seen.items() if now.get(which) != files]
        if grown:
            raise SystemExit(f"s3: partitions: changed after they were complete: {grown[:3]}\n{job.log()}")
        if code == 0:
            break
        killed += 1
        seen = now
    names = [f"hour=1970-01-01 {hour:02}" for hour in range(HOURS)]
    shown = job.shown()
    unmarked = [which for which in [(f, name) for f in job.formats for name in names] if not shown.get(which, ((), ()))[1]]
    if unmarked or len(shown) != len(names) * len(job.formats):
        raise SystemExit(f"s3: partitions: never said to be complete: {unmarked[:3]}, of {len(shown)}")
    for format, name in shown:
        first = int(name[-2:]) * HOUR
        files = shown[format, name][0]
        ids = collections.Counter(i for key in files for i in ids_in(job.client.get(key), format, job.folder))
        compare(f"s3: partitions: {format}, {name}", ids, collections.Counter(range(max(first, 1), first + HOUR)))
    left = job.client.uploads(f"{job.folder.name}/")
    hidden = [key for key in job.client.list(f"{job.folder.name}/") if "/." in key]
    if left or hidden:
        raise SystemExit(f"s3: partitions: left over: uploads {left}, objects {hidden}")
    nothing_to_collect(binary, f"{ROOT}/{job.folder.name}/checkpoints/job", server.environment())
    if killed < 3 or not seen:
        raise Over(f"s3: partitions: {killed} kills, {len(seen)} partitions complete by then, which shows little")
    print(f"s3: {len(shown)} partitions in {len(job.formats)} formats, {killed} kills: each was complete when it said so", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    binary, data = str(pathlib.Path(arguments.bin).resolve()), pathlib.Path(arguments.data).resolve()
    chance = random.Random(arguments.seed)
    print(f"s3: seed {arguments.seed}", flush=True)
    began = time.time()
    with tempfile.TemporaryDirectory() as top, s3.running() as server:
        jobs = []
        for name, script, make, sinks in jobs_over_files(binary, data, pathlib.Path(top)):
            script = pathlib.Path(script)
            script = script.with_name("job.sql") if script.is_absolute() else script
            plain = make("plain")
            run(binary, script, plain, "--parallelism", "2")
            expected = {sink: json_rows(plain / sink) for sink in sinks}
            jobs.append((name, script, make, sinks, expected))
        # The join reads from S3 too.
        client = Client(server.endpoint, s3.KEY, s3.SECRET, s3.BUCKET)
        for path in (plain / "rows").rglob("*.json"):
            client.put(str(path.relative_to(plain)), path.read_bytes())

        def trial(job, what, **options):
            _, script, make, sinks, _ = job
            return Trial(binary, script, make(what), sinks, server, **options)

        for job in jobs:
            undisturbed = trial(job, "undisturbed")
            since = time.time()
            undisturbed.finish(undisturbed.start())
            took = time.time() - since
            undisturbed.exact(job[4], f"{job[0]} undisturbed")
            print(f"s3: {job[0]}: undisturbed in {took:.1f} s", flush=True)
            done = runs = 0
            while done < arguments.kills // 2:
                runs += 1
                killed = trial(job, f"kills{runs}")
                done += kills(killed, chance, arguments.kills // 2 - done, max(took * 0.7, 0.5))
                killed.exact(job[4], f"{job[0]}, run {runs} after {done} kills")
            print(f"s3: {job[0]}: {done} kills in {runs} runs, none lost, none twice, nothing left over", flush=True)
        join = jobs[1]
        merged(lambda what: trial(join, what), lambda what: trial(join, what, sink_options=MERGED), chance, join[4],
               arguments.kills // 2, took)
        look(undisturbed, join[4])
        refusals(undisturbed)
        encryption(lambda what: trial(join, what), server, join[4])
        checksums(lambda what: trial(join, what), server, join[4])
        in_time(lambda turn: hosts(lambda what: trial(join, what), server, join[4], turn))
        clocks(lambda what: trial(join, what), server, join[4])
        in_time(lambda turn: restarts(lambda what: trial(join, what), server, join[4], turn))

        with fault_proxy.in_front_of(server.endpoint, arguments.seed) as proxy:
            for what, unavailable, dropped, delay in [
                ("half of the answers 503", 0.5, 0.0, 0.0),
                ("answers lost", 0.0, 0.2, 0.0),
                ("answers half a second late", 0.0, 0.0, 0.5),
            ]:
                proxy.unavailable, proxy.dropped, proxy.delay = unavailable, dropped, delay
                disturbed = trial(join, what.replace(" ", "-"))
                since = time.time()
                disturbed.finish(disturbed.start(endpoint=proxy.endpoint))
                disturbed.exact(join[4], what)
                print(f"s3: {what}: exact after {time.time() - since:.0f} s, {proxy.counts}", flush=True)

        in_time(lambda turn: outage(lambda what: trial(join, what), server, join[4], arguments.seed, turn))
        in_time(lambda turn: partitions(binary, server, chance, pathlib.Path(top), turn), turns=3)
    print(f"s3: all passed in {time.time() - began:.0f} s")


if __name__ == "__main__":
    main()
