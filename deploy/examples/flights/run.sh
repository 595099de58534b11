#!/usr/bin/env bash
# Runs the example in a fresh folder and shows what came out.
set -euo pipefail
: "${CACHE:?}" "${BIN:?}" "${OUT:?}"
here=$(cd "$(dirname "$0")" && pwd)
rm -rf "$OUT"
mkdir -p "$OUT"
cd "$OUT"
ln -s "$CACHE/data" data
echo "run: streamfleet run job.yaml (3,000,000 flights, 2 slots)"
began=$(date +%s.%N)
"$BIN" run "$here/job.yaml"
python3 -c "import time; print(f'run: took {time.time() - $began:.2f} s\\n')"
python3 "$here/show.py"
echo
echo "Results: $OUT/hourly_delays/*.json and $OUT/worst_routes/*.json; checkpoints: $OUT/checkpoints/flights"
