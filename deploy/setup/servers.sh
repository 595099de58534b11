#!/usr/bin/env bash
# Fetches what the servers of tests and examples consist of, if it is missing: a Kafka broker's jars, and Java to run them.
set -euo pipefail
: "${CACHE:?}"
say() { echo "set-up: $*"; }

packages=()
command -v java >/dev/null || packages+=(openjdk-17-jre-headless)
wanted="$CACHE/kafka/pom.xml"
if ! cmp -s e2e/servers/kafka-pom.xml "$wanted"; then
  command -v mvn >/dev/null || packages+=(maven)
fi
if [ ${#packages[@]} -gt 0 ]; then
  say "installing ${packages[*]}"
  [ "$(id -u)" = 0 ] || { say "root is needed to install packages"; exit 1; }
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

if ! cmp -s e2e/servers/kafka-pom.xml "$wanted"; then
  say "fetching a Kafka broker"
  rm -rf "$CACHE/kafka"
  mkdir -p "$CACHE/kafka"
  log=$(mktemp)
  mvn -q -B -f e2e/servers/kafka-pom.xml dependency:copy-dependencies -DoutputDirectory="$CACHE/kafka/libs" >"$log" 2>&1 \
    || { cat "$log"; say "the broker's jars cannot be fetched"; exit 1; }
  rm -f "$log"
  cp e2e/servers/kafka-pom.xml "$wanted"
fi
