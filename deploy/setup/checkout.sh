#!/usr/bin/env bash
# Two clones share the build folder for the sake of the libraries in it. Cargo tells this workspace's own crates apart by their names only, and
# whether they are up to date by the files' times: those that another clone built are built anew.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
stamp=$CARGO_TARGET_DIR/checkout
if [ "$(cat "$stamp" 2>/dev/null)" != "$here" ]; then
  rm -rf "$CARGO_TARGET_DIR"/*/.fingerprint/streamfleet*
  mkdir -p "$CARGO_TARGET_DIR"
  printf '%s\n' "$here" >"$stamp"
fi
