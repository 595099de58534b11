"""Runs the streamfleet binary and reads what it wrote."""

import collections
import glob
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
NEXMARK = ROOT / "deploy" / "examples" / "nexmark"
FLIGHTS = ROOT / "deploy" / "examples" / "flights"


def run(binary, script, folder, *options):
    """Runs a manifest or script in `folder`; gives its standard output."""
    done = subprocess.run(
        [binary, "run", str(script), "--quiet", *options], cwd=folder, capture_output=True, text=True, timeout=600
    )
    if done.returncode != 0:
        raise SystemExit(f"{script} {options}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def nexmark_script(query, sink, events, rate):
    """The text of a query over the generator, with its sink's options."""
    text = (NEXMARK / "ddl.sql").read_text() + (NEXMARK / f"{query}.sql").read_text()
    return text.replace("${RATE}", str(rate)).replace("${EVENTS}", str(events)).replace("${SINK}", sink)


def json_rows(folder):
    """Every object in the JSON files that a sink shows, as a multiset of value tuples."""
    rows = collections.Counter()
    for path in glob.glob(f"{folder}/*.json"):
        with open(path) as file:
            rows.update(tuple(json.loads(line).values()) for line in file)
    return rows


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
