//! `pipeline new DIR [--method NAME] [--sample] [--manifest M] [--dev D] [--teacher T]`: a folder to
//! work in, with a graph of the program's own, its schema and, where it is wanted, the sample.
mod adapt;
mod method;
mod own_list;
mod sample;

use crate::ending::{CommandError, CommandResult};
use crate::print::{print, print_json};
use crate::table::columns;
use crate::{Format, graph, schema};
use adapt::Paths;
use clap::builder::PossibleValuesParser;
use method::Method;
use nodes::data::file::write_atomic;
use nodes::data::printable::{printable, printable_path};
use nodes::data::store::is_address;
use own_list::OwnList;
use pipeline::format::shell_word;
use std::path::{Path, PathBuf, absolute};

const README: &str = include_str!("new/readme.md");
const IGNORED: &str = "runs/\ndata/cache/\n";
const SCHEMA_FILE: &str = "graph.schema.json";
/// The sample's folder in a folder of work, as the graphs name it.
const SAMPLE: &str = "data/sample";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder to write to; it may exist
    #[arg(required_unless_present = "list")]
    dir: Option<PathBuf>,
    /// The graph to write; `--list` prints all
    #[arg(long, value_name = "NAME", default_value = "dphubert")]
    #[arg(value_parser = method_parser(), hide_possible_values = true)]
    method: String,
    /// Write the sample's speech and teacher too
    #[arg(long)]
    sample: bool,
    /// Speech to train on, in place of the graph's: a manifest or a folder
    #[arg(long, value_name = "PATH")]
    manifest: Option<PathBuf>,
    /// Held-out speech, in place of the graph's
    #[arg(long, value_name = "PATH")]
    dev: Option<PathBuf>,
    /// Teacher, in place of the graph's
    #[arg(long, value_name = "PATH")]
    teacher: Option<PathBuf>,
    /// Print what graphs there are, and write nothing
    #[arg(long)]
    #[arg(conflicts_with_all = ["dir", "method", "sample", "manifest", "dev", "teacher"])]
    list: bool,
    /// Output format of `--list`
    #[arg(long, value_enum, default_value = "text", requires = "list")]
    format: Format,
}

fn method_parser() -> PossibleValuesParser {
    PossibleValuesParser::new(method::all().iter().map(|method| method.name))
}

impl Arguments {
    /// Lists the graphs, or writes the folder.
    pub(crate) fn run(self) -> CommandResult {
        match &self.dir {
            None => list(self.format),
            Some(dir) => self.write(dir),
        }
    }

    fn write(&self, dir: &Path) -> CommandResult {
        let methods = method::all();
        let method = methods.iter().find(|method| method.name == self.method);
        let method = method.ok_or("there is no such graph")?; // clap has checked the name
        let graph = dir.join(method.path());
        let own_list = |list: &Option<PathBuf>, set: &str| match list {
            Some(list) => OwnList::new(list, dir, set).map(Some),
            None => Ok(None),
        };
        let train = own_list(&self.manifest, "train")?;
        let dev = own_list(&self.dev, "dev")?;
        let paths = Paths {
            manifest: train.as_ref().map(|list| list.path.clone()),
            dev: dev.as_ref().map(|list| list.path.clone()),
            teacher: match &self.teacher {
                Some(teacher) => Some(path_in(dir, teacher)?),
                None => None,
            },
        };
        let text = adapt::adapted(method, &paths).map_err(CommandError::Usage)?;
        let own_lists: Vec<OwnList> = train.into_iter().chain(dev).collect();

        let mut expected_new = vec![&graph];
        expected_new.extend(own_lists.iter().filter_map(|list| list.copy.as_ref()));
        let sample = dir.join(SAMPLE);
        if self.sample {
            expected_new.push(&sample);
        }
        for path in expected_new {
            if path.symlink_metadata().is_ok() {
                let path = printable_path(path);
                let message = format!("{path} is there already; nothing was written");
                return Err(CommandError::Usage(message));
            }
        }
        if self.sample {
            sample::copy(&sample)?;
        }
        own_lists.iter().try_for_each(OwnList::write)?;
        write_atomic(&graph, text.as_bytes())?;
        write_missing(&dir.join("README.md"), &readme(method))?;
        write_missing(&dir.join(".gitignore"), IGNORED)?;
        let schema = serde_json::to_string_pretty(&schema::graph())?;
        write_missing(&dir.join(SCHEMA_FILE), &format!("{schema}\n"))?;
        self.say_what_is_next(dir, method);
        self.say_what_does_not_fit(dir, method, &text)
    }

    /// Says which options of the graph do not fit the teacher that was given: its layers and widths
    /// may be others than those of the graph's own.
    fn say_what_does_not_fit(&self, dir: &Path, method: &Method, text: &str) -> CommandResult {
        let is_there = |teacher: &PathBuf| !is_address(teacher) && teacher.exists();
        if !self.teacher.as_ref().is_some_and(is_there) {
            return Ok(());
        }
        std::env::set_current_dir(dir)?; // the graph's paths begin there
        let graph = graph::Arguments::shipped(&method.path(), text, vec![]);
        if let Err(CommandError::InvalidGraph(problems)) = graph.plan() {
            eprintln!(
                "{problems}warning: the graph does not fit this teacher yet: change what these lines name, \
                 or begin with a graph of `pipeline new --list` that is of its size"
            );
        }
        Ok(())
    }

    /// Says what the graph still lacks, and the command that runs it.
    fn say_what_is_next(&self, dir: &Path, method: &Method) {
        for path in [&self.manifest, &self.dev, &self.teacher]
            .into_iter()
            .flatten()
            .filter(|path| !is_address(path) && !path.exists())
        {
            eprintln!("warning: there is no {} yet", printable_path(path));
        }
        if self.manifest.is_some() && self.dev.is_none() {
            eprintln!("without `--dev` the graph measures no held-out speech: its `dev` is null");
        }
        let has_own_data = self.manifest.is_some() && self.teacher.is_some();
        let lacks_data = !has_own_data && method.reads(SAMPLE) && !dir.join(SAMPLE).is_dir();
        if lacks_data {
            let dir = printable_path(dir);
            eprintln!(
                "the graph reads {SAMPLE}, which is not in {dir}: give `--sample`, or `--manifest`, \
                 `--dev` and `--teacher`"
            );
        }
        let dir = shell_word(&dir.to_string_lossy());
        let command = format!("cd {dir} && pipeline run {}", method.path());
        let when = if lacks_data { "with these" } else { "next" };
        eprintln!("{when}: {}", printable(&command));
    }
}

fn list(format: Format) -> CommandResult {
    let methods = method::all();
    if format == Format::Json {
        return print_json(&methods);
    }
    let rows: Vec<_> = methods
        .iter()
        .map(|method| vec![method.name.to_owned(), method.sentence().to_owned()])
        .collect();
    print(&columns(&rows))
}

fn readme(method: &Method) -> String {
    README
        .replace("{name}", method.last_name())
        .replace("{graph}", &method.path())
}

/// Returns a path of the command line as it reads when `dir` is the working directory: relative if
/// it is below `dir`, else absolute. An address of an object store stays as it is.
fn path_in(dir: &Path, path: &Path) -> Result<String, CommandError> {
    let whole = match is_address(path) {
        true => path.to_owned(),
        false => absolute(path)?,
    };
    let dir = absolute(dir)?;
    let short = whole.strip_prefix(&dir).unwrap_or(&whole);
    let short = if short.as_os_str().is_empty() {
        Path::new(".")
    } else {
        short
    };
    let text = short.to_str().ok_or_else(|| {
        let path = printable_path(path);
        CommandError::Usage(format!("{path}: a graph cannot name it, it is not UTF-8"))
    });
    text.map(str::to_owned)
}

/// Writes a file unless one of its name is there.
fn write_missing(path: &Path, text: &str) -> CommandResult {
    if path.symlink_metadata().is_err() {
        write_atomic(path, text.as_bytes())?;
    }
    Ok(())
}
