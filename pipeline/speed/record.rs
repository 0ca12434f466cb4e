//! What `bench` measured of a phase, and on which machine.
use crate::graph::plan::{Phase, Plan};
use crate::run::{machine, now, threads};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What decides the speed of a phase beside the phase itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The CPU's model, in a build for GPUs those of the GPUs.
    pub processor: String,
    pub threads: usize,
    /// The program's.
    pub version: String,
}

impl Machine {
    /// Describes this machine and program.
    pub fn this() -> Machine {
        Machine {
            processor: machine::processor(),
            threads: threads(),
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Machine {
            processor,
            threads,
            version,
        } = self;
        write!(f, "{processor}, {threads} threads, version {version}")
    }
}

/// What the batches of a measurement were.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speech {
    /// Those of the recipe.
    Manifest,
    /// Those of the recipe, with their targets in a cache.
    Cached,
    /// Noise.
    Noise { rows: usize, seconds: f64 },
}

/// The speed of a phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchRecord {
    pub graph: String,
    pub phase: String,
    pub machine: Machine,
    /// Unix seconds.
    pub measured: u64,
    pub speech: Speech,
    /// Median seconds of an update.
    pub step_seconds: f64,
    pub audio_per_second: f64,
}

impl BenchRecord {
    /// Describes what was measured now on this machine.
    pub fn new(
        plan: &Plan,
        phase: &Phase,
        speech: Speech,
        step_seconds: f64,
        audio_per_second: f64,
    ) -> BenchRecord {
        BenchRecord {
            graph: plan.name.clone(),
            phase: phase.name.clone(),
            machine: Machine::this(),
            measured: now(),
            speech,
            step_seconds,
            audio_per_second,
        }
    }
}
