#!/usr/bin/env bash
# Usage: fuzz/run.sh SECONDS [TARGET...]
#
# Fuzzes each target (all, where none is named) for so many seconds, one after the other, and tells of each how many inputs
# were run, what they covered, and what was found. Ends with 1 if there was a finding: it lies in fuzz/artifacts/TARGET/.
#
# The corpus in the tree is read and not written. What is learnt goes to $FUZZ_CORPUS/TARGET, or fuzz/target/corpus/TARGET.
set -eu
[ $# -ge 1 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2; }
seconds=$1
shift
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- $(ls fuzz_targets | sed 's/\.rs$//')
learnt=${FUZZ_CORPUS:-target/corpus}
triple=$(rustc +nightly -vV | sed -n 's/^host: //p')
cargo +nightly fuzz build
# What a simulated node holds when its world ends is not given back.
export ASAN_OPTIONS=detect_leaks=0
failed=0
summary=""
for target in "$@"; do
    mkdir -p "$learnt/$target" "artifacts/$target"
    log="$learnt/$target.log"
    words=()
    [ ! -f "$target.dict" ] || words=("-dict=$target.dict")
    verdict="nothing found"
    runs=0
    end=$((SECONDS + seconds))
    # In slices: what a simulated node still holds when its world ends is not given back, as a process would not.
    while [ $SECONDS -lt $end ] && [ "$verdict" = "nothing found" ]; do
        slice=$((end - SECONDS < 120 ? end - SECONDS : 120))
        "target/$triple/release/$target" "$learnt/$target" "corpus/$target" "${words[@]}" -max_total_time="$slice" \
            -rss_limit_mb=4096 -malloc_limit_mb=1024 -timeout=60 -detect_leaks=0 -print_final_stats=1 \
            -artifact_prefix="artifacts/$target/" >"$log" 2>&1 ||
            { failed=1; verdict="FOUND: $(ls -t "artifacts/$target" | head -1)"; }
        runs=$((runs + $(sed -n 's/^stat::number_of_executed_units: *//p' "$log")))
    done
    covered=$(grep -o 'cov: [0-9]*' "$log" | tail -1)
    summary+=$(printf '%-12s %12s runs  %-12s %s' "$target" "$runs" "${covered:-cov: ?}" "$verdict")$'\n'
    printf '%s' "$summary" | tail -1
done
printf '\n%s' "$summary"
exit $failed
