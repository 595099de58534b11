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

from common import FLIGHTS, compare, json_rows, nexmark_script, run

JOIN = """
CREATE TABLE bids (auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3))
  WITH ('connector' = 'filesystem', 'path' = 'rows/bid', 'format' = 'json');
CREATE TABLE auctions (id BIGINT, category BIGINT, seller BIGINT)
  WITH ('connector' = 'filesystem', 'path' = 'rows/auction', 'format' = 'json');
CREATE TABLE joined (auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3), category BIGINT, seller BIGINT)
  WITH ('connector' = 'filesystem', 'path' = 'joined', 'format' = 'json');
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
        killed, _ = with_kills(binary, script, folder, kills - done, chance, max(took * 0.6, 0.2))
        done += killed
        for sink in sinks:
            compare(f"{name}, run {runs} after {killed} kills: {sink}", json_rows(folder / sink), expected[sink])
        subprocess.run(["rm", "-rf", str(folder)], check=True)
    rows = sum(sum(e.values()) for e in expected.values())
    print(f"kills: {name}: {done} kills in {runs} runs, {rows} rows each, none lost, none twice")


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
        top = pathlib.Path(top)

        def flights(name):
            folder = top / f"flights-{name}"
            folder.mkdir()
            os.symlink(data, folder / "data")
            return folder

        check("flights", binary, FLIGHTS / "job.yaml", flights, ["hourly_delays", "worst_routes"], arguments.kills, chance)

        source = top / "source"
        source.mkdir()
        (source / "dump.sql").write_text(nexmark_script("q0", "'connector' = 'blackhole'", 1_000_000, 10_000) + DUMP)
        run(binary, "dump.sql", source)

        def nexmark(name):
            folder = top / f"nexmark-{name}"
            folder.mkdir()
            os.symlink(source / "rows", folder / "rows")
            (folder / "join.sql").write_text(JOIN)
            return folder

        check("nexmark join", binary, "join.sql", nexmark, ["joined"], arguments.kills, chance)


if __name__ == "__main__":
    main()
