//! The arguments `GRAPH` and `--set`, and the plan that they make.
use crate::ending::CommandError;
use nodes::data::printable::printable_path;
use nodes::data::text::{read_graph, without_mark};
use pipeline::graph::plan::{Plan, plan};
use pipeline::graph::problem::{Location, Problems};
use pipeline::graph::{ranks, spec};
use std::cell::OnceCell;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What the message adds if the graph file does not exist.
const SHIPPED_GRAPHS: &str = "; `pipeline new DIR` writes a shipped one";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The graph file
    pub(crate) graph: PathBuf,
    /// Set an option: `node.option=value`, `phase.node.option=value` or `seed=value`
    #[arg(long = "set", value_name = "OPTION=VALUE")]
    pub(crate) sets: Vec<String>,
    /// The bytes of the file, once it is read: a pipe can be read only once.
    #[arg(skip)]
    bytes: OnceCell<Vec<u8>>,
}

/// Returns the folder of a run: the one that is asked for, else runs/NAME of the graph.
pub(crate) fn run_folder(asked: Option<&Path>, plan: &Plan) -> PathBuf {
    asked.map_or_else(|| Path::new("runs").join(&plan.name), Path::to_owned)
}

impl Arguments {
    /// Stands for a graph that ships with the program: its name in messages, and its text.
    pub(crate) fn shipped(name: &str, text: &str, sets: Vec<String>) -> Arguments {
        Arguments {
            graph: name.into(),
            sets,
            bytes: OnceCell::from(text.as_bytes().to_vec()),
        }
    }

    /// Reads and checks the graph.
    pub(crate) fn plan(&self) -> Result<Plan, CommandError> {
        self.plan_with(&[])
    }

    /// Reads and checks the graph with more settings, applied after those of the command line.
    ///
    /// # Errors
    /// The file cannot be read, or the graph has problems: all of them are in the message.
    pub(crate) fn plan_with(&self, settings: &[String]) -> Result<Plan, CommandError> {
        self.plan_for_ranks(settings, 1)
    }

    /// As [`Arguments::plan_with`], for a run of as many processes as `ranks`.
    pub(crate) fn plan_for_ranks(
        &self,
        settings: &[String],
        ranks: usize,
    ) -> Result<Plan, CommandError> {
        let mut problems = Problems::default();
        let bytes = match without_mark(self.read()?) {
            Ok(bytes) => bytes,
            Err(message) => {
                problems.add(&Location::Byte(0), message);
                return Err(self.invalid(problems, ""));
            }
        };
        let text = String::from_utf8_lossy(bytes);
        if let Err(error) = std::str::from_utf8(bytes) {
            let message = "this is not UTF-8 text; convert the file, for instance with `iconv -f \
                           LATIN1 -t UTF-8 IN > OUT`";
            problems.add(&Location::Byte(error.valid_up_to()), message);
            return Err(self.invalid(problems, &text));
        }
        let settings = [&self.sets, settings].concat();
        let graph = spec::read(&text, &settings, &mut problems);
        let plan = graph.and_then(|graph| plan(graph, &mut problems));
        if let Some(plan) = &plan {
            ranks::check(plan, ranks, &mut problems);
        }
        match plan {
            Some(plan) if problems.is_empty() => Ok(plan),
            _ => Err(self.invalid(problems, &text)),
        }
    }

    fn read(&self) -> Result<&[u8], CommandError> {
        if let Some(bytes) = self.bytes.get() {
            return Ok(bytes);
        }
        let bytes = read_graph(&self.graph).map_err(|error| {
            let hint = match error.kind() {
                ErrorKind::NotFound => SHIPPED_GRAPHS,
                _ => "",
            };
            CommandError::Usage(format!("{}: {error}{hint}", printable_path(&self.graph)))
        })?;
        Ok(self.bytes.get_or_init(|| bytes))
    }

    fn invalid(&self, problems: Problems, text: &str) -> CommandError {
        let file = self.graph.display().to_string();
        CommandError::InvalidGraph(problems.render(&file, text))
    }
}
