"""Gives the binary bad input and bad luck: every refusal has its exit code and says what is wrong, where, and what to do.

Cases that need more than a file run a job of their own: the join of two numbered streams, whose result is every number once.
All cases run, then the failed ones are listed. Needs root, for a small file system that fills up and for another user.
"""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import textwrap
import time

from common import LIMIT, Over, in_time

HEAD = "apiVersion: streamfleet.io/v1alpha1\nkind: StreamJob\nmetadata: {name: a}\nspec:\n  job:\n"
TABLES = (
    "CREATE TABLE s (a BIGINT, b STRING) WITH ('connector' = 'datagen', 'number-of-rows' = '5');\n"
    "CREATE TABLE p (a BIGINT) WITH ('connector' = 'print');\n"
)
FILES = (
    "CREATE TABLE s (a BIGINT, b STRING) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json'{more});\n"
    "CREATE TABLE o (a BIGINT, b STRING) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');\n"
    "INSERT INTO o SELECT a, b FROM s;\n"
)

# name, file, its text (None: there is no file), exit code, what the message must hold.
BAD_FILES = [
    ("malformed YAML", "a.yaml", "apiVersion: [\nkind", 2, ["a.yaml", "line 1, column"]),
    ("unknown field", "a.yaml", HEAD + "    sql: x\n    paralelism: 2\n", 2,
     ["a.yaml", "line 7, column 5", "`paralelism`", "did you mean `parallelism`"]),
    ("wrong apiVersion", "a.yaml", HEAD.replace("v1alpha1", "v9") + "    sql: x\n", 2,
     ["a.yaml", "line 1, column 1", "streamfleet.io/v9", "this build knows `streamfleet.io/v1alpha1`"]),
    ("missing job file", "gone.yaml", None, 2, ["cannot read gone.yaml", "No such file"]),
    ("missing sqlFrom file", "a.yaml", HEAD + "    sqlFrom: {file: none.sql}\n", 2, ["a.yaml", "none.sql", "sqlFrom"]),
    ("SQL syntax", "a.sql", TABLES + "INSERT INTO p SELEC a FROM s;", 2, ["a.sql", "line 3, column 15", "syntax error", "SELEC"]),
    ("unknown table", "a.sql", TABLES + "INSERT INTO p SELECT a FROM ss;", 2,
     ["a.sql", "line 3, column 29", "no table `ss`", "did you mean `s`"]),
    ("unknown column", "a.sql", TABLES + "INSERT INTO p SELECT aa FROM s;", 2,
     ["line 3, column 22", "no column `aa`", "did you mean `a`"]),
    ("unknown function", "a.sql", TABLES + "INSERT INTO p SELECT ABSS(a) FROM s;", 2,
     ["line 3, column 22", "no function `abss`", "did you mean `abs`"]),
    ("unknown option", "a.sql", TABLES.replace("number-of-rows", "number-of-row"), 2,
     ["line 1, column", "no option `number-of-row`", "'datagen'", "did you mean `number-of-rows`"]),
    ("unknown connector", "a.sql", TABLES.replace("datagen", "datagan"), 2,
     ["line 1, column", "no connector `datagan`", "did you mean `datagen`"]),
    ("type mismatch", "a.sql", TABLES + "INSERT INTO p SELECT b FROM s;", 2,
     ["line 3, column 13", "column `a` cannot take", "query: [b", "table: [a"]),
    ("unknown setting", "a.sql", "SET 'parallelism.defualt' = '2';\n" + TABLES, 2,
     ["a.sql", "line 1, column 5", "no option `parallelism.defualt`", "did you mean `parallelism.default`"]),
    ("unusable setting", "a.yaml", HEAD + "    sql: x\n    config:\n      table.exec.state.ttl: 1 d\n", 2,
     ["a.yaml", "line 8, column 7", "table.exec.state.ttl", "state does not expire"]),
    ("error in inline SQL", "a.yaml", HEAD + "    sql: |\n" + textwrap.indent(TABLES, "      ") + "      INSERT INTO p SELECT aa FROM s;\n", 2,
     ["a.yaml", "line 9, column 28", "no column `aa`"]),
    ("suspended", "a.yaml", HEAD + "    sql: x\n    state: suspended\n", 2, ["a.yaml", "line 7, column 5", "`suspended`", "`running`"]),
    ("another state backend", "a.yaml", HEAD + "    sql: x\n  state: {backend: rocksdb}\n", 2,
     ["a.yaml", "line 7, column 11", "`rocksdb`", "use `memory`"]),
    ("snapshots elsewhere", "a.sql", "SET 'execution.checkpointing.dir' = 'gs://bucket/a';\n" + TABLES + "INSERT INTO p SELECT a FROM s;",
     2, ["gs://bucket/a", "not at `gs://`"]),
    ("snapshots in no bucket", "a.sql", "SET 'execution.checkpointing.dir' = 's3:///a';\n" + TABLES + "INSERT INTO p SELECT a FROM s;",
     2, ["s3:///a", "a bucket is needed: s3://bucket/folder"]),
    ("half of the credentials", "a.sql", "SET 's3.secret-key' = 'hidden';\n" + TABLES + "INSERT INTO p SELECT a FROM s;",
     2, ["s3.access-key and s3.secret-key go together", "AWS_SECRET_ACCESS_KEY"]),
    ("option that does not fit", "a.sql", TABLES.replace("'number-of-rows' = '5'", "'rows-per-second' = '0'") + "INSERT INTO p SELECT a FROM s;",
     2, ["table s: option 'rows-per-second' = '0'"]),
    ("NULL in a NOT NULL column", "a.sql", TABLES.replace("(a BIGINT) WITH", "(a BIGINT NOT NULL) WITH") + "INSERT INTO p SELECT NULLIF(a, a) FROM s;",
     1, ["column `a` is NOT NULL, but a row has NULL there"]),
    ("report nowhere", "a.sql", TABLES + "INSERT INTO p SELECT a FROM s;", 2, ["cannot write none/r.json"]),
    ("missing data file", "a.sql", FILES.format(path="none.json", more=""), 1, ["none.json", "check the option 'path'"]),
    ("undecodable record", "a.sql", FILES.format(path="in.json", more=""), 1, ["in.json, line 3, byte 32", "scan.errors"]),
    ("undecodable record and restarts", "a.sql", "SET 'restart-strategy.type' = 'exponential-delay';" + FILES.format(path="in.json", more=""),
     1, ["not begun again: another run would fail in the same way", "in.json, line 3, byte 32"]),
    ("missing data file and restarts", "a.sql", "SET 'restart-strategy.type' = 'exponential-delay';" + FILES.format(path="none.json", more=""),
     1, ["not begun again: it was refused before its first checkpoint", "none.json"]),
]
RECORDS = '{"a":1,"b":"x"}\n{"a":2,"b":"y"}\n{"a":oops}\n{"a":3,"b":"z"}\n'

ROWS = 6000
JOIN = """
CREATE TABLE l (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '4000',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '{rows}');
CREATE TABLE r (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '4000',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '{rows}');
CREATE TABLE o (id BIGINT) WITH ('connector' = 'filesystem', 'path' = '{out}', 'format' = 'json');
INSERT INTO o SELECT l.id FROM l JOIN r ON l.id = r.id;
"""


class Wrong(Exception):
    """A case did not go as it must."""


class Trial:
    """A folder with the join in it, and ways to run it."""

    def __init__(self, binary, folder, out="out", checkpoints="checkpoints"):
        folder.mkdir()
        self.binary, self.folder, self.out, self.checkpoints = binary, folder, out, checkpoints
        (folder / "j.sql").write_text(JOIN.format(rows=ROWS, out=out))

    def command(self, *more, interval="50ms"):
        command = [self.binary, "run", "j.sql", "--quiet", "--parallelism", "2", "--checkpoints", self.checkpoints]
        return [*command, "--set", f"execution.checkpointing.interval={interval}", *more]

    def start(self, *more, **how):
        return subprocess.Popen(self.command(*more, **how), cwd=self.folder, stderr=subprocess.PIPE, text=True)

    def run(self, *more):
        return finish(self.start(*more))

    def stopped(self):
        """Runs until a checkpoint is complete, and stops with a last one."""
        process = self.start()
        self.begun(process)
        process.send_signal(signal.SIGTERM)
        result = finish(process)
        not_over(result)
        expect(result, 0, ["stopped with a checkpoint"])
        return self

    @property
    def log(self):
        return self.folder / self.checkpoints / "j" / "log"

    def begun(self, process):
        """Waits for its first complete checkpoint."""
        wait("a complete checkpoint", lambda: any(record["type"] == "complete" for record in self.records()), process)

    def killed(self):
        """Kills a run when its newest checkpoint has a state file of its own; gives that file.

        The run stands still while it is looked at: nothing that is found is retired meanwhile.
        """
        process = self.start(interval="300ms")

        def found():
            process.send_signal(signal.SIGSTOP)
            # Until all its threads stand still, or it has ended.
            which = os.WSTOPPED | os.WEXITED | os.WNOWAIT
            if process.returncode is not None or os.waitid(os.P_PID, process.pid, which).si_code != os.CLD_STOPPED:
                return None
            path = self.newest()
            process.send_signal(signal.SIGKILL if path else signal.SIGCONT)
            return path

        path = wait("a newest checkpoint with a state file of its own", found, process)
        process.communicate()
        return path

    def records(self):
        """The records of its log that can be read now, in order."""
        found = []
        for path in sorted(self.log.iterdir()) if self.log.exists() else []:
            try:
                found.append(json.loads(path.read_text())["record"])
            except (FileNotFoundError, json.JSONDecodeError):
                continue
        return found

    def newest(self):
        """A state file that the newest complete checkpoint names and the one before does not, if there is one; none of a job at
        its end, which loads no state any more."""
        records = self.records()
        found = [[file["path"] for file in record["snapshot"]["files"]] for record in records if record["type"] == "complete"]
        if len(found) < 2 or records[-1]["type"] == "end":
            return None
        names = [name for name in found[-1] if name not in found[-2]]
        return self.folder / self.checkpoints / "j" / names[0] if names else None

    def rows(self):
        rows = collections.Counter()
        for path in (self.folder / self.out).glob("*.json"):
            rows.update(json.loads(line)["id"] for line in path.read_text().splitlines())
        return rows

    def exact(self):
        rows = self.rows()
        missing, twice = ROWS - len(rows), sum(n - 1 for n in rows.values())
        if missing or twice:
            raise Wrong(f"{missing} rows missing, {twice} too many")


def finish(process):
    try:
        _, text = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Wrong(f"it did not end within {LIMIT} s") from None
    return process.returncode, text


def not_over(result):
    """The job must not have come to its end by itself."""
    if result[0] == 0 and ": finished: " in result[1]:
        raise Over(result[1].strip()[-400:])


def wait(what, found, process):
    """Waits for what a running job must show; gives it."""
    deadline = time.time() + LIMIT
    while not (it := found()):
        if process.poll() is not None:
            result = finish(process)
            not_over(result)
            raise Wrong(f"exit code {result[0]} before {what}:\n      {result[1].strip()[-400:]}")
        if time.time() > deadline:
            process.kill()
            process.communicate()
            raise Wrong(f"not within {LIMIT} s: {what}")
        time.sleep(0.02)
    return it


def under_way(binary, folder, act):
    """Gives what `act` gives, to which a join is given that it runs, and disturbs before its end."""
    folder.mkdir()
    return in_time(lambda turn: act(Trial(binary, folder / f"turn{turn}")))


def expect(result, code, parts):
    found, text = result
    missing = [part for part in parts if part not in text]
    if found != code or missing:
        raise Wrong(f"exit code {found}, expected {code}; the message lacks {missing}:\n      {text.strip()[-400:]}")


def bad_file(binary, folder, file, text, code, parts):
    folder.mkdir()
    (folder / "in.json").write_text(RECORDS)
    if text is not None:
        (folder / file).write_text(text)
    report = ["--report", "none/r.json"] if "cannot write none/r.json" in parts else []
    process = subprocess.Popen([binary, "run", file, "--quiet", *report], cwd=folder, stderr=subprocess.PIPE, text=True)
    expect(finish(process), code, parts)


def skipped_record(binary, folder):
    folder.mkdir()
    (folder / "in.json").write_text(RECORDS)
    (folder / "a.sql").write_text(FILES.format(path="in.json", more=", 'scan.errors' = 'skip'"))
    process = subprocess.Popen([binary, "run", "a.sql", "--quiet"], cwd=folder, stderr=subprocess.PIPE, text=True)
    expect(finish(process), 0, ["3 rows in, 3 out", "1 skipped"])
    lines = [json.loads(line) for path in (folder / "out").glob("*.json") for line in path.read_text().splitlines()]
    if sorted(row["a"] for row in lines) != [1, 2, 3]:
        raise Wrong(f"the good rows are not all there: {lines}")


def kept_record(binary, folder):
    folder.mkdir()
    (folder / "in.json").write_text(RECORDS)
    more = ", 'scan.errors' = 'dead-letter', 'scan.errors.dead-letter.path' = 'dead'"
    (folder / "a.sql").write_text(FILES.format(path="in.json", more=more))
    process = subprocess.Popen([binary, "run", "a.sql", "--quiet"], cwd=folder, stderr=subprocess.PIPE, text=True)
    expect(finish(process), 0, ["3 rows in, 3 out", "1 skipped"])
    letters = [json.loads(line) for path in (folder / "dead").iterdir() for line in path.read_text().splitlines()]
    places = [(letter["file"], letter["line"], letter["byte"], letter["text"]) for letter in letters]
    if places != [("in.json", 3, 32, '{"a":oops}')]:
        raise Wrong(f"the bad record was not kept aside: {letters}")


MONITORED = """
CREATE TABLE s (id BIGINT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json',
  'source.monitor-interval' = '100 ms', 'source.path.regex-pattern' = 'in/.*[.]json');
CREATE TABLE o (id BIGINT, part BIGINT) PARTITIONED BY (part) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
INSERT INTO o SELECT id, id % 3 FROM s;
"""


def monitored_folder(binary, folder):
    """New files are found while the job runs and while it does not, and each is read once at any parallelism."""
    (folder / "in").mkdir(parents=True)
    (folder / "a.sql").write_text(MONITORED)
    (folder / "in" / "notes.txt").write_text("not a record")
    given = 0

    def shown():
        rows = collections.Counter()
        for path in (folder / "out").glob("part=*/part-*.csv"):
            part = int(path.parent.name.removeprefix("part="))
            rows.update((int(line), part) for line in path.read_text().splitlines())
        return rows

    def all_shown(process):
        wait(f"{given} rows shown", lambda: len(shown()) >= given, process)

    for parallelism in (2, 3, 1):
        command = [binary, "run", "a.sql", "--quiet", "--parallelism", str(parallelism), "--checkpoints", "checkpoints"]
        command += ["--set", "execution.checkpointing.interval=100ms"]
        for is_running in (False, True):
            if is_running:
                process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
                all_shown(process)
            for _ in range(20):
                hidden = folder / "in" / ".hidden"
                hidden.write_text(json.dumps({"id": given}))
                hidden.rename(folder / "in" / f"{given % 7}-{given}.json")
                given += 1
        all_shown(process)
        if parallelism == 2:
            process.kill()
            process.communicate()
        else:
            process.send_signal(signal.SIGTERM)
            expect(finish(process), 0, ["stopped with a checkpoint"])
    rows = shown()
    if rows != collections.Counter((n, n % 3) for n in range(given)):
        raise Wrong(f"{len(rows)} of {given} rows, {sum(rows.values()) - len(rows)} too many")


def disk_full(binary, folder, **places):
    trial = Trial(binary, folder, **places)
    with small_disk(folder) as enlarge:
        expect(trial.run(), 1, ["No space left on device", "free", "start the job again"])
        enlarge()
        expect(trial.run(), 0, ["finished"])
        trial.exact()


def full_output(binary, folder):
    disk_full(binary, folder, out="full/out")


def full_checkpoints(binary, folder):
    disk_full(binary, folder, checkpoints="full/checkpoints")


@contextlib.contextmanager
def small_disk(folder):
    """A disk that is full soon; gives what makes it larger."""
    full = folder / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", full], check=True)
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=64m", full], check=True)
    finally:
        subprocess.run(["umount", full], check=True)


@contextlib.contextmanager
def restarting(binary, folder, *strategy):
    """A job with a restart strategy on a small disk: its process, what it has said, and what makes the disk larger."""
    trial = Trial(binary, folder, out="full/out")
    command = trial.command(*(part for option in strategy for part in ("--set", f"restart-strategy.{option}")))
    with small_disk(folder) as enlarge, open(folder / "log.txt", "w") as log:
        process = subprocess.Popen(command, cwd=folder, stderr=log)
        try:
            yield trial, process, lambda: (folder / "log.txt").read_text(), enlarge
        finally:
            process.kill()
            process.wait()


def until(said, text):
    deadline = time.time() + LIMIT
    while text not in said():
        if time.time() > deadline:
            raise Wrong(f"it did not say {text}: {said()[-600:]}")
        time.sleep(0.05)


def begun_again(binary, folder):
    """A job with a restart strategy tells each failure once, and goes on when the disk has room."""
    strategy = ["type=exponential-delay", "exponential-delay.initial-backoff=200ms"]
    with restarting(binary, folder, *strategy) as (trial, process, said, enlarge):
        until(said, "attempt 2: ")
        if not re.search(r"j: restarting in 0[.]2 s, attempt 1: .*No space left on device", said()):
            raise Wrong(f"it does not say that it is begun again: {said()}")
        enlarge()
        expect((process.wait(timeout=LIMIT), said()), 0, ["finished"])
        if "error: " in said():
            raise Wrong(f"a failure that was mended is told as the end: {said()}")
        trial.exact()


def stopped_in_a_pause(binary, folder):
    with restarting(binary, folder, "type=fixed-delay", "fixed-delay.delay=1 h") as (_, process, said, _):
        until(said, "restarting in 3600.0 s")
        process.send_signal(signal.SIGTERM)
        expect((process.wait(timeout=LIMIT), said()), 0, ["stopped while it waited to be begun again"])


def damaged(binary, folder, damage):
    """The advice must be a command line option; with it, the job must end with every row there.

    Rows that the lost checkpoint had already made visible come again: that is what going back means.
    """
    trial, path = under_way(binary, folder, lambda trial: (trial, trial.killed()))
    damage(path)
    code, text = trial.run()
    expect((code, text), 1, [path.name, "--from-savepoint"])
    advice = re.search(r"--from-savepoint[= ]['\"`]?([^\s'\"`,;]+)", text)
    expect(trial.run("--from-savepoint", advice.group(1)), 0, ["finished"])
    if len(trial.rows()) != ROWS:
        raise Wrong(f"{ROWS - len(trial.rows())} rows missing after going back")


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def corrupt_state(binary, folder):
    damaged(binary, folder, flip)


def missing_state(binary, folder):
    damaged(binary, folder, pathlib.Path.unlink)


def corrupt_log(binary, folder):
    trial = under_way(binary, folder, Trial.stopped)
    record = sorted(trial.log.iterdir())[-1]
    record.write_text("{ not a record")
    expect(trial.run(), 1, [record.name, "log"])


def two_runs(binary, folder):
    def act(trial):
        older = trial.start()
        trial.begun(older)
        newer = trial.start()
        result = finish(older)
        expect(finish(newer), 0, ["finished"])
        trial.exact()
        not_over(result)
        expect(result, 1, ["took over", "run 2"])

    under_way(binary, folder, act)


def foreign_savepoint(binary, folder):
    """A job that begins where another stopped writes the rest, once; and only its first start may do so."""
    trial = under_way(binary, folder, Trial.stopped)
    folder = trial.folder
    record = [p for p in sorted(trial.log.iterdir()) if '"complete"' in p.read_text()][-1]
    files = json.loads(record.read_text())["record"]["snapshot"]["files"]
    shutil.copy(folder / "j.sql", folder / "k.sql")
    command = [part if part != "j.sql" else "k.sql" for part in trial.command("--from-savepoint", str(record))]

    def clone():
        return finish(subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True))

    data = folder / trial.checkpoints / "j" / files[-1]["path"]
    data.rename(data.with_suffix(".away"))
    expect(clone(), 2, [record.name, "the other job has retired this checkpoint", data.name])
    data.with_suffix(".away").rename(data)
    expect(clone(), 0, ["of job j", "files of state are copied", "finished"])
    trial.exact()
    expect(clone(), 2, [record.name, "the job has begun already", "without --from-savepoint"])
    left = subprocess.run([binary, "snapshots", "gc", "--dry-run", "checkpoints/k"], cwd=folder, capture_output=True, text=True)
    if left.stdout.splitlines() != ["0 would be removed"]:
        raise Wrong(f"copies of the clone that failed are left over:\n{left.stdout}{left.stderr}")


def no_permission(binary, folder):
    trial = Trial(binary, folder)
    (folder / "checkpoints").mkdir(mode=0o755)
    other = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    process = subprocess.Popen([*other, *trial.command()], cwd=folder, stderr=subprocess.PIPE, text=True)
    expect(finish(process), 1, ["checkpoint place", "checkpoints", "Permission denied"])


def too_much_state(binary, folder):
    """A job whose state grows over spec.state.memoryLimit fails with the figures, and goes on with a higher limit."""
    trial = Trial(binary, folder)
    manifest = HEAD.replace("name: a", "name: j") + "    sqlFrom: {file: j.sql}\n  state: {memoryLimit: LIMIT}\n"
    for limit, code, parts in [("64k", 1, ["more than spec.state.memoryLimit", "65536 bytes"]), ("1Gi", 0, ["finished"])]:
        (folder / "j.yaml").write_text(manifest.replace("LIMIT", limit))
        command = [part.replace("j.sql", "j.yaml") for part in trial.command()]
        expect(finish(subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)), code, parts)
    trial.exact()


def finished_again(binary, folder):
    trial = Trial(binary, folder)
    expect(trial.run(), 0, ["finished"])
    expect(trial.run(), 0, ["finished already", "--from-nothing"])
    trial.exact()


RUNS = [skipped_record, kept_record, monitored_folder, full_output, full_checkpoints, begun_again, stopped_in_a_pause,
        corrupt_state, missing_state, corrupt_log, two_runs, foreign_savepoint, no_permission, too_much_state, finished_again]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("refusals: root is needed, to mount a small file system and to run as another user")
    began, failures = time.time(), []
    with tempfile.TemporaryDirectory() as top:
        top = pathlib.Path(top)
        top.chmod(0o755)
        # A copy, since the other user may not be let into the folder of the binary.
        binary = str(shutil.copy(arguments.bin, top / "streamfleet"))
        cases = [(name, lambda folder, rest=rest: bad_file(binary, folder, *rest)) for name, *rest in BAD_FILES]
        cases += [(run.__name__.replace("_", " "), lambda folder, run=run: run(binary, folder)) for run in RUNS]
        for number, (name, case) in enumerate(cases):
            try:
                case(top / f"case{number}")
            except (Wrong, Over, OSError) as wrong:
                failures.append(name)
                print(f"refusals: {name}: WRONG: {wrong}", flush=True)
    if failures:
        raise SystemExit(f"refusals: {len(failures)} of {len(cases)} cases wrong: {', '.join(failures)}")
    print(f"refusals: {len(cases)} cases as they must be ({time.time() - began:.1f} s)")


if __name__ == "__main__":
    main()
