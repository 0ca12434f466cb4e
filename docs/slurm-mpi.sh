#!/bin/bash
#SBATCH --job-name=pipeline
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=2G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=USR1@300
# One run on several nodes: sbatch docs/slurm-mpi.sh GRAPH OUT [options of `pipeline run`]
# `accumulate` of the graph must be a multiple of the tasks, here 8: add `--set step.accumulate=8` if it is not.
# Five minutes before the limit every task gets USR1; the first writes a checkpoint, all exit with 75, and the job goes back
# into the queue and goes on from there, on as many nodes as it gets then. Any other end is the job's.
graph=$1 out=$2
shift 2
export RAYON_NUM_THREADS=$SLURM_CPUS_PER_TASK
srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" pipeline run "$graph" --out "$out" --resume "$@"
code=$?
if [ "$code" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
