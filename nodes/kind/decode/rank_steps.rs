//! The steps of one rank of several.
//!
//! A round is as many steps as there are ranks, one for each in their order. It ends early after the
//! last batch of a dev pass; ranks without a batch of their own then repeat the last one, which
//! counts once. If a node gathers over the dev pass, every rank runs the whole pass. An update is whole rounds, because `accumulate` is a multiple of the ranks.
use super::clock::StepClock;
use crate::node::RunContext;
use crate::node::step::StepInfo;

/// An iterator over the steps of a rank, as [`StepClock`] is one over those of one process.
pub(super) struct RankSteps {
    clock: StepClock,
    rank: usize,
    ranks: usize,
    shares_dev: bool,
}

impl RankSteps {
    /// Takes the steps of this rank from those of the phase.
    pub(super) fn new(clock: StepClock, run: &RunContext) -> RankSteps {
        RankSteps {
            clock,
            rank: run.ranks.rank(),
            ranks: run.ranks.count(),
            shares_dev: run.shares_dev,
        }
    }
}

impl Iterator for RankSteps {
    type Item = (StepInfo, usize);

    fn next(&mut self) -> Option<(StepInfo, usize)> {
        let mut own = self.clock.next()?;
        if own.0.dev && !self.shares_dev {
            return Some(own);
        }
        let mut last = own.0;
        for rank in 1..self.ranks {
            if last.closes {
                break;
            }
            let Some(step) = self.clock.next() else {
                break;
            };
            last = step.0;
            if rank <= self.rank {
                own = step;
            }
        }
        let (info, batch) = own;
        let info = StepInfo {
            closes: last.closes,
            checkpoint: last.checkpoint,
            last: last.last,
            ..info
        };
        Some((info, batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Clock;

    /// Two updates of four batches with dev passes of three batches around them.
    fn steps(rank: usize, ranks: usize) -> Vec<StepInfo> {
        steps_with(rank, ranks, true)
    }

    fn steps_with(rank: usize, ranks: usize, shares_dev: bool) -> Vec<StepInfo> {
        let clock = Clock {
            updates: Some(2),
            accumulate: 4,
            checkpoint_every: 1,
            from: 0,
        };
        let clock = StepClock::new(clock, 1, 1, 5, 3);
        let steps = RankSteps {
            clock,
            rank,
            ranks,
            shares_dev,
        };
        steps
            .map(|(info, batch)| {
                assert_eq!(info.batch as usize, batch);
                info
            })
            .collect()
    }

    #[test]
    fn train_batches_are_shared_out_and_rounds_end_together() {
        let trained = |rank, ranks| -> Vec<StepInfo> {
            steps(rank, ranks)
                .into_iter()
                .filter(|info| !info.dev)
                .collect()
        };
        let alone = trained(0, 1);
        for ranks in [2, 4] {
            for rank in 0..ranks {
                let own = trained(rank, ranks);
                assert_eq!(own.len(), alone.len() / ranks);
                for (round, info) in own.iter().enumerate() {
                    let step = &alone[round * ranks + rank];
                    assert_eq!(
                        (info.step, info.epoch, info.batch),
                        (step.step, step.epoch, step.batch)
                    );
                    let last = &alone[(round + 1) * ranks - 1];
                    assert_eq!((info.update, info.closes), (last.update, last.closes));
                    assert_eq!((info.checkpoint, info.last), (last.checkpoint, last.last));
                }
            }
        }
    }

    #[test]
    fn every_rank_takes_part_in_each_round_of_a_dev_pass() {
        let batches = |rank, ranks| -> Vec<(u64, bool)> {
            let dev = steps(rank, ranks).into_iter().filter(|info| info.dev);
            dev.take(3).map(|info| (info.batch, info.closes)).collect()
        };
        assert_eq!(batches(0, 1), [(0, false), (1, false), (2, true)]);
        assert_eq!(batches(0, 2)[..2], [(0, false), (2, true)]);
        assert_eq!(batches(1, 2)[..2], [(1, false), (2, true)]);
        for (rank, batch) in [0, 1, 2, 2].into_iter().enumerate() {
            assert_eq!(batches(rank, 4)[0], (batch, true));
        }
        for rank in 0..4 {
            assert!(steps(rank, 4).last().unwrap().last);
            let dev = |steps: Vec<StepInfo>| -> Vec<StepInfo> {
                steps.into_iter().filter(|info| info.dev).collect()
            };
            assert_eq!(dev(steps_with(rank, 4, false)), dev(steps(0, 1)));
        }
    }
}
