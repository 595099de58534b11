"""Jobs with checkpoints and output on a real S3 server, which fails in every way: rows must be those of an undisturbed run.

Kills with SIGKILL; a server that stands still or is away for a minute; half of the answers 503; answers lost after the request
took effect; wrong credentials, a missing bucket, a server that is not there.
"""

import argparse
import collections
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

import fault_proxy  # noqa: E402
import s3  # noqa: E402
from common import MERGED, compare, jobs_over_files, json_rows, run  # noqa: E402
from s3_client import Client  # noqa: E402

# In front of every place on S3.
ROOT = f"s3://{s3.BUCKET}"


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

    def start(self, parallelism="2", endpoint=None, more=()):
        command = [self.binary, "run", "on-s3.sql", "--quiet", "--parallelism", parallelism, *self.options, *more]
        environment = os.environ | self.server.environment()
        if endpoint:
            environment["AWS_ENDPOINT_URL"] = endpoint
        with open(self.folder / "log.txt", "a") as log:
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=environment)

    def log(self):
        return (self.folder / "log.txt").read_text()

    def finish(self, process, timeout=240):
        code = process.wait(timeout=timeout)
        if code != 0:
            raise SystemExit(f"s3: {self.prefix}: exit code {code}\n{self.log()[-3000:]}")

    def until(self, said, process):
        """Waits until a checkpoint is complete, or whatever else the bucket must show."""
        while process.poll() is None and not said():
            time.sleep(0.05)
        if process.poll() is not None:
            raise SystemExit(f"s3: {self.prefix}: over before anything was done to it\n{self.log()[-3000:]}")

    def records(self):
        """The job log. Before it begins the place is only looked at, which waits for no outage."""
        return self.client.list(f"{self.prefix}/checkpoints/on-s3/log/")

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
        code = process.wait(timeout=240)
        if code == 0:
            return killed
        if code != -signal.SIGKILL:
            raise SystemExit(f"s3: {trial.prefix}: exit code {code}\n{trial.log()[-3000:]}")


def merged(plain, trial, chance, expected, count, took):
    """Small files are merged before they show: fewer files, the same rows, whatever dies."""
    whole = trial("merged")
    whole.finish(whole.start())
    whole.exact(expected, "merged files")
    files = {sink: (whole.files()[sink], number) for sink, number in plain.files().items()}
    if any(few >= many for few, many in files.values()):
        raise SystemExit(f"s3: merged files are not fewer: {files}")
    done = runs = 0
    while done < count:
        runs += 1
        killed = trial(f"merged-kills{runs}")
        done += kills(killed, chance, count - done, max(took * 0.7, 0.5))
        killed.exact(expected, f"merged files, run {runs} after {done} kills")
    print(f"s3: files merged: {files}, fewer than without; {done} kills in {runs} runs: exact, nothing left over", flush=True)


def refused(trial, what, words, environment, options=(), within=90):
    """The job does not begin, and says why."""
    began = time.time()
    command = [trial.binary, "run", "on-s3.sql", "--quiet", *(options or trial.options)]
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

    def command(words, *said):
        done = subprocess.run(
            [trial.binary, *words], cwd=trial.folder, env=environment, capture_output=True, text=True, timeout=60
        )
        missing = [word for word in said if word not in done.stdout + done.stderr]
        if done.returncode != 0 or missing:
            raise SystemExit(f"s3: {words}: not said: {missing}\n{done.stdout}{done.stderr}")

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
    command(["snapshots", "gc", "--dry-run", place], *said, "3 would be removed")
    if len(trial.client.uploads(folder)) != 1:
        raise SystemExit("s3: gc --dry-run removed something")
    command(["snapshots", "gc", place], *said, "3 removed")
    command(["snapshots", "gc", place], "0 removed")
    if trial.client.uploads(folder) or other not in "".join(trial.client.list(f"{folder}/data/")):
        raise SystemExit("s3: gc did not remove what is left over, or removed another job's")
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


def restarts(make, server, expected):
    """Everything is denied for longer than it is tried: a job with a restart strategy goes on, and one without ends."""
    with fault_proxy.in_front_of(server.endpoint) as proxy:
        often = ["--set", "execution.checkpointing.interval=100ms"]
        strategy = ["--set", "restart-strategy.type=exponential-delay"]
        without, with_one = make("without-restarts"), make("with-restarts")
        processes = [without.start(endpoint=proxy.endpoint, more=often), with_one.start(endpoint=proxy.endpoint, more=often + strategy)]
        for one, process in zip((without, with_one), processes):
            one.until(lambda: any(b'"complete"' in one.client.get(key) for key in one.records()), process)
        proxy.denying = True
        if processes[0].wait(timeout=60) != 1 or "error: " not in without.log() or "restarting" in without.log():
            raise SystemExit(f"s3: without a restart strategy the job must end\n{without.log()[-3000:]}")
        with_one.until(lambda: "attempt 2: " in with_one.log(), processes[1])
        proxy.denying = False
        with_one.finish(processes[1])
        log = with_one.log()
        if "goes on from checkpoint" not in log:
            raise SystemExit(f"s3: the job did not go on from a checkpoint\n{log[-3000:]}")
        with_one.exact(expected, "begun again")
        print(f"s3: denied: {log.count('restarting in')} restarts, exact; without a strategy: the end", flush=True)


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
        merged(undisturbed, lambda what: trial(jobs[1], what, sink_options=MERGED), chance, jobs[1][4], arguments.kills // 2, took)
        look(undisturbed, jobs[1][4])
        refusals(undisturbed)
        join = jobs[1]
        encryption(lambda what: trial(join, what), server, join[4])
        clocks(lambda what: trial(join, what), server, join[4])
        restarts(lambda what: trial(join, what), server, join[4])

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

        # Two outages at once, of two kinds, so that the test takes one minute and not two.
        with fault_proxy.in_front_of(server.endpoint, arguments.seed) as proxy:
            jobs_in_outage = [trial(join, "frozen"), trial(join, "refused")]
            processes = [jobs_in_outage[0].start(), jobs_in_outage[1].start(endpoint=proxy.endpoint)]
            for waiting, process in zip(jobs_in_outage, processes):
                waiting.until(lambda: waiting.records(), process)
            proxy.refusing = True
            server.pause()
            time.sleep(30)
            server.stop()
            time.sleep(30)
            server.start()
            proxy.refusing = False
            for waiting, process in zip(jobs_in_outage, processes):
                waiting.finish(process)
                waiting.exact(join[4], f"{waiting.prefix} for a minute")
            print("s3: away for a minute, standing still and then ended: jobs went on, exact", flush=True)
    print(f"s3: all passed in {time.time() - began:.0f} s")


if __name__ == "__main__":
    main()
