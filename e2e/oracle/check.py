"""Compares results of the flights example and of the Nexmark queries with DuckDB's over the same rows.

Every query runs in streaming and in batch mode, at parallelism 1 and 2. The generator's rows are written once to parquet
files by its own views; DuckDB reads those.
"""

import argparse
import collections
import datetime
import decimal
import os
import pathlib
import tempfile
import time

import duckdb
from common import FLIGHTS, compare, json_rows, nexmark_script, printed_rows, run

EVENTS, RATE = 100_000, 1_000
MODES = [(mode, parallelism) for mode in ("streaming", "batch") for parallelism in (1, 2)]

WINDOWED = """
  hop AS (
    SELECT auction, count(*) AS num, s AS ends FROM (
      SELECT auction, unnest(range(epoch_ms("dateTime") // 2000 * 2000 + 2000,
                                   epoch_ms("dateTime") // 2000 * 2000 + 10001, 2000)) AS s FROM bid)
    GROUP BY auction, s)"""

QUERIES = {
    "q0": 'SELECT auction, bidder, price, "dateTime", extra FROM bid',
    "q1": 'SELECT auction, bidder, CAST(0.908 * price AS DECIMAL(23, 3)), "dateTime", extra FROM bid',
    "q2": "SELECT auction, price FROM bid WHERE auction % 123 = 0",
    "q3": """SELECT p.name, p.city, p.state, a.id FROM auction a JOIN person p ON a.seller = p.id
             WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA')""",
    "q4": """SELECT category, sum(final) // count(*) FROM (
               SELECT a.id, a.category, max(b.price) AS final FROM auction a JOIN bid b ON a.id = b.auction
               WHERE b."dateTime" BETWEEN a."dateTime" AND a.expires GROUP BY a.id, a.category)
             GROUP BY category""",
    "q5": f"WITH {WINDOWED} SELECT auction, num FROM hop h WHERE num >= (SELECT max(num) FROM hop o WHERE o.ends = h.ends)",
    "q7": """SELECT b.auction, b.price, b.bidder, b."dateTime", b.extra FROM bid b JOIN (
               SELECT max(price) AS price, time_bucket(INTERVAL 10 SECOND, "dateTime") AS starts FROM bid GROUP BY starts) w
             ON b.price = w.price AND b."dateTime" BETWEEN w.starts AND w.starts + INTERVAL 10 SECOND""",
    "q8": """SELECT p.id, p.name, p.starts FROM
               (SELECT DISTINCT id, name, time_bucket(INTERVAL 10 SECOND, "dateTime") AS starts FROM person) p
             JOIN (SELECT DISTINCT seller, time_bucket(INTERVAL 10 SECOND, "dateTime") AS starts FROM auction) a
             ON p.id = a.seller AND p.starts = a.starts""",
    "q14": """SELECT auction, bidder, CAST(0.908 * price AS DECIMAL(23, 3)),
                CASE WHEN hour("dateTime") BETWEEN 8 AND 18 THEN 'dayTime'
                     WHEN hour("dateTime") <= 6 OR hour("dateTime") >= 20 THEN 'nightTime' ELSE 'otherTime' END,
                "dateTime", extra, length(extra) - length(replace(extra, 'c', ''))
              FROM bid WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000""",
    # Several bids of one bidder on one auction may share their last time: any is right, so only the keys are compared.
    "q18": 'SELECT auction, bidder, max("dateTime") FROM bid GROUP BY auction, bidder',
    # Bids of one price are tied: any is right.
    "q19": """SELECT auction, price, place FROM (
                SELECT *, row_number() OVER (PARTITION BY auction ORDER BY price DESC) AS place FROM bid)
              WHERE place <= 10""",
    "q20": """SELECT b.auction, b.bidder, b.price, b.channel, b.url, b."dateTime", b.extra, a.itemName, a.description,
                a.initialBid, a.reserve, a."dateTime", a.expires, a.seller, a.category, a.extra
              FROM bid b JOIN auction a ON b.auction = a.id WHERE a.category = 10""",
    "q21": """SELECT auction, bidder, price, channel,
                CASE lower(channel) WHEN 'apple' THEN '0' WHEN 'google' THEN '1' WHEN 'facebook' THEN '2'
                  WHEN 'baidu' THEN '3' ELSE nullif(regexp_extract(url, '(&|^)channel_id=([^&]*)', 2), '') END
              FROM bid WHERE regexp_matches(url, '(&|^)channel_id=([^&]*)')
                OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu')""",
    "q22": """SELECT auction, bidder, price, channel, split_part(url, '/', 4), split_part(url, '/', 5),
                split_part(url, '/', 6) FROM bid""",
}
# The result changes as rows come: read from the printed changelog, and these of its fields are compared.
PRINTED = {"q4": [0, 1], "q18": [0, 1, 5], "q19": [0, 2, 7]}


def plain(value, printed):
    """A value of DuckDB's as the sink writes it."""
    if isinstance(value, datetime.datetime):
        text = value.isoformat(sep="T" if printed else " ", timespec="milliseconds").removesuffix(".000")
        if printed:
            return text.removesuffix(":00")
        # A fraction in JSON ends with its last digit that is not zero.
        return text.rstrip("0") if "." in text else text
    if isinstance(value, decimal.Decimal):
        return float(value)
    return str(value) if printed else value


def dump(binary, folder):
    """Writes the generator's rows to parquet files, a folder per view."""
    columns = {
        "person": "id BIGINT, name STRING, emailAddress STRING, creditCard STRING, city STRING, state STRING,"
        " `dateTime` TIMESTAMP(3), extra STRING",
        "auction": "id BIGINT, itemName STRING, description STRING, initialBid BIGINT, reserve BIGINT,"
        " `dateTime` TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING",
        "bid": "auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, `dateTime` TIMESTAMP(3), extra STRING",
    }
    script = nexmark_script("q0", "'connector' = 'blackhole'", EVENTS, RATE)
    for view, types in columns.items():
        script += (
            f"CREATE TABLE {view}_rows ({types}) WITH ('connector' = 'filesystem', 'path' = 'rows/{view}',"
            f" 'format' = 'parquet');\nINSERT INTO {view}_rows SELECT * FROM {view};\n"
        )
    (folder / "dump.sql").write_text(script)
    run(binary, "dump.sql", folder)
    for view in columns:
        duckdb.sql(f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM read_parquet('{folder}/rows/{view}/*.parquet')")
    count = sum(duckdb.sql(f"SELECT count(*) FROM {view}").fetchall()[0][0] for view in columns)
    if count != EVENTS:
        raise SystemExit(f"the generator gave {count} rows, expected {EVENTS}")


def check_nexmark(binary, folder):
    dump(binary, folder)
    for query, oracle in QUERIES.items():
        printed = query in PRINTED
        rows = duckdb.sql(oracle).fetchall()
        expected = collections.Counter(tuple(plain(v, printed) for v in row) for row in rows)
        began = time.time()
        for mode, parallelism in MODES:
            out = f"{query}-{mode}-{parallelism}"
            sink = "'connector' = 'print'" if printed else f"'connector' = 'filesystem', 'path' = '{out}', 'format' = 'json'"
            (folder / f"{out}.sql").write_text(nexmark_script(query, sink, EVENTS, RATE))
            text = run(binary, f"{out}.sql", folder, "--mode", mode, "--parallelism", str(parallelism))
            if printed:
                found = collections.Counter()
                for row, count in printed_rows(text).items():
                    found[tuple(row[i] for i in PRINTED[query])] += count
            else:
                found = json_rows(folder / out)
            compare(f"nexmark {query}, {mode}, parallelism {parallelism}", found, expected)
        print(f"oracle: nexmark {query}: {sum(expected.values())} rows equal in {len(MODES)} runs ({time.time() - began:.1f} s)")


def check_flights(binary, folder, data):
    flights = f"read_parquet('{data}/flights-3m.parquet')"
    hourly = duckdb.sql(
        f"""SELECT date_trunc('hour', f.date) AS h, f.origin, a.name, a.city, count(*), round(avg(delay), 9), max(delay)
            FROM {flights} f JOIN read_csv('{data}/airports.csv', all_varchar = true) a ON f.origin = a.iata GROUP BY ALL"""
    ).fetchall()
    worst = duckdb.sql(
        f"""SELECT d, place, origin, destination, n, s FROM (
              SELECT *, row_number() OVER (PARTITION BY d ORDER BY s DESC, origin, destination) AS place FROM (
                SELECT date_trunc('day', date) AS d, origin, destination, count(*) AS n, sum(delay)::BIGINT AS s
                FROM {flights} GROUP BY ALL))
            WHERE place <= 3"""
    ).fetchall()
    expected = [collections.Counter(tuple(plain(v, False) for v in row) for row in rows) for rows in (hourly, worst)]
    for mode, parallelism in MODES:
        place = folder / f"flights-{mode}-{parallelism}"
        place.mkdir()
        os.symlink(data, place / "data")
        run(binary, FLIGHTS / "job.yaml", place, "--mode", mode, "--parallelism", str(parallelism))
        rounded = collections.Counter()
        for row, count in json_rows(place / "hourly_delays").items():
            rounded[(*row[:5], round(row[5], 9), row[6])] += count
        name = f"flights, {mode}, parallelism {parallelism}"
        compare(f"{name}: hourly_delays", rounded, expected[0])
        compare(f"{name}: worst_routes", json_rows(place / "worst_routes"), expected[1])
    print(f"oracle: flights: {len(hourly)} + {len(worst)} rows equal in {len(MODES)} runs")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--data", required=True)
    arguments = parser.parse_args()
    binary = str(pathlib.Path(arguments.bin).resolve())
    with tempfile.TemporaryDirectory() as folder:
        check_flights(binary, pathlib.Path(folder), str(pathlib.Path(arguments.data).resolve()))
        check_nexmark(binary, pathlib.Path(folder))


if __name__ == "__main__":
    main()
