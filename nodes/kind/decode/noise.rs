//! Batches of noise in place of speech, to measure time without data.
use super::OUT;
use super::clock::StepClock;
use super::rank_steps::RankSteps;
use super::speech::Speech;
use crate::Result;
use crate::node::step::{Step, StepInfo};
use crate::node::{Node, NodeContext, Synthetic};
use compute::random::Key;

/// The standard deviation, about that of speech.
const LEVEL: f32 = 0.1;

/// The source of a benchmark without data.
pub(super) struct NoiseSource {
    steps: RankSteps,
    key: Key,
    size: Synthetic,
}

impl NoiseSource {
    /// Builds the node with one endless epoch and no dev set.
    pub(super) fn new(context: &NodeContext, size: Synthetic) -> NoiseSource {
        let clock = StepClock::new(context.run.clock, 1, 0, u64::MAX, 0);
        NoiseSource {
            steps: RankSteps::new(clock, &context.run),
            key: Key::new(context.run.seed, &["noise"]),
            size,
        }
    }
}

impl Node for NoiseSource {
    fn next_step(&mut self) -> Result<StepInfo> {
        let (info, _) = self.steps.next().ok_or("has no step left")?;
        Ok(StepInfo {
            samples: (self.size.rows * self.size.samples) as u64,
            ..info
        })
    }

    fn run(&mut self, step: &mut Step) -> Result<()> {
        let Synthetic { rows, samples } = self.size;
        let noise = (0..rows * samples)
            .map(|i| LEVEL * self.key.normal(step.info.step, i as u64))
            .collect();
        let speech = Speech {
            ids: (0..rows)
                .map(|row| format!("noise-{}-{row}", step.info.step))
                .collect(),
            samples: noise,
            lengths: vec![samples; rows],
        };
        step.send(OUT, speech.into_value(0)?);
        Ok(())
    }
}
