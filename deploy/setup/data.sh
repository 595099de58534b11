#!/usr/bin/env bash
# Fetches the data of the flights example: US flights of 2001 and airports, from the npm package vega-datasets.
set -euo pipefail
: "${CACHE:?}"
data="$CACHE/data"
version=3.2.1
sums() {
  cat <<SUMS
dbeb920c90f59b6ccaff823dcc3d08f25a97fa1ce128d93f40be4e931f5900b0  $data/flights-3m.parquet
903c7169e6d558eefb95295fe2947ec8503135fbb855ea5c737cf4a90ea603ad  $data/airports.csv
SUMS
}
if [ -f "$data/flights-3m.parquet" ] && sums | sha256sum --check --status; then
  exit 0
fi
echo "data: fetching vega-datasets $version (14 MB)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent "vega-datasets@$version" >/dev/null \
  && tar xzf "vega-datasets-$version.tgz" package/data/flights-3m.parquet package/data/airports.csv)
mkdir -p "$data"
cp "$work"/package/data/flights-3m.parquet "$work"/package/data/airports.csv "$data/"
sums | sha256sum --check --status || { echo "data: the files are not the expected ones"; exit 1; }
