#!/usr/bin/env bash
# A SLURM cluster of one node (this machine, two of its CPUs, memory that is booked only) with a fake GPU, for the
# integration test. Needs root and Debian's slurm-wlm and munge; no cgroups, no accounting. The configuration must lie in
# /etc/slurm: job steps drop SLURM_CONF.
#   start_cluster.sh start FOLDER     state and logs go into FOLDER
#   start_cluster.sh stop FOLDER
set -euo pipefail
action=$1
folder=$2
if [[ $folder =~ [^A-Za-z0-9/._-] ]]; then
  echo "$folder: slurm.conf takes letters, digits and / . _ - in paths: name another folder" >&2
  exit 2
fi
host=$(hostname -s)

start() {
  if [ -e /etc/slurm/slurm.conf ] && ! grep -q "cmbfit integration test" /etc/slurm/slurm.conf; then
    echo "/etc/slurm/slurm.conf belongs to another cluster: not touched" >&2
    exit 2
  fi
  if [ -e /etc/slurm/slurm.conf ]; then stop; fi # of a test that was killed
  mkdir -p "$folder/state" "$folder/spool" /run/munge /etc/slurm
  chown munge:munge /run/munge
  chmod 755 /run/munge
  if ! munge -n >/dev/null 2>&1; then
    runuser -u munge -- /usr/sbin/munged --force
    touch "$folder/munged-is-ours"
  fi
  local cpus
  cpus=$(nproc --all)
  cat >/etc/slurm/slurm.conf <<CONF
# cmbfit integration test
ClusterName=cmbfit
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=1
ReturnToService=2
MinJobAge=300
KillWait=5
SlurmdParameters=config_overrides
MpiDefault=none
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$((cpus < 2 ? cpus : 2)) RealMemory=64000 Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=600 State=UP
CONF
  echo "NodeName=$host Name=gpu Count=1 File=/dev/zero" >/etc/slurm/gres.conf
  unset SLURM_CONF
  slurmctld -c
  slurmd -c
  for _ in $(seq 60); do
    if sinfo -h -o %T 2>/dev/null | grep -q idle; then return; fi
    sleep 0.5
  done
  cat "$folder/slurmctld.log" >&2
  stop
  exit 1
}

# the test's jobs and daemons only, by the folder that the configuration names
stop() {
  local home daemon
  timeout 10 scancel --user=root || true
  for _ in $(seq 40); do
    if [ -z "$(timeout 10 squeue -h -t PD,R,CG)" ]; then break; fi
    sleep 0.5
  done
  home=$(sed -n 's/^StateSaveLocation=\(.*\)\/state$/\1/p' /etc/slurm/slurm.conf)
  timeout 10 scontrol shutdown || true
  for daemon in slurmd slurmctld; do
    end "$home/$daemon.pid"
  done
  if [ -e "$home/munged-is-ours" ]; then end /run/munge/munged.pid; fi
  rm -f /etc/slurm/slurm.conf /etc/slurm/gres.conf
}

# wait for a daemon to leave, then make it
end() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 0
  if [ "$1" = /run/munge/munged.pid ]; then kill "$pid" || true; fi
  for _ in $(seq 40); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.25
  done
  kill -9 "$pid" || true
}

"$action"
