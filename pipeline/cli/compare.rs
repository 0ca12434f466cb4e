//! `pipeline compare RUN... [--format text|json|markdown]`: runs side by side, a column each.
use crate::table::{columns, markdown};
use crate::{Outcome, print};
use nodes::model::{count, read_architecture};
use pipeline::report::summary::{Summary, metrics, summary, thousands};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Arguments {
    /// Folders of runs
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    Markdown,
}

impl Arguments {
    pub fn run(self) -> Outcome {
        let (mut runs, mut wrong) = (vec![], vec![]);
        for folder in &self.runs {
            match read(folder) {
                Ok(run) => runs.push(run),
                Err(error) => wrong.push(error.to_string()),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong.join("\n").into());
        }
        for run in runs.iter().filter(|run| !run.finished) {
            eprintln!(
                "warning: {} is not finished: this is what it has so far",
                run.run
            );
        }
        print(&match self.format {
            Format::Text => columns(&table(&runs)),
            Format::Json => format!("{}\n", serde_json::to_string_pretty(&runs)?),
            Format::Markdown => markdown(&table(&runs)),
        })
    }
}

/// A run, as other programs read it.
#[derive(Serialize)]
struct Run {
    /// Its folder, as typed.
    run: String,
    graph: String,
    finished: bool,
    /// Of the process that finished it.
    peak_bytes: Option<u64>,
    /// By node, as the last phase that wrote it left it.
    models: BTreeMap<String, Size>,
    phases: Vec<Summary>,
}

#[derive(Serialize)]
struct Size {
    parameters: u64,
    macs: u64,
}

/// What a run's folder says; a phase that has not begun has no updates.
fn read(folder: &Path) -> nodes::Result<Run> {
    let file = folder.join("run.json");
    if !file.exists() {
        return Err(format!("{}: holds no run: there is no run.json", folder.display()).into());
    }
    let at = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
    let text = std::fs::read_to_string(&file).map_err(|e| at(&e))?;
    let about: Value = serde_json::from_str(&text).map_err(|e| at(&e))?;
    let graph = about["graph"]
        .as_object()
        .ok_or_else(|| at(&"has no `graph`"))?;
    let whole = ("main", &about["graph"]["nodes"], folder.to_owned());
    let phases: Vec<(&str, &Value, PathBuf)> = match graph.get("phases").and_then(Value::as_array) {
        None => vec![whole],
        Some(phases) => phases
            .iter()
            .filter_map(|p| {
                p["name"]
                    .as_str()
                    .map(|name| (name, &p["nodes"], folder.join(name)))
            })
            .collect(),
    };
    let lines = metrics(folder);
    let mut models = BTreeMap::new();
    for (_, nodes, folder) in &phases {
        for node in nodes.as_object().into_iter().flat_map(|nodes| nodes.keys()) {
            let model = folder.join(node);
            if model.join("config.json").exists() {
                let architecture = read_architecture(&model)?;
                let (parameters, macs) =
                    (count::parameters(&architecture), count::macs(&architecture));
                models.insert(node.clone(), Size { parameters, macs });
            }
        }
    }
    Ok(Run {
        run: folder.display().to_string(),
        graph: graph
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        finished: !about["finished"].is_null(),
        peak_bytes: about["peak_bytes"].as_u64(),
        models,
        phases: phases
            .iter()
            .map(|(name, ..)| summary(name, &lines, BTreeMap::new()))
            .collect(),
    })
}

/// A row a quantity that some run has: its name, then a cell a run.
fn table(runs: &[Run]) -> Vec<Vec<String>> {
    let mut table = vec![];
    let mut add = |name: &str, cell: &dyn Fn(&Run) -> Option<String>| {
        let cells: Vec<Option<String>> = runs.iter().map(cell).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|cell| cell.unwrap_or("-".into()));
            table.push([name.to_owned()].into_iter().chain(cells).collect());
        }
    };
    add("", &|run| Some(run.run.clone()));
    for node in union(runs, |run| run.models.keys().cloned().collect()) {
        add(&format!("{node} parameters"), &|run| {
            Some(thousands(run.models.get(&node)?.parameters))
        });
        add(&format!("{node} MACs"), &|run| {
            Some(format!("{:.2} G", run.models.get(&node)?.macs as f64 / 1e9))
        });
    }
    add("peak memory", &|run| {
        Some(format!("{:.1} MB", run.peak_bytes? as f64 / 1e6))
    });
    for phase in union(runs, |run| {
        run.phases.iter().map(|p| p.phase.clone()).collect()
    }) {
        let of = |run: &Run| run.phases.iter().find(|p| p.phase == phase).cloned();
        add(&format!("{phase} updates"), &|run| {
            Some(thousands(of(run)?.updates))
        });
        add(&format!("{phase} audio hours"), &|run| {
            Some(format!("{:.2}", of(run)?.audio_hours?))
        });
        add(&format!("{phase} step time"), &|run| {
            Some(format!("{:.3} s", of(run)?.step_seconds?))
        });
        for loss in union(runs, |run| {
            of(run)
                .into_iter()
                .flat_map(|p| p.dev_losses.into_keys())
                .collect()
        }) {
            add(&format!("{phase} dev/{loss}"), &|run| {
                Some(format!("{:.4}", of(run)?.dev_losses.get(&loss)?))
            });
        }
    }
    table
}

/// All names, each once, in the order in which they first come.
fn union(runs: &[Run], names: impl Fn(&Run) -> Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = vec![];
    for name in runs.iter().flat_map(names) {
        all.extend((!all.contains(&name)).then_some(name));
    }
    all
}
