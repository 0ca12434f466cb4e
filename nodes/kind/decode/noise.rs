//! Batches of noise in place of speech, to measure time without data.
use super::clock::StepClock;
use super::speech::Speech;
use crate::Result;
use crate::node::step::{Step, StepInfo};
use crate::node::{Node, NodeContext, Synthetic};
use compute::random::Key;

/// About as loud as speech.
const LEVEL: f32 = 0.1;

pub struct Noise {
    clock: StepClock,
    key: Key,
    size: Synthetic,
}

impl Noise {
    pub fn new(context: &NodeContext, size: Synthetic) -> Noise {
        // One epoch without an end, and no dev set.
        Noise {
            clock: StepClock::new(context.run.clock, 1, 0, u64::MAX, 0),
            key: Key::new(context.run.seed, &["noise"]),
            size,
        }
    }
}

impl Node for Noise {
    fn next_step(&mut self) -> Result<StepInfo> {
        let (info, _) = self.clock.next().ok_or("has no step left")?;
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
        let ids = (0..rows).map(|row| format!("noise-{row}")).collect();
        step.send(
            "speech",
            Speech {
                ids,
                samples: noise,
                lengths: vec![samples; rows],
            }
            .into_value(0)?,
        );
        Ok(())
    }
}
