//! `pipeline check GRAPH [--set a.b=v]... [--format text|json]`: what the plan knows about a graph
//! before anything runs: problems, stages, parameters, multiply-accumulates and bytes.
use crate::ending::CommandResult;
use crate::print::{print, print_json};
use crate::recipe::PhaseRows;
use crate::{Format, graph, recipe, terminal};
use compute::memory::gigabytes;
use nodes::data::printable::printable;
use nodes::data::store::is_address;
use nodes::node::PlannedRows;
use pipeline::format::thousands;
use pipeline::graph::plan::cache_bytes;
use pipeline::graph::plan::{Phase, PlannedNode};
use pipeline::run::{machine, missing};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

mod gpu;
mod sizes;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    graph: graph::Arguments,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl Arguments {
    /// Prints warnings to stderr and the sizes to stdout.
    pub(crate) fn run(self) -> CommandResult {
        let plan = self.graph.plan()?;
        let rows = recipe::phase_rows(&plan);
        match self.format {
            Format::Json if plan.phased => {
                let phases: Vec<Value> = plan
                    .phases
                    .iter()
                    .zip(&rows)
                    .map(|(phase, rows)| phase_json(phase, &phase.name, rows))
                    .collect();
                print_json(&json!({ "name": plan.name, "phases": phases }))
            }
            Format::Json => print_json(&phase_json(&plan.phases[0], &plan.name, &rows[0])),
            Format::Text => {
                let phases = plan.phases.iter().zip(&rows);
                print_warnings(
                    phases
                        .clone()
                        .flat_map(|(phase, rows)| warnings(phase, rows)),
                );
                let mut text: String = phases
                    .map(|(phase, rows)| phase_text(phase, recipe::known(rows)))
                    .collect();
                text += &recipe::text(&self.graph, &plan, &rows);
                print(&text)
            }
        }
    }
}

/// Prints each warning once, also if several phases have it.
fn print_warnings(warnings: impl Iterator<Item = String>) {
    let mut printed: Vec<String> = vec![];
    for warning in warnings {
        if !printed.contains(&warning) {
            terminal::print_line(&format!("warning: {warning}"));
            printed.push(warning);
        }
    }
}

/// Returns the JSON object of a phase, called `name`, whose source sends `rows`.
fn phase_json(phase: &Phase, name: &str, rows: &PhaseRows) -> Value {
    let planned = recipe::known(rows);
    let nodes: Vec<&str> = phase.nodes.iter().map(PlannedNode::name).collect();
    let stages: Vec<Vec<&str>> = phase
        .stages
        .iter()
        .map(|stage| stage_names(phase, stage))
        .collect();
    let estimated: Vec<&str> = phase
        .nodes
        .iter()
        .filter(|node| node.info.estimated)
        .map(PlannedNode::name)
        .collect();
    let mut json = json!({
        "name": name,
        "nodes": nodes,
        "stages": stages,
        "parameters": counts(phase, |node| node.info.parameters),
        "macs": counts(phase, |node| node.info.macs),
        "estimated": estimated,
        "cache_bytes": cache_bytes::of_phase(phase, planned),
        "warnings": warnings(phase, rows),
        "notes": notes(phase, planned),
    });
    if let Some(bytes) = gpu_bytes(phase) {
        json["gpu_bytes"] = bytes;
    }
    json
}

/// Returns a count by the name of its node, for the nodes that have one.
fn counts(phase: &Phase, count: fn(&PlannedNode) -> Option<u64>) -> Map<String, Value> {
    let mut counts = Map::new();
    for node in &phase.nodes {
        if let Some(count) = count(node) {
            counts.insert(node.name().to_owned(), count.into());
        }
    }
    counts
}

fn stage_names<'a>(phase: &'a Phase, stage: &[usize]) -> Vec<&'a str> {
    stage.iter().map(|&node| phase.nodes[node].name()).collect()
}

/// Returns a line for each missing file, then the warnings of the nodes, and why the source sends no
/// row.
fn warnings(phase: &Phase, rows: &PhaseRows) -> Vec<String> {
    let mut warnings = missing([phase].into_iter());
    warnings.extend(phase.leaves_nothing());
    for node in &phase.nodes {
        for warning in &node.info.warnings {
            warnings.push(format!("node `{}`: {warning}", node.name()));
        }
    }
    let source = phase.nodes[phase.source].name();
    if let Err(error) = rows {
        for line in error.lines() {
            warnings.push(format!("node `{source}`: {line}"));
        }
    }
    if recipe::known(rows).is_some_and(|rows| rows.train.rows() == 0) {
        warnings.push(format!(
            "node `{source}`: no utterance of its manifest can be used: each is shorter than `min_seconds`, \
             longer than `max_seconds`, or cannot be read"
        ));
    }
    warnings
}

/// Returns what the nodes say beside their sizes, and whether the rows are an estimate.
fn notes(phase: &Phase, rows: Option<&PlannedRows>) -> Vec<String> {
    let mut notes: Vec<String> = sampled(rows).into_iter().collect();
    for (index, node) in phase.nodes.iter().enumerate() {
        for note in node.info.notes.iter().chain(&maps_note(phase, index, rows)) {
            notes.push(format!("node `{}`: {note}", node.name()));
        }
    }
    notes
}

/// Returns why the cache of a node is not used, if its attention maps are read.
fn maps_note(phase: &Phase, node: usize, rows: Option<&PlannedRows>) -> Option<String> {
    let layers = cache_bytes::uncached_maps(phase, node)?;
    let size = match cache_bytes::of_maps(phase, layers, rows) {
        Some(bytes) => format!(" (they would take {:.3} GB)", gigabytes(bytes)),
        None => String::new(),
    };
    Some(format!(
        "its maps are not cached, frames x frames numbers a row and layer{size}, and are read: so every \
         row is computed, and its cache is not used"
    ))
}

/// Returns how many lengths stand for those of all rows, if not all were read.
fn sampled(rows: Option<&PlannedRows>) -> Option<String> {
    let sampled = rows?.sampled?;
    Some(format!(
        "lengths estimated from {} of {} utterances, evenly chosen: the list does not state them",
        thousands(sampled.read),
        thousands(sampled.rows)
    ))
}

/// Returns the estimate of a GPU's memory; `None` in a build for the CPU.
fn gpu_bytes(phase: &Phase) -> Option<Value> {
    cfg!(feature = "cuda").then(|| gpu::bytes(phase)).flatten()
}

/// Lists the stages of a phase, the nodes that have a size, and the bytes.
fn phase_text(phase: &Phase, rows: Option<&PlannedRows>) -> String {
    let mut text = format!("phase `{}`\n", phase.name);
    for (i, stage) in phase.stages.iter().enumerate() {
        text += &format!("  stage {i}: {}\n", stage_names(phase, stage).join(", "));
    }
    for (index, node) in phase.nodes.iter().enumerate() {
        text += &sizes::of_node(node);
        for note in node.info.notes.iter().chain(&maps_note(phase, index, rows)) {
            text += &format!("  {:12}  {note}\n", "");
        }
    }
    text += &sizes::of_students_with_heads(phase);
    if let Some(bytes) = gpu_bytes(phase) {
        text += &gpu::text(&bytes);
    }
    if let Some(sampled) = sampled(rows) {
        text += &format!("  {sampled}\n");
    }
    match cache_bytes::of_phase(phase, rows) {
        None | Some(0) => {}
        Some(bytes) => text += &cache_text(phase, rows, bytes),
    }
    text
}

/// Returns the lines of a full cache of this size: in all, by the hour, and the free space for it.
fn cache_text(phase: &Phase, rows: Option<&PlannedRows>, bytes: u64) -> String {
    let full = gigabytes(bytes);
    let mut text = format!("  a full cache: {full:.3} GB");
    let hours = rows.map_or(0.0, |rows| cache_bytes::hours(phase, rows));
    if hours > 0.0 {
        text += &format!(", {:.3} GB an hour of speech", full / hours);
    }
    text += "\n";
    for (root, free) in free_space(phase) {
        let root = printable(root);
        let free = gigabytes(free);
        text += &format!("    {free:.1} GB are free for {root}\n");
    }
    text
}

/// Returns the free bytes of the disks that the caches of a phase are on, by cache. A cache in the
/// run's folder is left out: where that will be is not known.
fn free_space(phase: &Phase) -> BTreeMap<&str, u64> {
    let mut free = BTreeMap::new();
    for node in &phase.nodes {
        let Some(root) = node.spec.cache.as_deref() else {
            continue;
        };
        // A cache that is not there yet is created in the nearest folder that is.
        let mut folders = Path::new(root).ancestors().map(|folder| {
            if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            }
        });
        if let Some(bytes) = folders.find_map(machine::disk)
            && !root.starts_with("$OUT/")
            && !is_address(Path::new(root))
        {
            free.insert(root, bytes);
        }
    }
    free
}
