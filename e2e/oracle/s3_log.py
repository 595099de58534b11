"""The whole life of a job log on a real S3 server: each schedule of starts, deaths, outages and late writers ends with exact rows.

Processes that claim at once, a claim while another reigns, a process that stood still while others went on, output whose commits lag
behind several checkpoints, a start from an older checkpoint; and a log and state files that do not grow for ever.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))

import fault_proxy  # noqa: E402
import s3  # noqa: E402
from common import LIMIT, Over, in_time  # noqa: E402
from s3_client import Client  # noqa: E402

ROWS, RATE, INTERVAL, RETAINED = 120_000, 20_000, "200ms", 3

SCRIPT = """
CREATE TABLE input (id BIGINT, k BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '{rate}', 'number-of-rows' = '{rows}',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '{rows}', 'fields.k.min' = '0', 'fields.k.max' = '99');
CREATE TABLE names (k BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '100',
  'fields.k.kind' = 'sequence', 'fields.k.start' = '0', 'fields.k.end' = '99');
CREATE TABLE output (id BIGINT, k BIGINT) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json');
INSERT INTO output SELECT i.id, n.k FROM input AS i JOIN names AS n ON i.k = n.k;
"""


class Job:
    """A job whose checkpoints and rows lie in a part of the bucket of its own; any number of processes may run it."""

    def __init__(self, binary, top, name, server):
        self.binary, self.name, self.server = binary, name, server
        self.folder = top / name
        self.folder.mkdir()
        self.client = Client(server.endpoint, s3.KEY, s3.SECRET, s3.BUCKET)
        path = f"s3://{s3.BUCKET}/{name}/output"
        (self.folder / "job.sql").write_text(SCRIPT.format(rate=RATE, rows=ROWS, path=path))
        self.logs, self.processes, self.late_term = 0, [], None
        # How many checkpoints are kept, and which rows come once more since the job went back to before them.
        self.retained, self.again = RETAINED, []

    def start(self, *more, endpoint=None, parallelism="2"):
        command = [self.binary, "run", "job.sql", "--quiet", "--parallelism", parallelism, *more]
        command += ["--checkpoints", f"s3://{s3.BUCKET}/{self.name}/checkpoints"]
        command += ["--set", f"execution.checkpointing.interval={INTERVAL}"]
        command += ["--set", f"execution.checkpointing.num-retained={self.retained}"]
        environment = os.environ | self.server.environment()
        if endpoint:
            environment["AWS_ENDPOINT_URL"] = endpoint
        self.logs += 1
        log = self.folder / f"log{self.logs}.txt"
        with open(log, "w") as file:
            process = subprocess.Popen(command, cwd=self.folder, stdout=file, stderr=file, env=environment)
        process.log = log
        self.processes.append(process)
        return process

    def end(self):
        """Nothing of it runs on, whatever happened."""
        for process in self.processes:
            kill(process)

    def fail(self, text):
        logs = "".join(f"--- {log.name}\n{log.read_text()[-1500:]}\n" for log in sorted(self.folder.glob("log*.txt")))
        raise SystemExit(f"s3 log: {self.name}: {text}\n{logs}")

    def records(self):
        """Number and content of every record, in order. One that is deleted meanwhile is left out."""
        found = {}
        for key in self.client.list(f"{self.name}/checkpoints/job/log/"):
            try:
                found[int(key.rsplit("/", 1)[1])] = json.loads(self.client.get(key))["record"]
            except OSError:
                continue
        return dict(sorted(found.items()))

    def epochs(self, kind):
        return [record.get("snapshot", record)["epoch"] for record in self.records().values() if record["type"] == kind]

    def until(self, what, said, process=None):
        """Waits for what a process must show; gives it. Records that are deleted while they are read show nothing: once more."""
        deadline = time.time() + LIMIT
        while not (shown := said()):
            if process is not None and process.poll() is not None:
                self.not_over(process, what)
                self.fail(f"exit code {process.returncode} before {what}")
            if time.time() > deadline:
                self.fail(f"not within {LIMIT} s: {what}")
            time.sleep(0.05)
        return shown

    def not_over(self, process, what):
        """It must not have come to the end of the rows."""
        if process.returncode == 0:
            raise Over(f"s3 log: {self.name}: the rows ran out before {what}")

    def complete(self, process, above=0):
        """Waits for a checkpoint; gives the newest."""
        found = lambda: [epoch for epoch in self.epochs("complete") if epoch > above]
        return max(self.until(f"a checkpoint above {above}", found, process))

    def finish(self, process):
        if process.wait(timeout=LIMIT) != 0:
            self.fail(f"exit code {process.returncode}")

    def taken(self, process):
        """While there are rows, another takes its place."""
        process.wait(timeout=LIMIT)
        self.not_over(process, "its place was taken")
        self.fenced(process)

    def fenced(self, process):
        """It ends by itself, and says that another took its place."""
        code = process.wait(timeout=LIMIT)
        if code != 1 or "took over" not in process.log.read_text():
            self.fail(f"exit code {code} of a process whose place was taken: {process.log.name}")

    def collect(self, said):
        """Removes what is left over: of one thing it is told so."""
        command = [self.binary, "snapshots", "gc", f"s3://{s3.BUCKET}/{self.name}/checkpoints/job"]
        environment = os.environ | self.server.environment()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT)
        if done.returncode != 0 or not any(line.startswith(said) for line in done.stdout.splitlines()):
            self.fail(f"gc: exit code {done.returncode}, not said: {said}\n{done.stdout}{done.stderr}")

    def rows_in(self, key):
        return [json.loads(line)["id"] for line in self.client.get(key).splitlines()]

    def retained_now(self):
        """The snapshots that are not retired, by the number of their record."""
        records = self.records()
        retired = {record["epoch"] for record in records.values() if record["type"] == "retire"}
        complete = {number: record["snapshot"] for number, record in records.items() if record["type"] == "complete"}
        return {number: snapshot for number, snapshot in complete.items() if snapshot["epoch"] not in retired}

    def rows_are_exact(self):
        """Every row once but for those that must come again."""
        rows = [row for key in self.client.list(f"{self.name}/output/") for row in self.rows_in(key)]
        if sorted(rows) != sorted([*range(1, ROWS + 1), *self.again]):
            self.fail(f"{len(rows)} rows, {len(set(rows))} different, of {ROWS} and {len(self.again)} again")

    def exact(self, runs):
        """The rows are right, nothing is left over, and no more is kept than is retained."""
        self.rows_are_exact()
        hidden = [key for key in self.client.list(f"{self.name}/") if "/." in key]
        uploads = [key for key in self.client.uploads(f"{self.name}/") if f"-{self.late_term}-" not in key]
        if hidden or uploads:
            self.fail(f"left over: objects {hidden}, uploads {uploads}")
        records = self.records()
        numbers = list(records)
        completes = [record for record in records.values() if record["type"] == "complete"]
        # A checkpoint has two records of its own, and retired ones are named once.
        most = 4 * self.retained + 4 * runs
        if numbers != list(range(numbers[0], numbers[-1] + 1)) or numbers[0] == 0 or len(numbers) > most:
            self.fail(f"records {numbers}: with gaps, none deleted, or more than {most}")
        if list(records.values())[-1]["type"] != "end":
            self.fail(f"the log does not end: {[record['type'] for record in records.values()]}")
        named = json.dumps(completes)
        files = self.client.list(f"{self.name}/checkpoints/job/data/")
        orphans = [key for key in files if key.rsplit("/", 1)[1] not in named]
        if orphans:
            self.fail(f"state files that no checkpoint names: {orphans}")
        return len(numbers), numbers[-1] + 1


def kill(process):
    process.kill()
    process.wait()


def claims_at_once(job):
    """Three times two processes begin at the same moment: one reigns, the other is told, and the loser's death harms nothing."""
    epoch = 0
    for _ in range(3):
        both = [job.start(), job.start()]
        job.until("one of two is told", lambda: any(process.poll() is not None for process in both))
        loser = next(process for process in both if process.poll() is not None)
        winner = next(process for process in both if process is not loser)
        job.taken(loser)
        epoch = job.complete(winner, epoch)
        kill(winner)
    job.finish(job.start())
    return 7


def taken_over(job):
    """A process begins while another reigns, again and again: the older one stops by itself."""
    first = job.start()
    epoch = job.complete(first)
    for parallelism in ["1", "3", "2"]:
        second = job.start(parallelism=parallelism)
        job.taken(first)
        epoch = job.complete(second, epoch)
        first = second
    job.finish(first)
    return 4


def stood_still(job):
    """A process stands still while others go on, finish and delete old records. When it wakes it writes nothing that counts."""
    first = job.start()
    epoch = job.complete(first)
    os.kill(first.pid, signal.SIGSTOP)
    second = job.start()
    epoch = job.complete(second, epoch + 3)
    kill(second)
    third = job.start()
    job.complete(third, epoch + 3)
    os.kill(first.pid, signal.SIGCONT)
    job.fenced(first)
    job.finish(third)
    return 3


def stood_still_till_the_end(job):
    """As before, but it wakes when the job has ended: no start comes that could remove what it wrote, so `snapshots gc` does. Output
    that it has uploaded stays hidden."""
    first = job.start()
    job.complete(first)
    os.kill(first.pid, signal.SIGSTOP)
    job.finish(job.start())
    rows = len(job.client.list(f"{job.name}/output/"))
    os.kill(first.pid, signal.SIGCONT)
    job.fenced(first)
    if len(job.client.list(f"{job.name}/output/")) != rows:
        job.fail("a process wrote output after the end")
    job.late_term = 1
    job.collect("delete log/")
    return 2


def commits_lag(job):
    """Output cannot be committed for several checkpoints, and the process dies: the next start commits what the log lists."""
    with fault_proxy.in_front_of(job.server.endpoint) as proxy:
        proxy.hits = lambda method, path: method == "POST" and f"/{job.name}/output/" in path and "uploadId=" in path
        process = job.start(endpoint=proxy.endpoint)
        epoch = job.complete(process)
        proxy.unavailable = 1.0
        committed = max(job.epochs("committed"), default=0)
        job.complete(process, max(epoch, committed) + 4)
        kill(process)
        lag = job.complete(None) - max(job.epochs("committed"), default=0)
        if lag < 3:
            job.fail(f"commits lagged {lag} checkpoints only")
        # Once more, in vain: it dies in its restore, before anything is committed.
        before = proxy.counts["unavailable"]
        process = job.start(endpoint=proxy.endpoint)
        job.until("a restore that cannot commit", lambda: proxy.counts["unavailable"] > before + 3, process)
        kill(process)
    job.finish(job.start())
    return 3


def gone_back(job):
    """The job goes back to the oldest checkpoint that is kept, and is killed. What was shown behind that one comes once more, and
    nothing else; the checkpoints that it went back behind are retired."""
    job.retained = 6
    process = job.start()
    job.until("enough checkpoints", lambda: len(job.retained_now()) >= job.retained, process)
    process.send_signal(signal.SIGTERM)
    job.finish(process)
    kept = job.retained_now()
    base, newest = kept[min(kept)], kept[max(kept)]
    later = {
        transaction["handle"]["path"] for snapshot in kept.values() for transaction in snapshot["transactions"]
        if transaction["epoch"] > base["epoch"]
    }
    shown = {f"s3://{s3.BUCKET}/{key}": key for key in job.client.list(f"{job.name}/output/")}
    again = [row for path, key in shown.items() if path in later for row in job.rows_in(key)]
    before = sum(len(job.rows_in(key)) for path, key in shown.items() if path not in later)
    if not again or not before or before + len(again) >= ROWS:
        raise Over(f"s3 log: {job.name}: {before} rows before the checkpoint and {len(again)} behind it, of {len(later)} files")
    number, job.again = min(kept), again
    process = job.start("--from-savepoint", f"s3://{s3.BUCKET}/{job.name}/checkpoints/job/log/{number:020}", parallelism="3")
    # Its own first checkpoint may come sooner than anybody looks, and removes the record of its start.
    job.until("it begins from there", lambda: max(job.epochs("complete"), default=0) > newest["epoch"] or any(
        record["type"] == "start" and record.get("base") and record["base"]["epoch"] == base["epoch"]
        for record in job.records().values()
    ), process)
    kill(process)
    # The next ones go on from there and not from what is newer.
    process = job.start(parallelism="1")
    job.complete(process, newest["epoch"])
    kill(process)
    job.finish(job.start())
    old = [snapshot["epoch"] for snapshot in job.retained_now().values() if snapshot["epoch"] <= newest["epoch"]]
    if old:
        job.fail(f"checkpoints that were superseded are kept: {old}")
    return 4


SCHEDULES = [claims_at_once, taken_over, stood_still, stood_still_till_the_end, commits_lag, gone_back]


def run(binary, top, schedule, server, turn):
    """Gives how many records are kept of how many, when a job has gone through a schedule."""
    name = schedule.__name__.replace("_", "-")
    job = Job(binary, top, f"{name}-{turn}" if turn else name, server)
    try:
        return job.exact(schedule(job))
    except Over:
        # However early it was over, no process may have done harm.
        job.end()
        job.finish(job.start())
        job.rows_are_exact()
        raise
    finally:
        job.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--only", default="", help="the name of one schedule")
    arguments = parser.parse_args()
    binary = str(pathlib.Path(arguments.bin).resolve())
    began = time.time()
    with tempfile.TemporaryDirectory() as top, s3.running() as server:
        for schedule in SCHEDULES:
            if arguments.only not in schedule.__name__:
                continue
            since = time.time()
            kept, records = in_time(lambda turn: run(binary, pathlib.Path(top), schedule, server, turn), turns=3)
            took = time.time() - since
            print(f"s3 log: {schedule.__name__}: exact, {kept} of {records} records kept ({took:.0f} s)", flush=True)
    print(f"s3 log: all passed in {time.time() - began:.0f} s")


if __name__ == "__main__":
    main()
