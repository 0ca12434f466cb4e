//! Batches of noise in place of speech, to measure time without data.
use super::heads::Heads;
use super::speech::Speech;
use crate::Result;
use crate::node::step::{Head, Step};
use crate::node::{Node, Place, Synthetic};
use compute::random::Key;

/// About as loud as speech.
const LEVEL: f32 = 0.1;

pub struct Noise {
    heads: Heads,
    key: Key,
    size: Synthetic,
}

impl Noise {
    pub fn new(place: &Place, size: Synthetic) -> Noise {
        // One epoch without an end, and no dev set.
        Noise {
            heads: Heads::new(place.clock, 1, 0, u64::MAX, 0),
            key: Key::new(place.seed, &["noise"]),
            size,
        }
    }
}

impl Node for Noise {
    fn head(&mut self) -> Result<Head> {
        let (head, _) = self.heads.next().ok_or("has no step left")?;
        Ok(Head {
            samples: (self.size.rows * self.size.samples) as u64,
            ..head
        })
    }
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let Synthetic { rows, samples } = self.size;
        let noise = (0..rows * samples)
            .map(|i| LEVEL * self.key.normal(step.head.step, i as u64))
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
