//! Takes the metrics as they come into TensorBoard's event file and, when its phase ends, draws the run's losses as
//! `loss.svg`.
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
use events::Events;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

mod events;

/// Keeps the metrics as TensorBoard's events and draws loss.svg.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Of how many updates one is told and drawn; the dev set's values all are.
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
        match self.every {
            0 => Err(vec![OptionError::at(
                "every",
                "option `every`: must be at least 1",
            )]),
            _ => Ok(NodeInfo::default()),
        }
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
    /// None where nothing is kept.
    events: Option<Events>,
}

impl Log {
    fn takes(&self, name: &str, update: u64) -> bool {
        name.starts_with("dev/") || update.is_multiple_of(self.every)
    }
}

impl Node for Log {
    /// metrics.jsonl has the updates of earlier phases, and those before a `--resume`.
    fn start(&mut self, step: &mut Step) -> Result<()> {
        let context = step.context;
        if !context.run.bench {
            let about =
                std::fs::read_to_string(context.run.folder.join("run.json")).unwrap_or_default();
            let graph = serde_json::from_str::<Json>(&about).unwrap_or_default()["graph"].take();
            let so_far = metrics::read(&context.run.folder)?;
            let so_far =
                metrics::before_resume(&so_far, &context.run.phase, context.run.clock.from);
            let lines: Vec<MetricLine> = metrics::lines(&so_far)
                .filter(|l| self.takes(&l.name, l.step))
                .collect();
            self.events = Some(Events::after(&lines, &context.run.folder, &graph)?);
        }
        Ok(())
    }

    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        let (phase, update, wall_time) =
            (&step.context.run.phase, step.info.update, metrics::now());
        let values = batch[VALUE.name].as_primitive::<Float32Type>().values();
        let line = |(name, value): (Option<&str>, &f32)| MetricLine {
            phase: phase.clone(),
            step: update,
            wall_time,
            name: name.unwrap_or_default().into(),
            value: Some(*value as f64),
        };
        let lines = column::texts(&batch, NAME)?.iter().zip(values).map(line);
        let taken: Vec<MetricLine> = lines
            .filter(|line| self.takes(&line.name, update))
            .collect();
        self.events
            .as_mut()
            .map_or(Ok(()), |events| events.write(&taken))
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        self.events.as_ref().map_or(Ok(()), Events::sync)?;
        let mut phases = curves::read(&metrics::read(&step.context.run.folder)?);
        for (name, points) in phases.iter_mut().flat_map(|phase| &mut phase.curves) {
            points.retain(|(update, _)| self.takes(name, *update));
        }
        file::write_atomic(
            &step.context.run.folder.join("loss.svg"),
            charts::losses(&phases).as_bytes(),
        )
    }
}
