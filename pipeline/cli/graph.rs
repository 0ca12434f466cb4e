//! The graph of a command line.
use crate::Failure;
use pipeline::graph::plan::{Plan, plan};
use pipeline::graph::problem::{Location, Problems};
use pipeline::graph::spec;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What to say after a graph that is not there.
const WHERE: &str = "; the shipped ones lie in the folder `graphs` of the project's repository";

#[derive(clap::Args)]
pub struct Arguments {
    /// The graph file
    pub graph: PathBuf,
    /// Set an option: `node.option=value`, `phase.node.option=value` or `seed=value`
    #[arg(long = "set", value_name = "WAY=VALUE")]
    pub sets: Vec<String>,
}

impl Arguments {
    pub fn plan(&self) -> Result<Plan, Failure> {
        self.plan_with(&[])
    }

    /// With more settings, after those of the command line.
    pub fn plan_with(&self, more: &[String]) -> Result<Plan, Failure> {
        let bytes = std::fs::read(&self.graph).map_err(|e| {
            let hint = if e.kind() == ErrorKind::NotFound {
                WHERE
            } else {
                ""
            };
            Failure::Usage(format!("{}: {e}{hint}", self.graph.display()))
        })?;
        let mut problems = Problems::default();
        let text = String::from_utf8_lossy(&bytes);
        if let Err(e) = std::str::from_utf8(&bytes) {
            problems.add(&Location::Byte(e.valid_up_to()), "this is not UTF-8 text");
            return Err(self.problems(problems, &text));
        }
        let graph = spec::read(&text, &[&self.sets, more].concat(), &mut problems);
        let plan = graph.and_then(|graph| plan(graph, &mut problems));
        plan.filter(|_| problems.is_empty())
            .ok_or_else(|| self.problems(problems, &text))
    }

    fn problems(&self, problems: Problems, text: &str) -> Failure {
        Failure::Graph(problems.render(&Path::display(&self.graph).to_string(), text))
    }
}
