"""Runs the streamfleet binary and reads what it wrote."""

import collections
import glob
import json
import os
import pathlib
import random
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
NEXMARK = ROOT / "deploy" / "examples" / "nexmark"
FLIGHTS = ROOT / "deploy" / "examples" / "flights"

# Seconds for what takes a moment: the machine may be busy with other things.
LIMIT = 300


class Over(Exception):
    """A job was at its end, or elsewhere, before a test could do to it what it meant to. That shows nothing, good or bad."""


def in_time(act, turns=5):
    """Gives what `act` gives; where a job was over too early it acts again, on fresh ones, named by the turn's number."""
    for turn in range(turns):
        try:
            return act(turn)
        except Over as over:
            if turn + 1 == turns:
                raise
            print(f"over too early, once more: {over}", flush=True)


def run(binary, script, folder, *options):
    """Runs a manifest or script in `folder`; gives its standard output."""
    done = subprocess.run(
        [binary, "run", str(script), "--quiet", *options], cwd=folder, capture_output=True, text=True, timeout=600
    )
    if done.returncode != 0:
        raise SystemExit(f"{script} {options}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def killed(binary, folder, script, kills):
    """Runs a job to its end, killing it up to so many times on the way and letting it go on at other parallelisms."""
    for kill in range(kills + 1):
        command = [binary, "run", script, "--quiet", "--parallelism", str(random.randint(2, 3))]
        command += ["--set", "execution.checkpointing.interval=100ms"]
        with open(folder / "log.txt", "a") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
            if kill < kills:
                time.sleep(random.uniform(0.2, 1.2))
                process.kill()
            code = process.wait(timeout=300)
        if code == 0:
            return kill
        if kill == kills:
            raise SystemExit(f"{script}: exit code {code}\n{(folder / 'log.txt').read_text()}")
    return kills


def nexmark_script(query, sink, events, rate):
    """The text of a query over the generator, with its sink's options."""
    text = (NEXMARK / "ddl.sql").read_text() + (NEXMARK / f"{query}.sql").read_text()
    return text.replace("${RATE}", str(rate)).replace("${EVENTS}", str(events)).replace("${SINK}", sink)


# A sink's further option: it merges its small files before they show.
MERGED = ", 'auto-compaction' = 'true'"

JOIN = """
CREATE TABLE bids (auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3))
  WITH ('connector' = 'filesystem', 'path' = 'rows/bid', 'format' = 'json');
CREATE TABLE auctions (id BIGINT, category BIGINT, seller BIGINT)
  WITH ('connector' = 'filesystem', 'path' = 'rows/auction', 'format' = 'json');
CREATE TABLE joined (auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3), category BIGINT, seller BIGINT)
  WITH ('connector' = 'filesystem', 'path' = 'joined', 'format' = 'json'${MORE});
INSERT INTO joined SELECT b.auction, b.bidder, b.price, b.`dateTime`, a.category, a.seller
FROM bids AS b JOIN auctions AS a ON b.auction = a.id;
"""

DUMP = """
CREATE TABLE bid_rows (auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3))
  WITH ('connector' = 'filesystem', 'path' = 'rows/bid', 'format' = 'json', 'sink.rolling-policy.file-size' = '8 mb');
CREATE TABLE auction_rows (id BIGINT, category BIGINT, seller BIGINT)
  WITH ('connector' = 'filesystem', 'path' = 'rows/auction', 'format' = 'json', 'sink.rolling-policy.file-size' = '1 mb');
INSERT INTO bid_rows SELECT auction, bidder, price, `dateTime` FROM bid;
INSERT INTO auction_rows SELECT id, category, seller FROM auction;
"""


def jobs_over_files(binary, data, top, join_sink_options=""):
    """Two jobs, files in and files out: the flights example, and a join of Nexmark's bids with auctions.

    Gives name, script, a function that makes a folder of a given name to run it in, and its sinks' folders. The join's sink
    can have more options, such as `MERGED`.
    """

    def flights(name):
        folder = top / f"flights-{name}"
        folder.mkdir()
        os.symlink(data, folder / "data")
        return folder

    yield "flights", FLIGHTS / "job.yaml", flights, ["hourly_delays", "worst_routes"]

    source = top / "source"
    source.mkdir()
    (source / "dump.sql").write_text(nexmark_script("q0", "'connector' = 'blackhole'", 1_000_000, 10_000) + DUMP)
    run(binary, "dump.sql", source)

    def nexmark(name):
        folder = top / f"nexmark-{name}"
        folder.mkdir()
        os.symlink(source / "rows", folder / "rows")
        (folder / "join.sql").write_text(JOIN.replace("${MORE}", join_sink_options))
        return folder

    yield "nexmark join", "join.sql", nexmark, ["joined"]


def json_rows(folder):
    """Every object in the JSON files that a sink shows, as a multiset of value tuples."""
    rows = collections.Counter()
    for path in glob.glob(f"{folder}/*.json"):
        with open(path) as file:
            rows.update(tuple(json.loads(line).values()) for line in file)
    return rows


def nothing_hidden(name, folder):
    """Fails if a sink's folder has hidden files or folders."""
    left = [str(path) for path in pathlib.Path(folder).rglob(".*")]
    if left:
        raise SystemExit(f"{name}: left over: {left[:3]}")


def printed_rows(text):
    """The rows that remain of a printed changelog, as a multiset of text tuples."""
    rows = collections.Counter()
    for line in text.splitlines():
        line = line.split("> ", 1)[-1]
        kind, fields = line[:2], tuple(line[3:-1].split(", "))
        if kind in ("+I", "+U"):
            rows[fields] += 1
        elif kind in ("-U", "-D"):
            rows[fields] -= 1
            if rows[fields] < 0:
                raise SystemExit(f"a row was taken back that was not there: {line}")
        else:
            raise SystemExit(f"not a changelog row: {line}")
    return +rows


def nothing_to_collect(binary, place, environment):
    """Fails if a job left something in its checkpoint place that nothing refers to."""
    command = [binary, "snapshots", "gc", "--dry-run", place]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, timeout=120)
    if done.returncode != 0 or done.stdout.splitlines() != ["0 would be removed"]:
        raise SystemExit(f"{place}: left over, or not to be told:\n{done.stdout[-3000:]}{done.stderr}")


def compare(name, found, expected):
    """Fails if two multisets differ."""
    missing, extra = expected - found, found - expected
    if missing or extra:
        raise SystemExit(
            f"{name}: {sum(missing.values())} rows missing, {sum(extra.values())} too many\n"
            f"  missing: {list(missing)[:3]}\n  too many: {list(extra)[:3]}"
        )
    if not expected:
        raise SystemExit(f"{name}: the expected result is empty, which shows nothing")
