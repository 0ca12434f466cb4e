//! The clock of a phase: its train batches, and the dev passes between them.
//!
//! A dev pass comes before the first update, after every `dev_every` and after the last. Everything follows from the
//! number of updates done, so a run that goes on needs no other state; the pass due at that update is run again.
use crate::node::Clock;
use crate::node::step::StepInfo;

pub struct StepClock {
    clock: Clock,
    dev_every: u64,
    /// Batches of an epoch, and of a dev pass (0: there is no dev set).
    train: u64,
    dev: u64,
    /// Train batches of the phase, and those before the next one.
    steps: u64,
    step: u64,
    /// The next batch of the dev pass that is going on.
    pass: Option<u64>,
}

impl StepClock {
    /// A clock without updates runs `epochs` epochs, with one dev pass before them.
    pub fn new(clock: Clock, epochs: u64, dev_every: u64, train: u64, dev: u64) -> StepClock {
        let steps = clock.updates.map_or(epochs.saturating_mul(train), |n| {
            n.saturating_mul(clock.accumulate)
        });
        let step = clock.from * clock.accumulate;
        let mut step_clock = StepClock {
            clock,
            dev_every,
            train,
            dev,
            steps,
            step,
            pass: None,
        };
        step_clock.pass = step_clock.measures(clock.from).then_some(0);
        step_clock
    }
    /// Whether the dev set is measured after this update.
    fn measures(&self, update: u64) -> bool {
        let between =
            |last| update == last || self.dev_every > 0 && update.is_multiple_of(self.dev_every);
        self.dev > 0 && (update == 0 || self.clock.updates.is_some_and(between))
    }
    fn dev_batch(&mut self, batch: u64) -> StepInfo {
        let closes = batch + 1 == self.dev;
        self.pass = (!closes).then_some(batch + 1);
        StepInfo {
            step: self.step,
            update: self.step / self.clock.accumulate,
            epoch: self.step.saturating_sub(1) / self.train, // of the train batch before it
            batch,
            dev: true,
            closes,
            last: closes && self.step == self.steps,
            ..StepInfo::default()
        }
    }
    fn train_batch(&mut self) -> StepInfo {
        let step = self.step;
        self.step += 1;
        let (update, ends) = (step / self.clock.accumulate + 1, self.step == self.steps);
        let closes = self.step.is_multiple_of(self.clock.accumulate);
        self.pass = (closes && self.measures(update)).then_some(0);
        StepInfo {
            step,
            update,
            epoch: step / self.train,
            batch: step % self.train,
            closes,
            checkpoint: closes && (ends || update.is_multiple_of(self.clock.checkpoint_every)),
            last: ends && self.pass.is_none(),
            ..StepInfo::default()
        }
    }
}

/// The info without its samples, and the number of its batch in the epoch or the dev pass.
impl Iterator for StepClock {
    type Item = (StepInfo, usize);
    fn next(&mut self) -> Option<(StepInfo, usize)> {
        match self.pass {
            Some(batch) => Some((self.dev_batch(batch), batch as usize)),
            None if self.step == self.steps => None,
            None => {
                let batch = (self.step % self.train) as usize;
                Some((self.train_batch(), batch))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(
        updates: Option<u64>,
        accumulate: u64,
        from: u64,
        dev_every: u64,
        train: u64,
        dev: u64,
    ) -> Vec<(StepInfo, usize)> {
        StepClock::new(
            Clock {
                updates,
                accumulate,
                checkpoint_every: 4,
                from,
            },
            2,
            dev_every,
            train,
            dev,
        )
        .collect()
    }
    /// One letter a step: d a dev batch, t a train batch, in capitals when it closes; c: a checkpoint; `.` the end.
    fn line(steps: &[(StepInfo, usize)]) -> String {
        let letter = |h: &StepInfo| match (h.dev, h.closes) {
            (true, false) => "d",
            (true, true) => "D",
            (false, false) => "t",
            (false, true) => "T",
        };
        let marks = |h: &StepInfo| {
            format!(
                "{}{}{}",
                letter(h),
                if h.checkpoint { "c" } else { "" },
                if h.last { "." } else { "" }
            )
        };
        steps.iter().map(|(h, _)| marks(h)).collect()
    }

    #[test]
    fn passes_updates_and_ends() {
        assert_eq!(line(&clock(Some(5), 1, 0, 2, 3, 2)), "dDTTdDTTcdDTcdD.");
        assert_eq!(line(&clock(Some(5), 1, 0, 0, 3, 1)), "DTTTTcTcD.");
        assert_eq!(line(&clock(Some(4), 2, 0, 2, 3, 1)), "DtTtTDtTtTcD.");
        assert_eq!(line(&clock(Some(5), 1, 0, 2, 3, 0)), "TTTTcTc.");
        assert_eq!(line(&clock(None, 1, 0, 1, 3, 2)), "dDTTTTcTTc.");
        assert_eq!(line(&clock(None, 1, 0, 1, 3, 0)), "TTTTcTTc.");
    }

    #[test]
    fn numbers() {
        let all = clock(Some(4), 2, 0, 2, 3, 2);
        let of = |dev: bool| all.iter().filter(move |(h, _)| h.dev == dev);
        let train: Vec<_> = of(false)
            .map(|(h, b)| (h.step, h.update, h.epoch, *b))
            .collect();
        let expected = [
            (0, 1, 0, 0),
            (1, 1, 0, 1),
            (2, 2, 0, 2),
            (3, 2, 1, 0),
            (4, 3, 1, 1),
            (5, 3, 1, 2),
            (6, 4, 2, 0),
            (7, 4, 2, 1),
        ];
        assert_eq!(train, expected);
        let dev: Vec<_> = of(true)
            .map(|(h, b)| (h.step, h.update, h.epoch, *b))
            .collect();
        assert_eq!(
            dev,
            [
                (0, 0, 0, 0),
                (0, 0, 0, 1),
                (4, 2, 1, 0),
                (4, 2, 1, 1),
                (8, 4, 2, 0),
                (8, 4, 2, 1)
            ]
        );
    }

    #[test]
    fn going_on_gives_the_same_tail() {
        for (accumulate, dev_every, dev) in [(1, 0, 0), (1, 2, 3), (3, 2, 1), (2, 0, 2), (1, 1, 1)]
        {
            let all = clock(Some(7), accumulate, 0, dev_every, 5, dev);
            for from in 0..=7 {
                // What belongs to later updates, and the dev pass of this one.
                let tail = all
                    .iter()
                    .filter(|(h, _)| h.update > from || h.dev && h.update == from);
                let expected: Vec<_> = tail.copied().collect();
                assert_eq!(
                    clock(Some(7), accumulate, from, dev_every, 5, dev),
                    expected,
                    "from {from}"
                );
            }
        }
    }
}
