"""Fails if a dependency's licence is not on the list of deny.toml."""

import json
import re
import subprocess
import sys
import tomllib

with open("deny.toml", "rb") as file:
    allowed = set(tomllib.load(file)["licenses"]["allow"])
metadata = json.loads(
    subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--locked"], check=True, capture_output=True, text=True
    ).stdout
)
bad = []
for package in metadata["packages"]:
    expression = (package["license"] or "").replace("/", " OR ")
    # One of the alternatives must be allowed as a whole.
    alternatives = [re.findall(r"[A-Za-z0-9.\-+]+", part) for part in re.split(r"\bOR\b", expression)]
    if not any(words and all(w in allowed or w in ("AND", "WITH") for w in words) for words in alternatives):
        bad.append(f"{package['name']} {package['version']}: {package['license']}")
if bad:
    sys.exit("licences that deny.toml does not allow:\n  " + "\n  ".join(bad))
