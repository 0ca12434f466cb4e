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
# and goes on from there. The signal is sent to what `srun` starts, not to the batch script.
graph=$1
shift
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" pipeline run "$graph" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --resume "$@"
code=$?
if [ "$code" -eq 75 ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" # the job id of one task stands for the whole array
fi
exit "$code"
