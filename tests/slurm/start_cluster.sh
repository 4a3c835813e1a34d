#!/usr/bin/env bash
# A SLURM cluster of one node (this machine) with a fake GPU, for the integration test. Needs root and Debian's
# slurm-wlm and munge; no cgroups, no accounting. The configuration must lie in /etc/slurm: job steps drop SLURM_CONF.
#   start_cluster.sh start FOLDER     state and logs go into FOLDER
#   start_cluster.sh stop FOLDER
set -euo pipefail
action=$1
folder=$2
host=$(hostname -s)

start() {
  if [ -e /etc/slurm/slurm.conf ] && ! grep -q "cmbfit integration test" /etc/slurm/slurm.conf; then
    echo "/etc/slurm/slurm.conf belongs to another cluster: not touched" >&2
    exit 2
  fi
  mkdir -p "$folder/state" "$folder/spool" /run/munge /etc/slurm
  chown munge:munge /run/munge
  chmod 755 /run/munge
  munge -n >/dev/null 2>&1 || runuser -u munge -- /usr/sbin/munged --force
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
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=1
ReturnToService=2
MinJobAge=300
MpiDefault=none
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc --all) RealMemory=$(awk '/MemTotal/{print int($2/1024)-512}' /proc/meminfo) Gres=gpu:1 State=UNKNOWN
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
  exit 1
}

stop() {
  scontrol shutdown || true
  for _ in $(seq 20); do
    pgrep -x slurmctld >/dev/null || break
    sleep 0.25
  done
  rm -f /etc/slurm/slurm.conf /etc/slurm/gres.conf
}

"$action"
