//! Lines for the person who watches a run: what it begins with, and where its results are.
use crate::format::thousands;
use crate::graph::plan::{Phase, Plan};
use crate::run::Run;
use crate::run::record::RunRecord;
use nodes::data::printable::printable_path;
use nodes::node::Clock;
use std::path::Path;

/// Returns the line that a run begins with: what computes, and where the results go.
pub(super) fn start(run: &Run, record: &RunRecord) -> String {
    let name = &run.plan.name;
    let shard = match run.shard {
        Some(shard) => format!(", shard {} of {},", shard.index + 1, shard.count),
        None => String::new(),
    };
    let device = &record.device;
    let out = printable_path(&run.out);
    let mut threads = match record.threads {
        1 => "1 thread".to_owned(),
        count => format!("{count} threads"),
    };
    if record.ranks > 1 {
        threads = format!("{} ranks of {threads}", record.ranks);
    }
    format!("run `{name}`{shard} on {device}, {threads}, into {out}")
}

/// Returns the line that a phase begins with: how long it is.
pub(super) fn phase(phase: &Phase, clock: &Clock) -> String {
    let name = &phase.name;
    match clock.updates {
        Some(1) => format!("phase `{name}`: 1 update"),
        Some(updates) => format!("phase `{name}`: {} updates", thousands(updates)),
        None => match phase.source().settings().views {
            1 => format!("phase `{name}`: one pass over the speech, nothing is trained"),
            views => format!("phase `{name}`: {views} passes over the speech, nothing is trained"),
        },
    }
}

/// Returns where the models of the last phase and the report of a finished run are.
pub(super) fn results(plan: &Plan, out: &Path) -> Vec<String> {
    let mut lines = vec![];
    if let Some(phase) = plan.phases.last() {
        let folder = plan.folder(phase, out);
        for node in &phase.nodes {
            if node.info.model().is_some() {
                let model = printable_path(&folder.join(node.name()));
                lines.push(format!("{}: {model}", node.name()));
            }
        }
    }
    let report = printable_path(&out.join("report.html"));
    lines.push(format!("report: {report}"));
    lines
}
