#!/bin/bash
#SBATCH --job-name=pipeline
#SBATCH --cpus-per-task=16
#SBATCH --mem=16G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=USR1@300
# A run that outlives its time limit: sbatch docs/slurm.sh GRAPH OUT [options of `pipeline run`]
# Five minutes before the limit the program gets USR1, writes a checkpoint and exits with 75; the job goes back into the
# queue and goes on from there. Any other end is the job's.
graph=$1 out=$2
shift 2
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" pipeline run "$graph" --out "$out" --resume "$@"
code=$?
if [ "$code" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
