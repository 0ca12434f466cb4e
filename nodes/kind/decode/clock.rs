//! The steps of a phase: its train batches, and the dev passes between them.
//!
//! A dev pass precedes the first update and follows every `dev_every`-th and the last. All steps
//! are a function of the number of updates done, so a run that resumes needs no other state. It
//! repeats the dev pass that is due at that update.
use crate::node::Clock;
use crate::node::step::StepInfo;

/// An iterator over the steps of a phase: the info without its samples, and the number of the batch
/// in its epoch or dev pass.
pub(super) struct StepClock {
    clock: Clock,
    dev_every: u64,
    /// Batches of an epoch.
    train_batches: u64,
    /// Batches of a dev pass; 0 without a dev set.
    dev_batches: u64,
    /// Train batches of the phase.
    steps: u64,
    /// Train batches before the next one.
    step: u64,
    /// The next batch of the dev pass in progress.
    dev_batch: Option<u64>,
}

impl StepClock {
    /// Begins after the updates that are done. A clock without updates counts `epochs` epochs, with
    /// one dev pass before them.
    pub(super) fn new(
        clock: Clock,
        epochs: u64,
        dev_every: u64,
        train_batches: u64,
        dev_batches: u64,
    ) -> StepClock {
        let steps = match clock.updates {
            Some(updates) => updates.saturating_mul(clock.accumulate),
            None => epochs.saturating_mul(train_batches),
        };
        let mut step_clock = StepClock {
            clock,
            dev_every,
            train_batches,
            dev_batches,
            steps,
            step: clock.from * clock.accumulate,
            dev_batch: None,
        };
        step_clock.dev_batch = step_clock.first_dev_batch(clock.from);
        step_clock
    }

    /// Returns the first batch of the dev pass after an update; `None` if there is no pass.
    fn first_dev_batch(&self, update: u64) -> Option<u64> {
        let due = match self.clock.updates {
            _ if update == 0 => true,
            Some(last) => {
                update == last || self.dev_every > 0 && update.is_multiple_of(self.dev_every)
            }
            None => false,
        };
        (due && self.dev_batches > 0).then_some(0)
    }

    fn next_dev_step(&mut self, batch: u64) -> StepInfo {
        let closes = batch + 1 == self.dev_batches;
        self.dev_batch = (!closes).then_some(batch + 1);
        let last_train_step = self.step.saturating_sub(1);
        StepInfo {
            step: self.step,
            update: self.step / self.clock.accumulate,
            epoch: last_train_step / self.train_batches,
            batch,
            dev: true,
            closes,
            last: closes && self.step == self.steps,
            ..StepInfo::default()
        }
    }

    fn next_train_step(&mut self) -> StepInfo {
        let step = self.step;
        self.step += 1;
        let update = step / self.clock.accumulate + 1;
        let closes = self.step.is_multiple_of(self.clock.accumulate);
        let ends = self.step == self.steps;
        let checkpoint_due = ends || update.is_multiple_of(self.clock.checkpoint_every);
        if closes {
            self.dev_batch = self.first_dev_batch(update);
        }
        StepInfo {
            step,
            update,
            epoch: step / self.train_batches,
            batch: step % self.train_batches,
            closes,
            checkpoint: closes && checkpoint_due,
            last: ends && self.dev_batch.is_none(),
            ..StepInfo::default()
        }
    }
}

impl Iterator for StepClock {
    type Item = (StepInfo, usize);

    fn next(&mut self) -> Option<(StepInfo, usize)> {
        let info = match self.dev_batch {
            Some(batch) => self.next_dev_step(batch),
            None if self.step == self.steps => return None,
            None => self.next_train_step(),
        };
        Some((info, info.batch as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A phase of two epochs or of some updates, with a checkpoint every 4.
    #[derive(Clone, Copy)]
    struct Phase {
        updates: Option<u64>,
        accumulate: u64,
        from: u64,
        dev_every: u64,
        train_batches: u64,
        dev_batches: u64,
    }

    impl Phase {
        fn steps(self) -> Vec<StepInfo> {
            let clock = Clock {
                updates: self.updates,
                accumulate: self.accumulate,
                checkpoint_every: 4,
                from: self.from,
            };
            let dev_every = self.dev_every;
            let steps = StepClock::new(clock, 2, dev_every, self.train_batches, self.dev_batches);
            steps.map(|(info, _)| info).collect()
        }
    }

    const PHASE: Phase = Phase {
        updates: Some(5),
        accumulate: 1,
        from: 0,
        dev_every: 2,
        train_batches: 3,
        dev_batches: 2,
    };

    /// Writes a letter per step: d for a dev and t for a train batch, a capital if it closes, then
    /// c for a checkpoint, and `.` for the end of the phase.
    fn letters(phase: Phase) -> String {
        let mut letters = String::new();
        for info in phase.steps() {
            letters += match (info.dev, info.closes) {
                (true, false) => "d",
                (true, true) => "D",
                (false, false) => "t",
                (false, true) => "T",
            };
            if info.checkpoint {
                letters.push('c');
            }
            if info.last {
                letters.push('.');
            }
        }
        letters
    }

    #[test]
    fn dev_passes_updates_and_ends() {
        assert_eq!(letters(PHASE), "dDTTdDTTcdDTcdD.");
        let only_ends = Phase {
            dev_every: 0,
            dev_batches: 1,
            ..PHASE
        };
        assert_eq!(letters(only_ends), "DTTTTcTcD.");
        let accumulated = Phase {
            updates: Some(4),
            accumulate: 2,
            dev_batches: 1,
            ..PHASE
        };
        assert_eq!(letters(accumulated), "DtTtTDtTtTcD.");
        let no_dev = Phase {
            dev_batches: 0,
            ..PHASE
        };
        assert_eq!(letters(no_dev), "TTTTcTc.");
        let epochs = Phase {
            updates: None,
            dev_every: 1,
            ..PHASE
        };
        assert_eq!(letters(epochs), "dDTTTTcTTc.");
        let epochs_without_dev = Phase {
            dev_batches: 0,
            ..epochs
        };
        assert_eq!(letters(epochs_without_dev), "TTTTcTTc.");
    }

    #[test]
    fn numbers() {
        let phase = Phase {
            updates: Some(4),
            accumulate: 2,
            ..PHASE
        };
        let numbers = |dev: bool| {
            let steps = phase.steps().into_iter().filter(|info| info.dev == dev);
            steps
                .map(|info| (info.step, info.update, info.epoch, info.batch))
                .collect::<Vec<_>>()
        };
        let train = [
            (0, 1, 0, 0),
            (1, 1, 0, 1),
            (2, 2, 0, 2),
            (3, 2, 1, 0),
            (4, 3, 1, 1),
            (5, 3, 1, 2),
            (6, 4, 2, 0),
            (7, 4, 2, 1),
        ];
        assert_eq!(numbers(false), train);
        let dev = [
            (0, 0, 0, 0),
            (0, 0, 0, 1),
            (4, 2, 1, 0),
            (4, 2, 1, 1),
            (8, 4, 2, 0),
            (8, 4, 2, 1),
        ];
        assert_eq!(numbers(true), dev);
    }

    #[test]
    fn a_resumed_clock_has_the_same_steps() {
        let cases = [(1, 0, 0), (1, 2, 3), (3, 2, 1), (2, 0, 2), (1, 1, 1)];
        for (accumulate, dev_every, dev_batches) in cases {
            let whole = Phase {
                updates: Some(7),
                accumulate,
                from: 0,
                dev_every,
                train_batches: 5,
                dev_batches,
            };
            for from in 0..=7 {
                // The steps of later updates, and the dev pass of this one.
                let mut expected = whole.steps();
                expected.retain(|info| info.update > from || info.dev && info.update == from);
                let resumed = Phase { from, ..whole };
                assert_eq!(resumed.steps(), expected, "from {from}");
            }
        }
    }
}
