#!/usr/bin/env bash
# Compares the single calls of two running systems in turn, with wrk at 64 kept connections: calls per second, and the
# 50 % and 99 % of their times. Usage: bench/wrk/compare.sh THEIRS OURS, such as http://127.0.0.1:21001 http://127.0.0.1:22001
set -euo pipefail
cd "$(dirname "$0")"
measure() { # name, script, address
    wrk --threads 2 --connections 64 --duration "${SECONDS_EACH:-10}s" --latency --script "$2.lua" "$3" | awk -v name="$1" '
        $1 == "50%" { half = $2 } $1 == "99%" { most = $2 } $1 == "Requests/sec:" { rate = $2 }
        /Non-2xx/ { other = $0 } END { printf "%-18s %8.0f/s  50 %% %s  99 %% %s %s\n", name, rate, half, most, other }'
}
for round in 1 2 3 4 5; do
    echo "round $round"
    measure "theirs, ping" ping "$1"
    measure "ours, ping" ping "$2"
    measure "ours, OwnTracks" owntracks "$2"
    measure "theirs, five people" people "$1"
    measure "ours, five people" people "$2"
done
