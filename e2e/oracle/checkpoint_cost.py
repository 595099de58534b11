"""How much a job is slowed while its checkpoints of a large state go to S3. A measurement, no test.

A job without a limit of its own sums columns by key until its state has the wanted size. Then its rows are counted ten times a second,
and the rate while checkpoints are under way is set beside the rate between them.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))

import s3  # noqa: E402
from kafka import free_ports  # noqa: E402

COLUMNS = 24

STEP = 0.1


def script(keys, rate):
    columns = ", ".join(f"v{i} BIGINT" for i in range(COLUMNS))
    bounds = "".join(f", 'fields.v{i}.min' = '0', 'fields.v{i}.max' = '1000'" for i in range(COLUMNS))
    limit = f"'rows-per-second' = '{rate}'," if rate else "'rows-per-second' = '1000000000',"
    sums = ", ".join(f"SUM(v{i})" for i in range(COLUMNS))
    return f"""
CREATE TABLE input (k BIGINT, {columns}) WITH ('connector' = 'datagen', {limit}
  'fields.k.min' = '0', 'fields.k.max' = '{keys - 1}'{bounds});
CREATE TABLE output (k BIGINT, {columns}) WITH ('connector' = 'blackhole');
INSERT INTO output SELECT k, {sums} FROM input GROUP BY k;
"""


def sample(address):
    """The moment, rows read, bytes of state, and the newest checkpoint: epoch, seconds, bytes."""
    text = urllib.request.urlopen(f"http://{address}/metrics", timeout=5).read().decode()

    def total(name):
        return sum(float(line.rsplit(" ", 1)[1]) for line in re.findall(rf"^{name}(?:\{{.*\}})? .*$", text, re.M))

    rows = sum(float(line.rsplit(" ", 1)[1]) for line in re.findall(r"^streamfleet_task_rows_out_total\{.*datagen.*$|^streamfleet_task_rows_out_total\{.*input.*$", text, re.M))
    return time.monotonic(), rows, total("streamfleet_task_state_bytes"), (
        total("streamfleet_checkpoint_last_epoch"),
        total("streamfleet_checkpoint_last_duration_seconds"),
        total("streamfleet_checkpoint_last_bytes"),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--keys", type=int, default=3_000_000)
    parser.add_argument("--rate", type=int, default=0, help="rows a second; without it as many as the job takes")
    parser.add_argument("--state", type=int, default=1_000_000_000)
    parser.add_argument("--interval", default="30s")
    parser.add_argument("--checkpoints", type=int, default=4)
    parser.add_argument("--parallelism", default="1")
    parser.add_argument("--niceness", type=int, default=19, help="of the S3 server, which elsewhere has a machine of its own")
    arguments = parser.parse_args()
    binary = str(pathlib.Path(arguments.bin).resolve())
    port, = free_ports(1)
    with tempfile.TemporaryDirectory() as top, s3.running(arguments.niceness) as server:
        folder = pathlib.Path(top)
        (folder / "job.sql").write_text(script(arguments.keys, arguments.rate))
        command = [binary, "run", "job.sql", "--quiet", "--parallelism", arguments.parallelism, "--metrics", f"127.0.0.1:{port}"]
        command += ["--checkpoints", f"s3://{s3.BUCKET}/cost", "--set", f"execution.checkpointing.interval={arguments.interval}"]
        with open(folder / "log.txt", "w") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=os.environ | server.environment())
        try:
            samples, windows, last, is_large = [], [], None, False
            deadline = time.monotonic() + 900
            while len(windows) < arguments.checkpoints and time.monotonic() < deadline:
                time.sleep(STEP)
                if process.poll() is not None:
                    raise SystemExit(f"the job ended: {(folder / 'log.txt').read_text()}")
                try:
                    now, rows, state, (epoch, seconds, size) = sample(f"127.0.0.1:{port}")
                except OSError:
                    continue
                is_large = is_large or state >= arguments.state
                samples.append((now, rows))
                if last is not None and epoch != last and is_large:
                    windows.append((now - seconds, now))
                    print(f"  checkpoint of {size / 1e6:.0f} MB in {seconds:.1f} s, state {state / 1e6:.0f} MB", flush=True)
                elif last is not None and epoch != last:
                    print(f"  (state {state / 1e6:.0f} MB)", flush=True)
                last = epoch
        finally:
            process.terminate()
            process.wait(60)
    if len(windows) < 2:
        raise SystemExit("too few checkpoints")
    inside = outside = inside_rows = outside_rows = 0.0
    for (start, before), (end, after) in zip(samples, samples[1:]):
        middle = (start + end) / 2
        if not windows[0][1] < middle < windows[-1][1]:
            continue
        if any(begin <= middle <= finish for begin, finish in windows):
            inside, inside_rows = inside + end - start, inside_rows + after - before
        else:
            outside, outside_rows = outside + end - start, outside_rows + after - before
    during, between = inside_rows / inside, outside_rows / outside
    print(f"between checkpoints {between:,.0f} rows/s for {outside:.0f} s, during them {during:,.0f} rows/s for {inside:.0f} s: "
          f"{100 * (1 - during / between):.1f} % slower")


if __name__ == "__main__":
    main()
