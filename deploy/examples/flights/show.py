"""Prints a sample of the example's results as tables."""

import glob
import json


def rows(folder):
    found = []
    for path in sorted(glob.glob(f"{folder}/*.json")):
        with open(path) as file:
            found.extend(json.loads(line) for line in file)
    return found


def table(title, found, columns):
    print(title)
    cells = [[str(row[c]) for c in columns] for row in found]
    widths = [max(len(c), *(len(row[i]) for row in cells)) if cells else len(c) for i, c in enumerate(columns)]
    print("  " + "  ".join(c.ljust(w) for c, w in zip(columns, widths)))
    for row in cells:
        print("  " + "  ".join(c.ljust(w) for c, w in zip(row, widths)))
    print()


hourly = rows("hourly_delays")
for row in hourly:
    row["delay_avg"] = round(row["delay_avg"], 1)
worst_hours = sorted(hourly, key=lambda r: (-r["flights"] * r["delay_avg"], r["hour_start"]))[:8]
table(
    f"The hours that lost the most time (of {len(hourly):,} rows in hourly_delays)",
    worst_hours,
    ["hour_start", "airport", "name", "city", "flights", "delay_avg", "delay_max"],
)
routes = sorted(rows("worst_routes"), key=lambda r: (r["day_start"], r["place"]))
table(
    f"The three worst routes of the first days (of {len(routes):,} rows in worst_routes)",
    routes[:9],
    ["day_start", "place", "origin", "destination", "flights", "delay_sum"],
)
