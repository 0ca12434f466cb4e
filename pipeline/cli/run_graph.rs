//! `pipeline run GRAPH [--set a.b=v]... [--out DIR] [--resume] [--steps N] [--shard I/N] [--device D]`
use crate::ending::{CommandError, CommandResult};
use crate::ranks::OtherRankReport;
use crate::screen::Screen;
use crate::signal::Signals;
use crate::{device, graph, numbers, ranks};
use compute::ranks::Ranks;
use nodes::data::printable::printable_path;
use nodes::node::Shard;
use nodes::node::report::Report;
use pipeline::run::error::{RunError, RunOutcome};
use pipeline::run::{Run, shard};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    graph: graph::Arguments,
    /// The run's folder [default: runs/NAME of the graph, with `--shard` runs/NAME-I-of-N]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Resume the run in the folder
    #[arg(long)]
    resume: bool,
    /// End every phase after N updates; schedules stay those of the graph
    #[arg(long, value_name = "N", value_parser = numbers::updates, allow_negative_numbers = true)]
    steps: Option<u64>,
    /// Compute the I-th of N equal shares of the rows, I from 1: for graphs without an `optimize`,
    /// whose cache several processes fill at once
    #[arg(long, value_name = "I/N", value_parser = numbers::shard)]
    shard: Option<Shard>,
    #[command(flatten)]
    device: device::Arguments,
}

impl Arguments {
    /// Runs or resumes the graph.
    pub(crate) fn run(self) -> CommandResult {
        let ranks = match self.shard {
            // A launcher may have started processes with a share each.
            Some(_) if cfg!(not(feature = "mpi")) => Arc::new(Ranks::alone()),
            _ => ranks::join()?,
        };
        let plan = self.graph.plan_for_ranks(&[], ranks.count())?;
        if let Some(message) = self.shard.and_then(|_| shard::refusal(&plan)) {
            return Err(CommandError::Usage(message));
        }
        let out = graph::run_folder(self.out.as_deref(), &plan);
        let out = match self.shard {
            Some(Shard { index, count }) if self.out.is_none() => {
                PathBuf::from(format!("{}-{}-of-{count}", out.display(), index + 1))
            }
            _ => out,
        };
        let screen = Arc::new(Screen::new());
        let signals;
        let report: Arc<dyn Report>;
        if ranks.is_first() {
            signals = Signals::catch_and_answer(&screen)?;
            report = screen.clone();
        } else {
            signals = Signals::catch()?;
            report = Arc::new(OtherRankReport::new(ranks.rank()));
        }
        let run = Run {
            plan: &plan,
            out: out.clone(),
            resume: self.resume,
            steps: self.steps,
            shard: self.shard,
            device: self.device.choose()?,
            arguments: json!({
                "graph": self.graph.graph.to_string_lossy(),
                "set": self.graph.sets,
                "out": out.to_string_lossy(),
                "resume": self.resume,
                "steps": self.steps,
                "shard": self.shard.map(|shard| format!("{}/{}", shard.index + 1, shard.count)),
            }),
            report,
            stop: signals.stop.clone(),
            ranks: ranks.clone(),
        };
        let outcome = run.run();
        screen.close();
        match outcome {
            Ok(RunOutcome::Finished) => Ok(()),
            Ok(RunOutcome::AlreadyFinished) => {
                if ranks.is_first() {
                    // A cache that it filled may have been removed since.
                    let trains = plan.phases.iter().any(|phase| phase.optimizer.is_some());
                    let mut nodes = plan.phases.iter().flat_map(|phase| &phase.nodes);
                    let hint = match !trains && nodes.any(|node| node.spec.cache.is_some()) {
                        true => {
                            "; `pipeline cache why` says whether its cache still has all rows, and \
                             another `--out` fills it again"
                        }
                        false => "",
                    };
                    eprintln!("{} is finished already{hint}", printable_path(&out));
                }
                Ok(())
            }
            Ok(RunOutcome::Stopped) => {
                let interruption = signals.interruption();
                if ranks.is_first() {
                    eprintln!("stopped; `--resume` goes on");
                }
                Err(interruption)
            }
            Err(RunError::FolderInUse(message)) => Err(CommandError::Usage(message)),
            Err(RunError::Failed(message)) => Err(CommandError::Failed(message)),
        }
    }
}
