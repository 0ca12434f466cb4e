//! `pipeline tap GRAPH NODE.PORT --steps N --out FILE.parquet [--phase P]`: writes what a port
//! sends.
//!
//! The phases before it run first, in a temporary folder, as `run --steps N` runs them. The phase then
//! runs as in that run, except that there are no dev passes and that no model or checkpoint is written.
//! Caches are read and filled as in a run.
use crate::dry_run::{self, DryRun, TemporaryFolder, check_files, find_phase};
use crate::ending::{CommandError, CommandResult, refuse_folder};
use crate::screen::Screen;
use crate::signal::Signals;
use crate::{device, graph, numbers};
use nodes::data::file;
use nodes::data::suggestion::suggestion;
use nodes::node::step::StepInfo;
use nodes::tool::tap::Tap;
use pipeline::graph::plan::Phase;
use pipeline::run::error::PhaseEnd;
use pipeline::run::stage::NodeEvent;
use pipeline::run::{Run, phase};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    graph: graph::Arguments,
    #[command(flatten)]
    device: device::Arguments,
    /// The output port to write, such as `student.hiddens`
    #[arg(value_name = "NODE.PORT")]
    port: String,
    /// Updates to run
    #[arg(long, value_name = "N", value_parser = numbers::updates, allow_negative_numbers = true)]
    steps: u64,
    /// The Parquet file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The phase to run [default: the first]
    #[arg(long, value_name = "P")]
    phase: Option<String>,
}

impl Arguments {
    /// Runs the phase and writes the file.
    pub(crate) fn run(self) -> CommandResult {
        refuse_folder(&self.out)?;
        let mut earlier = self.graph.plan()?;
        let phase = find_phase(&earlier, self.phase.as_deref())?;
        let no_dev_passes = dry_run::without_dev_passes(&earlier, phase);
        let plan = self.graph.plan_with(&no_dev_passes)?;
        let phase = find_phase(&plan, self.phase.as_deref())?;
        let (node, port) = self.find_port(phase)?;
        check_files(phase)?;
        let nodes = plan.phases.iter().flat_map(|phase| &phase.nodes);
        let reads = nodes.flat_map(|node| &node.info.reads);
        let reads = reads.map(Path::new).chain([&*self.graph.graph]);
        file::refuse_input(&self.out, reads)?;
        let device = self.device.choose()?;

        let folder = TemporaryFolder::new("tap")?;
        let screen = Arc::new(Screen::new());
        let signals = Signals::catch_and_answer(&screen)?;
        let number = earlier
            .phases
            .iter()
            .position(|other| other.name == phase.name);
        earlier.phases.truncate(number.unwrap_or(0));
        let before = Run {
            plan: &earlier,
            out: folder.path().to_owned(),
            resume: false,
            steps: Some(self.steps),
            shard: None,
            device,
            arguments: Value::Null,
            report: screen.clone(),
            stop: signals.stop.clone(),
            ranks: Arc::default(),
        };
        let ended = before.run_unrecorded();
        if !matches!(ended, Ok(PhaseEnd::Finished)) {
            screen.close();
        }
        if ended? == PhaseEnd::Stopped {
            return Err(signals.interruption());
        }
        let dry_run = DryRun {
            plan: &plan,
            phase,
            updates: self.steps,
            folder: folder.path(),
            synthetic: None,
            tapped: Some((node.to_owned(), port)),
            report: screen.clone(),
            stop: signals.stop.clone(),
            ranks: Arc::default(),
        };
        let tap = Mutex::new(Ok(Tap::new(&self.out)));
        let watch = |name: &str, info: StepInfo, moment: NodeEvent| {
            let NodeEvent::Finished(_, sent) = moment else {
                return;
            };
            let Some(value) = sent.get(port).filter(|_| name == node) else {
                return;
            };
            let mut tap = tap.lock().unwrap_or_else(PoisonError::into_inner);
            if let Ok(open) = &mut *tap
                && let Err(error) = open.write(info, value)
            {
                *tap = Err(error);
                signals.stop.store(true, Ordering::Relaxed);
            }
        };
        let ended = phase::run(phase, &dry_run.context(), None, &watch);
        screen.close();
        ended?;
        let tap = tap.into_inner().unwrap_or_else(PoisonError::into_inner)?;
        if signals.stopped() {
            return Err(signals.interruption());
        }
        tap.finish()?;
        Ok(())
    }

    /// Returns the node and its output port that `NODE.PORT` names.
    fn find_port<'a>(&'a self, phase: &'a Phase) -> Result<(&'a str, &'static str), CommandError> {
        let Some((node_name, port_name)) = self.port.split_once('.') else {
            return Err(CommandError::Usage("write the port as node.port".into()));
        };
        let Some(node) = phase.nodes.iter().find(|node| node.name() == node_name) else {
            let suggestion = suggestion(node_name, phase.nodes.iter().map(|node| node.name()));
            let phase = &phase.name;
            return Err(CommandError::Usage(format!(
                "phase `{phase}` has no node `{node_name}`{suggestion}"
            )));
        };
        let outputs = node.kind().ports.outputs;
        let Some(port) = outputs.iter().find(|port| port.name == port_name) else {
            let suggestion = suggestion(port_name, outputs.iter().map(|port| port.name));
            return Err(CommandError::Usage(format!(
                "node `{node_name}` has no output `{port_name}`{suggestion}"
            )));
        };
        let mut unavailable = node.info.unavailable.iter();
        if let Some((_, reason)) = unavailable.find(|(output, _)| *output == port.name) {
            return Err(CommandError::Usage(format!(
                "nothing comes on `{node_name}.{port_name}`: {reason}"
            )));
        }
        Ok((node_name, port.name))
    }
}
