//! `pipeline check GRAPH [--set a.b=v]... [--format text|json]`: what the plan knows before anything runs.
use crate::{Format, Outcome, graph, print};
use nodes::kind::fbank;
use nodes::model::Architecture;
use nodes::node::PlannedRows;
use nodes::node::port::Shape;
use pipeline::graph::plan::{Phase, PlannedNode};
use pipeline::report::summary::thousands;
use pipeline::run::missing;
use serde_json::{Map, Value, json};

mod gpu;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    graph: graph::Arguments,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl Arguments {
    pub fn run(self) -> Outcome {
        let plan = self.graph.plan()?;
        if self.format == Format::Json {
            let phase = |p: &Phase| about(p, if plan.phased { &p.name } else { &plan.name });
            let phases: Vec<Value> = plan.phases.iter().map(phase).collect();
            let all = if plan.phased {
                json!({ "name": plan.name, "phases": phases })
            } else {
                phases[0].clone()
            };
            return print(&format!("{all:#}\n"));
        }
        let mut said: Vec<String> = vec![];
        for warning in plan.phases.iter().flat_map(warnings) {
            if !said.contains(&warning) {
                eprintln!("warning: {warning}");
                said.push(warning);
            }
        }
        print(&plan.phases.iter().map(text).collect::<String>())
    }
}

/// The object that other programs read.
fn about(phase: &Phase, name: &str) -> Value {
    let counts = |of: fn(&PlannedNode) -> Option<u64>| {
        let known = phase
            .nodes
            .iter()
            .filter_map(|n| Some((n.name().to_owned(), of(n)?.into())));
        known.collect::<Map<String, Value>>()
    };
    let names = |nodes: &[usize]| {
        nodes
            .iter()
            .map(|n| phase.nodes[*n].name())
            .collect::<Vec<_>>()
    };
    let mut about = json!({
        "name": name,
        "nodes": phase.nodes.iter().map(PlannedNode::name).collect::<Vec<_>>(),
        "stages": phase.stages.iter().map(|s| names(s)).collect::<Vec<_>>(),
        "parameters": counts(|n| n.info.parameters),
        "macs": counts(|n| n.info.macs),
        "estimated": phase.nodes.iter().filter(|n| n.info.estimated).map(PlannedNode::name).collect::<Vec<_>>(),
        "cache_bytes": cache_bytes(phase),
        "warnings": warnings(phase),
    });
    if let Some(bytes) = gpu_bytes(phase) {
        about["gpu_bytes"] = bytes;
    }
    about
}

/// Files that are not there, and what the nodes say.
fn warnings(phase: &Phase) -> Vec<String> {
    let of = |n: &PlannedNode| {
        n.info
            .warnings
            .iter()
            .map(|w| format!("node `{}`: {w}", n.name()))
            .collect::<Vec<_>>()
    };
    missing([phase].into_iter())
        .into_iter()
        .chain(phase.nodes.iter().flat_map(of))
        .collect()
}

/// Frames of all rows of all views, and of the dev set.
fn frames(views: u64, planned: &PlannedRows, of: impl Fn(usize) -> usize) -> u64 {
    let all = |rows: &[u64]| rows.iter().map(|&n| of(n as usize) as u64).sum::<u64>();
    all(&planned.train)
        .saturating_mul(views)
        .saturating_add(all(&planned.dev))
}

/// Frames x width x 4 x layers of every node with a cache, when it is full; None where a manifest is missing or views
/// never end.
fn cache_bytes(phase: &Phase) -> Option<u64> {
    let source = phase.source();
    let views = source.settings().views;
    let planned = source.planned_rows().ok()?.filter(|_| views > 0)?;
    let bytes = |node: &PlannedNode| {
        let output = node
            .config
            .cacheable()
            .filter(|_| node.spec.cache.is_some())?
            .output();
        let (frames, width) = match node.info.outputs.get(output)?.first()? {
            Shape::Hiddens { layers, width } => (
                frames(views, &planned, |n| Architecture::default().frames(n)),
                layers.len() * width,
            ),
            Shape::Features { width } => (frames(views, &planned, fbank::frames), *width),
            _ => return None,
        };
        Some(frames.saturating_mul(4 * width as u64))
    };
    Some(
        phase
            .nodes
            .iter()
            .filter_map(bytes)
            .fold(0, u64::saturating_add),
    )
}

/// None in a build for the CPU.
fn gpu_bytes(phase: &Phase) -> Option<Value> {
    cfg!(feature = "cuda").then(|| gpu::bytes(phase)).flatten()
}

/// The stages, and a line for each node that has a size.
fn text(phase: &Phase) -> String {
    let mut text = format!("phase `{}`\n", phase.name);
    for (i, stage) in phase.stages.iter().enumerate() {
        let names: Vec<&str> = stage.iter().map(|n| phase.nodes[*n].name()).collect();
        text += &format!("  stage {i}: {}\n", names.join(", "));
    }
    for node in phase
        .nodes
        .iter()
        .filter(|n| n.info.parameters.is_some() || n.info.macs.is_some())
    {
        let count = |n: Option<u64>, what: &str| {
            n.map_or(String::new(), |n| format!("  {:>22} {what}", thousands(n)))
        };
        let about = if node.info.estimated {
            "  (estimated)"
        } else {
            ""
        };
        let (parameters, macs) = (
            count(node.info.parameters, "parameters"),
            count(node.info.macs, "MACs"),
        );
        text += &format!("  {:12}{parameters}{macs}{about}\n", node.name());
    }
    text += &gpu_bytes(phase).map_or(String::new(), |bytes| gpu::text(&bytes));
    match cache_bytes(phase) {
        None | Some(0) => text,
        Some(bytes) => text + &format!("  a full cache: {:.3} GB\n", bytes as f64 / 1e9),
    }
}
