#!/usr/bin/env bash
# A stock Kafka broker beside Ottla: the oracle of the client tests and the other side of the comparison.
# Needs Java 17 or newer and Maven, nothing else.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: run.sh start [--dir DIR] [--port PORT] [--set KEY=VALUE]...
       run.sh stop  [--dir DIR]
       run.sh tool CLASS [ARGUMENT]...
       run.sh classpath

start      formats DIR (if new), starts stock Kafka on 127.0.0.1:PORT (default 19092, the controller on
           PORT + 1) and waits until it serves. Prints its process id. DIR/pid holds it, DIR/log what it says,
           DIR/data its log directory. --set adds a line to its server.properties.
stop       ends the broker of DIR, and no other process.
tool       runs a class of Kafka's jars, for example
             run.sh tool org.apache.kafka.tools.GetOffsetShell --bootstrap-server 127.0.0.1:19092
classpath  fetches the jars and prints the class path.

DIR is target/stock-kafka/broker unless given. KAFKA_HEAP sets the heap (default 1g).
USAGE
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=${CARGO_TARGET_DIR:-$here/../../target}/stock-kafka
mkdir -p "$work"
work=$(cd "$work" && pwd)

fail() {
  echo "run.sh: $*" >&2
  exit 1
}

# Maven runs once per version of pom.xml; the mark is written last, so a broken fetch is done again.
fetch_jars() {
  local want mark="$work/jars.complete"
  want=$(sha256sum "$here/pom.xml" | cut -d' ' -f1)
  exec 8>"$work/jars.lock"
  flock 8
  if [ "$(cat "$mark" 2>/dev/null || true)" != "$want" ]; then
    command -v mvn >/dev/null || fail "mvn is missing: install Maven (Debian: apt-get install maven)"
    echo "run.sh: fetching Kafka's jars with Maven" >&2
    rm -rf "$work/jars" "$mark"
    mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
      -DoutputDirectory="$work/jars" >&2 8>&- || fail "Maven could not fetch the jars (its words are above)"
    echo "$want" >"$mark"
  fi
  flock -u 8
  exec 8>&-
}

java_tool() {
  fetch_jars
  java -Xmx512m -cp "$work/jars/*" "$@"
}

# Whether the process of DIR/pid is alive and is the broker of DIR (process ids are used again).
is_ours() {
  local pid
  pid=$(cat "$dir/pid" 2>/dev/null) || return 1
  [ -n "$pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$dir/server.properties"
}

start() {
  fetch_jars
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  if is_ours; then fail "a broker already runs in $dir (process $(cat "$dir/pid")); 'run.sh stop --dir $dir' ends it"; fi
  if (exec 7<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then fail "port $port is in use; choose another with --port"; fi
  {
    cat "$here/server.properties"
    echo "listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))"
    echo "advertised.listeners=PLAINTEXT://127.0.0.1:$port"
    echo "controller.quorum.voters=1@127.0.0.1:$((port + 1))"
    echo "log.dirs=$dir/data"
    for setting in "${settings[@]}"; do echo "$setting"; done
  } >"$dir/server.properties"
  java_tool kafka.tools.StorageTool format --ignore-formatted --cluster-id "$(cluster_id)" \
    --config "$dir/server.properties" >"$dir/format.log" 2>&1 || {
    cat "$dir/format.log" >&2
    fail "formatting $dir/data failed"
  }
  local heap=${KAFKA_HEAP:-1g}
  # The options of Kafka's own start script.
  nohup java "-Xmx$heap" "-Xms$heap" -server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 \
    -XX:InitiatingHeapOccupancyPercent=35 -XX:+ExplicitGCInvokesConcurrent -Djava.awt.headless=true \
    -Dorg.apache.logging.log4j.level=INFO -cp "$work/jars/*" kafka.Kafka "$dir/server.properties" \
    >"$dir/log" 2>&1 </dev/null &
  local pid=$!
  echo "$pid" >"$dir/pid"
  for _ in $(seq 1200); do
    if grep -q "Kafka Server started" "$dir/log"; then
      echo "$pid"
      return
    fi
    kill -0 "$pid" 2>/dev/null || {
      tail -n 30 "$dir/log" >&2
      fail "the broker ended while it started (the end of $dir/log is above)"
    }
    sleep 0.1
  done
  kill -KILL "$pid"
  fail "the broker did not serve within 120 s; see $dir/log"
}

# A folder keeps the cluster id it was formatted with.
cluster_id() {
  sed -n 's/^cluster.id=//p' "$dir/data/meta.properties" 2>/dev/null | grep . || echo "b3R0bGEtYmVzaWRlcy0xMA"
}

stop() {
  [ -d "$dir" ] || fail "there is no folder $dir"
  dir=$(cd "$dir" && pwd)
  if ! is_ours; then
    echo "run.sh: no broker runs in $dir" >&2
    return
  fi
  local pid
  pid=$(cat "$dir/pid")
  kill -TERM "$pid"
  for _ in $(seq 600); do
    is_ours || {
      rm -f "$dir/pid"
      return
    }
    sleep 0.1
  done
  kill -KILL "$pid"
  rm -f "$dir/pid"
  fail "the broker (process $pid) did not end within 60 s and was killed"
}

command=${1:-help}
shift || true
case $command in
  start | stop)
    dir=$work/broker
    port=19092
    settings=()
    while [ $# -gt 0 ]; do
      case $1 in
        --dir) dir=${2:?--dir needs a folder} ;;
        --port) port=${2:?--port needs a number} ;;
        --set) settings+=("${2:?--set needs KEY=VALUE}") ;;
        *) fail "unknown argument $1; 'run.sh help' lists them" ;;
      esac
      shift 2
    done
    "$command"
    ;;
  tool)
    [ $# -gt 0 ] || fail "which class? For example: run.sh tool kafka.tools.StorageTool random-uuid"
    java_tool "$@"
    ;;
  classpath)
    fetch_jars
    echo "$work/jars/*"
    ;;
  help | --help | -h) usage ;;
  *) fail "unknown command $command; 'run.sh help' lists them" ;;
esac
