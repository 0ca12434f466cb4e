//! `pipeline run GRAPH [--set a.b=v]... [--out DIR] [--resume] [--steps N] [--device D]`
use crate::screen::Screen;
use crate::signal::Signals;
use crate::{Failure, Outcome, device, graph};
use pipeline::run::Run;
use pipeline::run::error::{RunError, RunOutcome};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    graph: graph::Arguments,
    /// The run's folder [default: runs/NAME of the graph]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the run in the folder
    #[arg(long)]
    resume: bool,
    /// End every phase after so many updates; schedules stay those of the file
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    #[command(flatten)]
    device: device::Arguments,
}

impl Arguments {
    pub fn run(self) -> Outcome {
        let plan = self.graph.plan()?;
        let out = self
            .out
            .clone()
            .unwrap_or_else(|| PathBuf::from("runs").join(&plan.name));
        let signals = Signals::catch()?;
        let screen = Arc::new(Screen::new());
        let run = Run {
            plan: &plan,
            out: out.clone(),
            resume: self.resume,
            steps: self.steps,
            device: self.device.choose()?,
            arguments: json!({
                "graph": self.graph.graph.to_string_lossy(),
                "set": self.graph.sets,
                "out": out.to_string_lossy(),
                "resume": self.resume,
                "steps": self.steps,
            }),
            report: screen.clone(),
            stop: signals.stop.clone(),
        };
        let ended = run.run();
        screen.close();
        match ended {
            Ok(RunOutcome::Finished) => Ok(0),
            Ok(RunOutcome::AlreadyFinished) => {
                eprintln!("{} is finished already", out.display());
                Ok(0)
            }
            Ok(RunOutcome::Stopped) => {
                eprintln!("stopped; `--resume` goes on");
                Ok(signals.code())
            }
            Err(RunError::FolderInUse(says)) => Err(Failure::Usage(says)),
            Err(RunError::Failed(says)) => Err(Failure::Failed(says)),
        }
    }
}
