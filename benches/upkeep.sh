#!/usr/bin/env bash
# What compaction and retention do to producers: the latency of small records at a fixed rate, before, while other
# topics of the same cores are compacted, while retention deletes, and after.
#
# Usage: benches/upkeep.sh [--dir DIR] [--bytes SIZE] [--rate N] [--seconds S] [--kafka]
#
# DIR is where the data goes (default target/upkeep), SIZE how much is compacted, and deleted (default 2GB), N records
# are written a second (default 2000), S is how long each look takes (default 20). With --kafka the same is done with
# stock Kafka afterwards. The load has the last CPU, the broker all others. Ends only what it started.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
target=${CARGO_TARGET_DIR:-$root/target}
dir=$target/upkeep bytes=2GB rate=2000 seconds=20 kafka=0
while [ $# -gt 0 ]; do
  case $1 in
    --dir) dir=$2; shift 2 ;;
    --bytes) bytes=$2; shift 2 ;;
    --rate) rate=$2; shift 2 ;;
    --seconds) seconds=$2; shift 2 ;;
    --kafka) kafka=1; shift ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
done
cargo build --release --manifest-path "$root/Cargo.toml"
ottla=$target/release/ottla
mkdir -p "$dir"
port=19692 broker=''

clean_up() {
  [ -z "$broker" ] || { kill -INT "$broker" && wait "$broker" || true; }
  broker=''
  [ "$kafka" = 0 ] || "$here/stock-kafka/run.sh" stop --dir "$dir/kafka" 2>/dev/null || true
  rm -rf "$dir/ottla" "$dir/kafka"
}
trap clean_up EXIT

last=$(($(nproc) - 1))
beside="taskset -c 0-$((last > 0 ? last - 1 : 0))"
at() { taskset -c "$last" "$ottla" --quiet -b "127.0.0.1:$port" "$@"; }

look() { # LABEL
  printf '%-24s' "$1"
  at bench latency -t live --rate "$rate" --seconds "$seconds" | grep -E "^acknowledged" || echo "nothing measured"
}

size_of() { # TOPIC
  at logdirs --partitions --output json | grep "\"topic\":\"$1\"" | sed 's/.*"bytes":\([0-9]*\).*/\1/' |
    awk '{ sum += $1 } END { printf "%d", sum }'
}

fill() { # TOPIC: segments of 64 MiB that nothing is done to yet
  at topic create "$1" -p 4 -c segment.bytes=67108864 -c min.compaction.lag.ms=0 -c min.cleanable.dirty.ratio=0.01 \
    -c file.delete.delay.ms=0
  sleep 2 # until stock Kafka knows its topic
  at bench produce -t "$1" --record-size 200 --key-size 16 --batch-bytes 16KiB --bytes "$bytes" >"$dir/fill.log"
}

measure() {
  at topic create live -p 8
  fill compacted
  fill deleted
  # Disks, those of virtual machines above all, work on for a while after so much was written.
  sleep 20
  look "warm up" >"$dir/warm.log"
  look "before"
  local full half
  full=$(size_of compacted)
  at topic alter compacted -c cleanup.policy=compact
  look "while compacting"
  half=$(size_of compacted)
  echo "                        $full bytes of the other topic became $half meanwhile"
  look "after compacting"
  full=$(size_of deleted)
  at topic alter deleted -c retention.bytes=1
  look "while deleting"
  half=$(size_of deleted)
  echo "                        $full bytes of the other topic became $half meanwhile"
  look "after"
}

echo "== Ottla, $rate records a second"
printf 'log.cleaner.backoff.ms=500\nlog.retention.check.interval.ms=1000\n' >"$dir/server.properties"
$beside "$ottla" serve --quiet --config "$dir/server.properties" --data-dir "$dir/ottla" --listen "127.0.0.1:$port" \
  >"$dir/ottla.log" 2>&1 &
broker=$!
sleep 2
measure
kill -INT "$broker" && wait "$broker" || true
broker=''
if [ "$kafka" = 1 ]; then
  echo "== stock Kafka 4.2, $rate records a second"
  port=19792
  $beside "$here/stock-kafka/run.sh" start --dir "$dir/kafka" --port "$port" --set log.cleaner.backoff.ms=500 \
    --set log.retention.check.interval.ms=1000 >/dev/null
  measure
fi
