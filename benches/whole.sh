#!/usr/bin/env bash
# The figures of the whole, each beside its baseline in the same minutes: Ottla with and without a consumer at the
# tail, fio's direct sequential write on the same disk, Ottla under a disk throttled by the cgroup, stock Kafka.
#
# Usage: benches/whole.sh [--dir DIR] [--bytes SIZE] [--rounds N] [--no-kafka] [--no-throttle]
#
# DIR is where the data goes (default target/whole): a folder on the disk that is to be measured, with room for about
# six times SIZE (default 4GB). Throttling needs root. Ends only what it started.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
target=${CARGO_TARGET_DIR:-$root/target}
dir=$target/whole bytes=4GB rounds=3 kafka=1 throttle=1
while [ $# -gt 0 ]; do
  case $1 in
    --dir) dir=$2; shift 2 ;;
    --bytes) bytes=$2; shift 2 ;;
    --rounds) rounds=$2; shift 2 ;;
    --no-kafka) kafka=0; shift ;;
    --no-throttle) throttle=0; shift ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
done
cargo build --release --manifest-path "$root/Cargo.toml"
ottla=$target/release/ottla
mkdir -p "$dir"
port=19292 broker='' group=''

stop_broker() {
  [ -z "$broker" ] || { kill -INT "$broker" && wait "$broker" || true; }
  broker=''
}
clean_up() {
  stop_broker
  [ "$kafka" = 0 ] || "$here/stock-kafka/run.sh" stop --dir "$dir/kafka" 2>/dev/null || true
  [ -z "$group" ] || rmdir "$group" 2>/dev/null || true
  rm -rf "$dir/ottla" "$dir/kafka" "$dir/fio.dat"
}
trap clean_up EXIT

start_broker() {
  rm -rf "$dir/ottla"
  (
    [ -z "${1:-}" ] || echo "$BASHPID" >"$1/cgroup.procs"
    exec "$ottla" serve --quiet --data-dir "$dir/ottla" --listen "127.0.0.1:$port"
  ) >"$dir/ottla.log" 2>&1 &
  broker=$!
  for _ in $(seq 100); do
    "$ottla" -b "127.0.0.1:$port" topic list >/dev/null 2>&1 && return
    sleep 0.1
  done
  cat "$dir/ottla.log" >&2
  exit 1
}

# 1 KiB records in 64 KiB batches, 16 partitions, acks=all.
bench() { # PORT PID ARGUMENT...
  local port=$1 pid=$2
  shift 2
  "$ottla" --quiet bench produce -b "127.0.0.1:$port" --create --partitions 16 --record-size 1024 \
    --batch-bytes 64KiB --bytes "$bytes" --warmup 1GB --broker-pid "$pid" "$@" |
    grep -E "^(produced|acknowledged|consumed|broker)"
}

ours() { # LABEL GROUP ARGUMENT...
  local label=$1 in=$2
  shift 2
  echo "== Ottla, $label"
  start_broker "$in"
  bench "$port" "$broker" "$@"
  stop_broker
}

disk() {
  echo "== fio, direct sequential writes of 1 MiB, depth 8"
  fio --name=write --filename="$dir/fio.dat" --rw=write --bs=1M --size=4G --iodepth=8 --ioengine=io_uring --direct=1 \
    --end_fsync=1 | grep -E "WRITE:"
  rm -f "$dir/fio.dat"
}

# A control group in which writes to the disk of DIR are limited; empty where it cannot be made.
throttled() { # BYTES_PER_SECOND
  local device name=ottla-whole-$$
  device=$(findmnt -no MAJ:MIN -T "$dir" | tr -d ' ')
  if [ -d /sys/fs/cgroup/blkio ]; then
    group=/sys/fs/cgroup/blkio/$name
    mkdir "$group" && echo "$device $1" >"$group/blkio.throttle.write_bps_device"
  else
    group=/sys/fs/cgroup/$name
    echo +io >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
    mkdir "$group" && echo "$device wbps=$1" >"$group/io.max"
  fi
}

for round in $(seq "$rounds"); do
  echo "=== round $round of $rounds, load $(cut -d' ' -f1 /proc/loadavg)"
  disk
  ours "no consumer" ""
  ours "one consumer of everything at the tail" "" --consumers 1
done
if [ "$throttle" = 1 ]; then
  throttled 600000000
  ours "the disk throttled to 600 MB/s" "$group"
  echo "bytes that the disk was given: see 'wrote' above; 600 MB/s is the limit"
fi
if [ "$kafka" = 1 ]; then
  pid=$("$here/stock-kafka/run.sh" start --dir "$dir/kafka" --port 19392)
  echo "== stock Kafka (not flushing), no consumer"
  bench 19392 "$pid"
  echo "== stock Kafka (not flushing), one consumer at the tail"
  bench 19392 "$pid" --consumers 1 --topic tail
fi
