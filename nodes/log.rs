//! Takes the metrics as they come and, when its phase ends, draws the run's loss as `loss.svg`.
use crate::Result;
use crate::column::METRICS;
use crate::node::{Config, Facts, Node, Place, World, Wrong};
use crate::port::{Carries, Port, Ports, Shapes};
use crate::step::Step;
use schemars::JsonSchema;
use serde::Deserialize;

mod draw;

/// Draws loss.svg from the metrics when its phase ends.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Of how many updates one is drawn.
    #[serde(default = "one")]
    every: u64,
}

fn one() -> u64 {
    1
}

const IN: &str = "metrics";

impl Config for Options {
    fn ports(&self) -> Ports {
        const INPUTS: &[Port] = &[Port::new(IN, Carries::Batch(METRICS))];
        Ports { inputs: INPUTS, outputs: &[] }
    }
    fn facts(&self, _: &World, _: &Shapes) -> Result<Facts, Vec<Wrong>> {
        match self.every {
            0 => Err(vec![Wrong::at("every", "option `every`: must be at least 1")]),
            _ => Ok(Facts::default()),
        }
    }
    fn build(&self, _: &Place) -> Result<Box<dyn Node>> {
        Ok(Box::new(Log { every: self.every }))
    }
}

struct Log {
    every: u64,
}

impl Node for Log {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        step.batch(IN).map(drop)
    }

    /// From metrics.jsonl, which has the updates of earlier phases, and those before a `--resume`, too.
    fn finish(&mut self, step: &mut Step) -> Result<()> {
        let run = &step.place.run;
        let text = std::fs::read_to_string(run.join("metrics.jsonl"))?;
        crate::file::whole(&run.join("loss.svg"), draw::loss(&text, self.every)?.as_bytes())
    }
}
