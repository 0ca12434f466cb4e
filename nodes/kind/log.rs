//! Writes the metrics into TensorBoard's event file while the run goes on and, when its phase ends,
//! draws the losses of the run as `loss.svg`.
mod events;
mod protobuf;

use crate::Result;
use crate::chart::{charts, curves};
use crate::data::column;
use crate::data::column::{METRICS, NAME, VALUE};
use crate::data::file;
use crate::data::metrics;
use crate::data::metrics::MetricLine;
use crate::node::port::{Carries, Port, Ports, Shapes};
use crate::node::step::Step;
use crate::node::{
    Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs, Role,
};
use arrow::array::AsArray;
use arrow::datatypes::Float32Type;
use events::EventFile;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;
use std::path::Path;

/// Keeps the metrics as TensorBoard's events and draws loss.svg.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Keep the metrics of one update in this many; those of the dev set are all kept.
    #[serde(default = "one")]
    every: u64,
}

fn one() -> u64 {
    1
}

const IN: &str = "metrics";

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Batch(METRICS))],
        outputs: &[],
    };
    const ROLE: Role = Role::Log;
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, _: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        if self.every == 0 {
            return Err(vec![OptionError::option("every", "must be at least 1")]);
        }
        Ok(NodeInfo::default())
    }

    fn build(&self, _: &NodeContext) -> Result<Box<dyn Node>> {
        Ok(Box::new(Log {
            every: self.every,
            events: None,
        }))
    }
}

struct Log {
    every: u64,
    /// `None` in a benchmark, and on all ranks but the first.
    events: Option<EventFile>,
}

impl Log {
    /// Returns whether a metric of an update is kept.
    fn keeps(&self, metric: &str, update: u64) -> bool {
        metric.starts_with("dev/") || update.is_multiple_of(self.every)
    }
}

/// Reads the graph from the run's record; null if there is none.
fn graph(run: &Path) -> Json {
    let record = std::fs::read_to_string(run.join("run.json")).unwrap_or_default();
    serde_json::from_str::<Json>(&record).unwrap_or_default()["graph"].take()
}

impl Node for Log {
    /// Opens the event file after the metrics of earlier phases and of updates before a `--resume`.
    fn start(&mut self, step: &mut Step) -> Result<()> {
        let run = &step.context.run;
        if run.bench || !run.ranks.is_first() {
            return Ok(());
        }
        let metrics = metrics::read(&run.folder)?;
        let metrics = metrics::before_resume(&metrics, &run.phase, run.clock.from);
        let lines: Vec<MetricLine> = metrics::lines(&metrics)
            .filter(|line| self.keeps(&line.name, line.step))
            .collect();
        let events = EventFile::open_after(&lines, &run.folder, &graph(&run.folder))?;
        self.events = Some(events);
        Ok(())
    }

    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        let names = column::texts(&batch, NAME)?;
        let values = batch[VALUE.name].as_primitive::<Float32Type>().values();
        let phase = &step.context.run.phase;
        let update = step.info.update;
        let wall_time = metrics::now();
        let mut lines = vec![];
        for (name, value) in names.iter().zip(values) {
            let name = name.unwrap_or_default();
            if self.keeps(name, update) {
                lines.push(MetricLine {
                    phase: phase.clone(),
                    step: update,
                    wall_time,
                    name: name.into(),
                    value: Some(*value as f64),
                });
            }
        }
        match &mut self.events {
            Some(events) => events.write(&lines),
            None => Ok(()),
        }
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        if let Some(events) = &self.events {
            events.sync()?;
        }
        let folder = &step.context.run.folder;
        let mut phases = curves::read(&metrics::read(folder)?);
        for (name, points) in phases.iter_mut().flat_map(|phase| &mut phase.curves) {
            points.retain(|(update, _)| self.keeps(name, *update));
        }
        let svg = charts::losses(&phases);
        file::write_atomic(&folder.join("loss.svg"), svg.as_bytes())
    }
}
