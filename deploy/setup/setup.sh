#!/usr/bin/env bash
# Installs what building and testing need and what is missing. Does nothing the second time.
set -euo pipefail
: "${CACHE:?}"
mkdir -p "$CACHE"
say() { echo "set-up: $*"; }

packages=()
need() { command -v "$1" >/dev/null || packages+=("$2"); }
need cc build-essential
need npm npm
need python3 python3
need curl curl
need make make
need pkg-config pkg-config
need openssl openssl
pkg-config --exists openssl 2>/dev/null || packages+=(libssl-dev)
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
if [ ${#packages[@]} -gt 0 ]; then
  say "installing ${packages[*]}"
  [ "$(id -u)" = 0 ] || { say "root is needed to install packages"; exit 1; }
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

if ! command -v cargo >/dev/null; then
  say "installing the Rust toolchain (rustup)"
  installer=$(mktemp)
  curl --proto '=https' --tlsv1.2 -fsSL https://sh.rustup.rs -o "$installer" \
    || { say "cannot fetch rustup: install Rust 1.95 or newer by hand"; exit 1; }
  sh "$installer" -y -q --no-modify-path --default-toolchain none >/dev/null
  rm -f "$installer"
fi

if [ ! -x "$CACHE/venv/bin/python" ] || ! cmp -s e2e/oracle/requirements.txt "$CACHE/venv/requirements.txt"; then
  say "installing Python packages for the tests"
  python3 -m venv --clear "$CACHE/venv"
  "$CACHE/venv/bin/pip" install --quiet --requirement e2e/oracle/requirements.txt
  cp e2e/oracle/requirements.txt "$CACHE/venv/requirements.txt"
fi
