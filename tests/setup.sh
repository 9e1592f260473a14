#!/bin/sh
# Brings what the tests need beside Rust: a C toolchain for librdkafka and zstd, kcat, Java with Maven for the
# comparisons with stock Kafka; Python, Go and Node.js for the clients of these languages; what makes and checks ext4 and
# XFS for the power cuts. As root on Debian or Ubuntu it installs what is missing; else it says what to run.
set -eu

missing=
need() { # COMMAND PACKAGE
  command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need cc build-essential
need make build-essential
need kcat kcat
need fio fio
need javac default-jdk-headless
need mvn maven
need mkfs.ext4 e2fsprogs
need mkfs.xfs xfsprogs
need losetup mount
need python3 python3
need node nodejs
need npm npm
need go golang-go
python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
missing=${missing% }

# The Go client asks for a language version of its own (tests/kafka/go/go.mod).
check_go() {
  want=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' "$(dirname "$0")/kafka/go/go.mod")
  have=$(go version 2>/dev/null | sed -n 's/.* go\([0-9]*\.[0-9]*\).*/\1/p')
  [ "$(printf '%s\n' "$want" "$have" | sort -V | head -n 1)" = "$want" ] && return
  echo "tests/setup.sh: Go $want or later is needed, and this is ${have:-none}: install golang-go from Debian 13 or from" \
    "backports (apt-get install -t \"\$(lsb_release -cs)-backports\" golang-go), or Go from https://go.dev/dl" >&2
  exit 1
}

if [ -z "$missing" ]; then
  check_go
  echo "tests/setup.sh: everything is here"
  exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
  echo "tests/setup.sh: install these with your system's package manager (Debian's names): $missing" >&2
  exit 1
fi
if [ "$(id -u)" != 0 ]; then
  echo "tests/setup.sh: run this, then start again: sudo apt-get update && sudo apt-get install -y $missing" >&2
  exit 1
fi
apt-get update
# shellcheck disable=SC2086 # a list of packages
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
check_go
