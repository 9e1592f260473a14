#!/usr/bin/env bash
# Transactions a second, their latency and the broker's CPU time, with 1, 10 and 100 producers of one record each: Ottla
# and, one after the other in the same minutes, stock Kafka. Needs what benches/stock-kafka/run.sh needs.
# Usage: run.sh [SECONDS]
set -euo pipefail

seconds=${1:-8}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
stock="$here/../stock-kafka/run.sh"
work=$(mktemp -d)
ottla_pid=
finish() {
  [ -z "$ottla_pid" ] || kill "$ottla_pid" 2>/dev/null || true
  "$stock" stop --dir "$work/stock" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT

(cd "$here/../.." && cargo build --release --locked --bin ottla)
ottla="${CARGO_TARGET_DIR:-$here/../../target}/release/ottla"
jars=$("$stock" classpath | tail -1)
javac -cp "$jars" -d "$work" "$here/Transactions.java"

# Clock ticks that a process has had of the processors.
ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; }

measure() { # NAME ADDRESS PID
  local before=0 after=0
  for producers in 1 10 100; do
    java -Xmx2g -XX:+UseSerialGC -Dorg.apache.logging.log4j.level=OFF -Dlog4j2.level=OFF \
      -cp "$jars:$work" Transactions "$2" "$producers" "$seconds" |
      while read -r first rate p50 p99; do
        case $first in
          begun) before=$(ticks "$3") ;;
          over) after=$(ticks "$3") ;;
          *)
            awk -v name="$1" -v n="$first" -v rate="$rate" -v p50="$p50" -v p99="$p99" -v s="$seconds" \
              -v cpu="$(((after - before) * 1000 / $(getconf CLK_TCK)))" 'BEGIN {
                printf "%-6s %4d producers %6d transactions/s   p50 %7.2f ms   p99 %7.2f ms   %.2f ms of CPU each\n",
                  name, n, rate, p50, p99, cpu / (rate * s) }'
            ;;
        esac
      done
  done
}

"$ottla" serve --data-dir "$work/ottla" --listen 127.0.0.1:29392 >"$work/log" 2>&1 &
ottla_pid=$!
until grep -q '^Ready' "$work/log"; do sleep 0.1; done
"$ottla" -q -b 127.0.0.1:29392 topic create transactions -p 4 >/dev/null
measure ottla 127.0.0.1:29392 "$ottla_pid"
kill "$ottla_pid"
wait "$ottla_pid" || true
ottla_pid=

"$stock" start --dir "$work/stock" --port 29492 >/dev/null
"$stock" tool org.apache.kafka.tools.TopicCommand --bootstrap-server 127.0.0.1:29492 --create \
  --topic transactions --partitions 4 >/dev/null
measure stock 127.0.0.1:29492 "$(cat "$work/stock/pid")"
