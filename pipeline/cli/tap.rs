//! `pipeline tap GRAPH NODE.PORT --steps N --out FILE.parquet [--phase P]`: what crosses a port. The phase runs as it
//! would, dev passes apart, but keeps nothing: no run folder, no model, no checkpoint. Its caches are used, and filled,
//! as in a run.
use crate::dry_run::{self, Scratch, chosen, complete};
use crate::screen::Screen;
use crate::signal::Signals;
use crate::{Failure, Outcome, device, graph};
use nodes::data::suggestion::suggestion;
use nodes::tool::tap::Tap;
use pipeline::graph::plan::Phase;
use pipeline::run::phase;
use pipeline::run::stage::NodeEvent;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    graph: graph::Arguments,
    #[command(flatten)]
    device: device::Arguments,
    /// What to write down: `student.hiddens`
    #[arg(value_name = "NODE.PORT")]
    port: String,
    /// Updates to run
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// The Parquet file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The phase to run [default: the first]
    #[arg(long, value_name = "P")]
    phase: Option<String>,
}

impl Arguments {
    pub fn run(self) -> Outcome {
        if self.out.is_dir() {
            return Err(Failure::Usage(format!(
                "{} is a folder",
                self.out.display()
            )));
        }
        let plan = self.graph.plan()?;
        let phase = chosen(&plan, self.phase.as_deref())?;
        let no_dev = dry_run::set(&plan, phase, phase.source, "dev=null");
        let plan = self.graph.plan_with(&[no_dev])?;
        let phase = chosen(&plan, self.phase.as_deref())?;
        let (node, port) = self.tapped(phase)?;
        complete(phase)?;
        self.device.choose()?;
        let scratch = Scratch::new("tap")?;
        let (signals, screen) = (Signals::catch()?, Arc::new(Screen::new()));
        let context = dry_run::context(
            &plan,
            phase,
            self.steps,
            &scratch.0,
            None,
            screen.clone(),
            signals.stop.clone(),
        );
        let tap = Mutex::new(Ok(Tap::new(&self.out)));
        let watch = |name: &str, head, moment: NodeEvent| {
            let NodeEvent::Finished(_, sent) = moment else {
                return;
            };
            let Some(value) = sent.get(port).filter(|_| name == node) else {
                return;
            };
            let mut tap = tap.lock().unwrap_or_else(PoisonError::into_inner);
            if let Ok(open) = &mut *tap
                && let Err(error) = open.write(head, value)
            {
                *tap = Err(error);
                signals.stop.store(true, Ordering::Relaxed);
            }
        };
        let ended = phase::run(phase, &context, None, &watch);
        screen.close();
        ended?;
        let tap = tap.into_inner().unwrap_or_else(PoisonError::into_inner)?;
        if signals.stop.load(Ordering::Relaxed) {
            return Ok(signals.code());
        }
        tap.finish()?;
        Ok(0)
    }

    /// Node and output port.
    fn tapped<'a>(&'a self, phase: &'a Phase) -> Result<(&'a str, &'static str), Failure> {
        let wrong = |says: String| Failure::Usage(says);
        let (node, port) = self
            .port
            .split_once('.')
            .ok_or_else(|| wrong("write the port as node.port".into()))?;
        let names = || phase.nodes.iter().map(|n| n.name());
        let known = phase.nodes.iter().find(|n| n.name() == node);
        let known = known.ok_or_else(|| {
            wrong(format!(
                "phase `{}` has no node `{node}`{}",
                phase.name,
                suggestion(node, names())
            ))
        })?;
        let outputs = known.kind().ports.outputs;
        let found = outputs.iter().find(|p| p.name == port);
        let found = found.ok_or_else(|| {
            wrong(format!(
                "node `{node}` has no output `{port}`{}",
                suggestion(port, outputs.iter().map(|p| p.name))
            ))
        })?;
        Ok((node, found.name))
    }
}
