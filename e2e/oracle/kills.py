"""Kills running jobs with SIGKILL at random moments and starts them again until they finish.

Two jobs, files in and files out: the flights example, and a join of Nexmark's bids with auctions. The output must be that of
a run without kills, row for row. The parallelism changes from life to life.
"""

import argparse
import os
import pathlib
import random
import signal
import subprocess
import tempfile
import time

from common import MERGED, compare, jobs_over_files, json_rows, nothing_hidden, run


def with_kills(binary, script, folder, kills, chance, longest):
    """Runs a job to its end, killing it up to `kills` times on the way; gives the number of kills and of lives."""
    killed = lives = 0
    while True:
        lives += 1
        parallelism = chance.choice(["1", "2", "3"])
        command = [binary, "run", str(script), "--quiet", "--parallelism", parallelism]
        command += ["--set", "execution.checkpointing.interval=50ms"]
        with open(folder / "log.txt", "a") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        if killed < kills:
            time.sleep(chance.uniform(0.02, longest))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                killed += 1
        code = process.wait(timeout=600)
        if code == 0:
            return killed, lives
        if code != -signal.SIGKILL:
            raise SystemExit(f"{script}: exit code {code}\n{(folder / 'log.txt').read_text()[-2000:]}")


def check(name, binary, script, folders, sinks, kills, chance):
    """Kills until `kills` is reached, over as many runs as that takes."""
    plain = folders("plain")
    began = time.time()
    run(binary, script, plain, "--parallelism", "2")
    took = time.time() - began
    expected = {sink: json_rows(plain / sink) for sink in sinks}
    done = runs = 0
    while done < kills:
        runs += 1
        folder = folders(f"run{runs}")
        killed, _ = with_kills(binary, script, folder, kills - done, chance, max(took * 0.25, 0.2))
        done += killed
        for sink in sinks:
            compare(f"{name}, run {runs} after {killed} kills: {sink}", json_rows(folder / sink), expected[sink])
            nothing_hidden(f"{name}, run {runs}: {sink}", folder / sink)
        subprocess.run(["rm", "-rf", str(folder)], check=True)
    rows = sum(sum(e.values()) for e in expected.values())
    print(f"kills: {name}: {done} kills in {runs} runs, {rows} rows each, none lost, none twice, nothing left over")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    binary, data = str(pathlib.Path(arguments.bin).resolve()), pathlib.Path(arguments.data).resolve()
    chance = random.Random(arguments.seed)
    print(f"kills: seed {arguments.seed}")
    with tempfile.TemporaryDirectory() as top:
        for name, script, make, sinks in jobs_over_files(binary, data, pathlib.Path(top), MERGED):
            check(name, binary, script, make, sinks, arguments.kills, chance)


if __name__ == "__main__":
    main()
