#!/usr/bin/env bash
# up.sh DIR: a real SLURM of one node, without systemd, cgroups and accounting, for the tests; for Debian and Ubuntu, as root.
# Exit code 77: it cannot be had here, for the reason that is printed. The last line says where slurm.conf is.
set -euo pipefail
dir="$1"
port="${SLURM_TEST_PORT:-16817}"
cannot() { echo "$*" >&2; exit 77; }
[ "$(id -u)" = 0 ] || cannot "needs root, to start slurmctld and slurmd"
missing=0
for program in munged slurmctld slurmd sbatch srun; do command -v "$program" >/dev/null || missing=1; done
if [ $missing = 1 ]; then
  command -v apt-get >/dev/null || cannot "needs slurmctld, slurmd, slurm-client and munge; there is no apt-get to install them"
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq && apt-get install -qq -y --no-install-recommends slurmctld slurmd slurm-client munge; } >"$log" 2>&1 ||
    cannot "needs slurmctld, slurmd, slurm-client and munge, which apt-get does not install: $(tail -n 1 "$log")"
  rm -f "$log"
fi
mkdir -p "$dir"/{state,spool,log,munge}
chmod 755 "$dir"
chmod 700 "$dir/munge"
host=$(hostname -s)
# A key, a socket and ports of our own: nothing of the system is touched.
if [ ! -s "$dir/munge/key" ]; then
  dd if=/dev/urandom of="$dir/munge/key" bs=128 count=1 status=none
  chmod 400 "$dir/munge/key"
fi
# The node says that it has four processors, which it need not have: nothing is bound to them.
cat >"$dir/slurm.conf" <<CONF
ClusterName=maskexp
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
CredType=cred/munge
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
ReturnToService=2
KillWait=5
MinJobAge=3600
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 RealMemory=1000 State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=60:00 DefaultTime=30 State=UP
CONF
export SLURM_CONF="$dir/slurm.conf"
munged --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" --pid-file="$dir/munge/pid" \
  --log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
slurmctld -f "$SLURM_CONF"
slurmd -f "$SLURM_CONF" -N "$host"
for _ in $(seq 60); do
  if [ "$(sinfo -h -o %T 2>/dev/null)" = idle ]; then
    echo "$SLURM_CONF"
    exit 0
  fi
  sleep 0.5
done
tail -n 20 "$dir"/log/*.log >&2
cannot "the node did not become idle"
