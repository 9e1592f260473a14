#!/bin/sh
# Brings what the tests need beside Rust: a C toolchain for librdkafka and zstd, kcat, and Java with Maven for the
# comparisons with stock Kafka; what makes and checks ext4 and XFS for the power cuts. As root on Debian or Ubuntu it
# installs what is missing; else it says what to run.
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
missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
missing=${missing% }

if [ -z "$missing" ]; then
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
