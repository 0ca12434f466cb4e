#!/bin/bash
#SBATCH --job-name=targets
#SBATCH --array=1-16
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=USR1@300
# Jobs that fill one cache, each with its share of the rows: sbatch docs/slurm-array.sh GRAPH [options of `pipeline run`]
# Five minutes before the limit the program gets USR1, stores what it has and exits with 75; that job goes back into the queue
# and goes on from there. `srun` passes the signal on: the batch script itself gets none.
graph=$1
shift
srun pipeline run "$graph" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --resume "$@"
code=$?
if [ "$code" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
