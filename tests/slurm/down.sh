#!/usr/bin/env bash
# down.sh DIR: cancel all jobs and stop what up.sh started.
set -uo pipefail
dir="$1"
export SLURM_CONF="$dir/slurm.conf"
[ -e "$SLURM_CONF" ] || exit 0
timeout 10 scancel --user="$(id -un)" 2>/dev/null
for _ in $(seq 20); do
  [ -z "$(timeout 5 squeue -h -t running,completing 2>/dev/null)" ] && break
  sleep 0.5
done
for file in slurmd.pid slurmctld.pid munge/pid; do
  [ -s "$dir/$file" ] || continue
  pid=$(cat "$dir/$file")
  kill "$pid" 2>/dev/null
  for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
done
