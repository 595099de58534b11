"""Stops a job half-way with a last checkpoint and restores copies of it at other parallelisms.

Two jobs, those of kills.py: the flights example, and a join of Nexmark's bids with auctions. Every copy must give the output of
an undisturbed run, row for row.
"""

import argparse
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from common import compare, jobs_over_files, json_rows, run

PARALLELISMS = ["1", "2", "3", "5"]


def stop_midway(binary, script, make, sinks, rows, took):
    """A folder with a job that was stopped before all its output was there, and how many rows were.

    The undisturbed run only says when to stop it: on a busy machine this one is quicker, or all is written while it stops.
    """
    for attempt, share in enumerate([0.5, 0.35, 0.2, 0.1, 0.05, 0.35, 0.1]):
        folder = make(f"stopped{attempt}")
        command = [binary, "run", str(script), "--quiet", "--parallelism", "2"]
        command += ["--set", "execution.checkpointing.interval=50ms"]
        process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        time.sleep(max(took * share, 0.1))
        process.send_signal(signal.SIGTERM)
        _, text = process.communicate(timeout=120)
        if process.returncode == 0 and "stopped with a checkpoint" in text:
            before = sum(sum(json_rows(folder / sink).values()) for sink in sinks)
            if before < rows:
                return folder, before
        if process.returncode not in (0, -signal.SIGTERM):
            raise SystemExit(f"{script}: exit code {process.returncode}\n{text}")
    raise SystemExit(f"{script}: its output was there before it could be stopped")


def check(name, binary, script, make, sinks):
    plain = make("plain")
    began = time.time()
    run(binary, script, plain, "--parallelism", "2")
    took = time.time() - began
    expected = {sink: json_rows(plain / sink) for sink in sinks}
    rows = sum(sum(e.values()) for e in expected.values())
    stopped, before = stop_midway(binary, script, make, sinks, rows, took)
    for parallelism, key_groups in [*((p, "720") for p in PARALLELISMS), ("3", "128")]:
        copy = stopped.parent / f"{stopped.name}-copy"
        shutil.copytree(stopped, copy, symlinks=True)
        run(binary, script, copy, "--parallelism", parallelism, "--set", f"pipeline.max-parallelism={key_groups}")
        for sink in sinks:
            label = f"{name}, parallelism 2 to {parallelism}, {key_groups} key groups: {sink}"
            compare(label, json_rows(copy / sink), expected[sink])
        shutil.rmtree(copy)
    print(f"rescale: {name}: stopped after {before} of {rows} rows, equal at parallelism {', '.join(PARALLELISMS)},"
          f" and at 3 with 128 key groups ({time.time() - began:.1f} s)")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--data", required=True)
    arguments = parser.parse_args()
    binary, data = str(pathlib.Path(arguments.bin).resolve()), pathlib.Path(arguments.data).resolve()
    with tempfile.TemporaryDirectory() as top:
        for name, script, make, sinks in jobs_over_files(binary, data, pathlib.Path(top)):
            check(name, binary, script, make, sinks)


if __name__ == "__main__":
    main()
