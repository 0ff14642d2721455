#!/usr/bin/env bash
# The default drill as an expert would do it by hand, in a shell: what `drill run` is timed against (benches/by_hand.rs).
#
# BIN: the directory of PostgreSQL's programs; SEED: the same database as a drill has, as SQL; WRITES: one statement of a
# writer, as a script of pgbench; WORK: an empty directory of its own; COMMITS, WRITERS: as the drill's.
# Everything that must last is synced, as in a drill on disk. Nothing is measured, recorded or proven beyond what the tools
# say by themselves.

set -euo pipefail
trap 'for pid in "$WORK"/*/postmaster.pid; do kill -QUIT "$(head -n 1 "$pid")" 2>/dev/null || true; done' EXIT
export PATH=$BIN:$PATH PGHOST=$WORK PGUSER=postgres PGOPTIONS='-c client_min_messages=warning'
cd "$WORK"
mkdir -m 700 archive

# serve NAME PORT [SETTING…]: starts a cluster and waits until it takes writes.
serve() {
    local name=$1 port=$2
    shift 2
    postgres -D "$name" -c port="$port" -c listen_addresses= -c unix_socket_directories="$WORK" "$@" >"$name.log" 2>&1 &
    until [ "$(psql -p "$port" -XAtqc 'SELECT NOT pg_is_in_recovery()' postgres 2>/dev/null)" = t ]; do sleep 0.01; done
}

initdb -D source --username=postgres --auth=trust --encoding=UTF8 --data-checksums --locale=C.UTF-8 --wal-segsize=1 >/dev/null
serve source 5001 -c archive_mode=on -c "archive_command=cp %p $WORK/archive/.%f && sync $WORK/archive/.%f && mv $WORK/archive/.%f $WORK/archive/%f" \
    -c wal_level=replica
psql -p 5001 -Xqc 'CREATE DATABASE service' postgres
psql -p 5001 -Xqf "$SEED" service >/dev/null

each=$((COMMITS / WRITERS / 3))
for backup in 1 2; do
    pgbench -p 5001 -n -f "$WRITES" -c "$WRITERS" -t "$each" service >/dev/null 2>&1 &
    writers=$!
    pg_basebackup -p 5001 -D "base$backup" --checkpoint=fast --wal-method=stream
    wait $writers
done
pgbench -p 5001 -n -f "$WRITES" -c "$WRITERS" -t "$each" service >/dev/null 2>&1
psql -p 5001 -XAtqc 'SELECT pg_switch_wal()' postgres >/dev/null
until [ "$(psql -p 5001 -XAtqc "SELECT last_archived_wal >= pg_walfile_name(pg_current_wal_lsn() - 1) FROM pg_stat_archiver" postgres)" = t ]; do
    sleep 0.01
done
rm -rf source/*
kill -QUIT "$(jobs -p | head -n 1)" 2>/dev/null || true
wait "$(jobs -p | head -n 1)" 2>/dev/null || true

pg_verifybackup --quiet base2
cp -a base2 restored
touch restored/recovery.signal
serve restored 5002 -c "restore_command=cp $WORK/archive/%f %p" -c archive_mode=off -c recovery_target_timeline=latest
pg_amcheck -p 5002 --install-missing --heapallindexed --parent-check service >/dev/null
pg_ctl -D restored -m fast -w stop >/dev/null
pg_checksums --check -D restored >/dev/null
rm -rf source base1 base2 restored archive
