//! What a whole recipe costs on this machine: updates, time at the speed that `bench` measured, hours
//! of audio, bytes of caches. Phases that were not measured are named with the command that does.
use crate::graph;
use compute::memory::gigabytes;
use nodes::data::printable::printable;
use nodes::node::PlannedRows;
use pipeline::format::{duration, shell_word, thousands};
use pipeline::graph::plan::cache_bytes;
use pipeline::graph::plan::{Phase, Plan};
use pipeline::run::missing;
use pipeline::speed::needs::Needs;
use pipeline::speed::record::{BenchRecord, Speech};
use pipeline::speed::records::{BenchRecords, Found};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The rows of a phase; `None` if its manifest is missing, or why it cannot be read.
pub(crate) type PhaseRows = Result<Option<Rc<PlannedRows>>, String>;

/// Returns the rows of a phase, if they are known.
pub(crate) fn known(rows: &PhaseRows) -> Option<&PlannedRows> {
    rows.as_ref().ok()?.as_deref()
}

/// Returns the rows of each phase. Phases whose sources have the same options share them, because a
/// manifest may be long.
pub(crate) fn phase_rows(plan: &Plan) -> Vec<PhaseRows> {
    let mut by_source: BTreeMap<String, PhaseRows> = BTreeMap::new();
    let mut rows = vec![];
    for phase in &plan.phases {
        let nodes = plan.written_nodes(phase);
        let source = nodes[phase.nodes[phase.source].name()].to_string();
        let of_source = || match phase.source().planned_rows() {
            Ok(planned) => Ok(planned.map(Rc::new)),
            Err(error) => Err(error.to_string()),
        };
        rows.push(by_source.entry(source).or_insert_with(of_source).clone());
    }
    rows
}

/// Returns a line for each phase, and one for all of them if there are several.
pub(crate) fn text(graph: &graph::Arguments, plan: &Plan, rows: &[PhaseRows]) -> String {
    let mut text = "recipe on this machine\n".to_owned();
    let mut total = Total::default();
    for (phase, rows) in plan.phases.iter().zip(rows) {
        let needs = Needs::of(phase, known(rows));
        let found = match BenchRecords::of_user() {
            Some(records) => records.find(plan, phase),
            None => Ok(Found::Nothing),
        };
        let (record, why_not) = match found {
            Ok(Found::Here(record)) => (Some(record), String::new()),
            Ok(Found::Elsewhere(machine)) => (None, format!(" (measured only on {machine})")),
            Ok(Found::Nothing) => (None, String::new()),
            Err(error) => (None, format!(" ({error})")),
        };
        let seconds = record.as_ref().and_then(|record| needs.seconds(record));
        let time = match (&record, seconds) {
            (Some(record), Some(seconds)) => time_text(record, seconds),
            (Some(_), None) => ": the time depends on the manifest, which is not there".to_owned(),
            (None, _) => {
                let command = bench_command(graph, plan, phase);
                format!("; not measured{why_not}: `{command}`")
            }
        };
        text += &format!("  {:9} {}{time}\n", phase.name, needs_text(&needs));
        total.add(phase, &needs, seconds);
    }
    let cache = caches(plan, rows);
    let cache = match cache {
        Some(bytes) if bytes > 0 => format!(", caches of {:.3} GB", gigabytes(bytes)),
        Some(_) => String::new(),
        None => ", caches of unknown size".to_owned(),
    };
    text + &format!("  {:9} {}{cache}\n", "in all", total.text())
}

/// Formats the needs of a phase: `400 updates, 2.09 h of audio`.
fn needs_text(needs: &Needs) -> String {
    let updates = match needs.updates {
        Some(1) => "1 update".to_owned(),
        Some(updates) => format!("{} updates", thousands(updates)),
        None => "updates by the manifest, which is not there".to_owned(),
    };
    match needs.audio_seconds {
        Some(seconds) => {
            let audio = audio_text(seconds, needs.audio_is_at_most);
            format!("{updates}, {audio}")
        }
        None => updates,
    }
}

fn audio_text(seconds: f64, is_at_most: bool) -> String {
    let at_most = if is_at_most { "at most " } else { "" };
    format!("{at_most}{:.2} h of audio", seconds / 3600.0)
}

/// Formats how the time of a phase comes about: ` x 0.2453 s = 1 min 38 s`.
fn time_text(record: &BenchRecord, seconds: f64) -> String {
    let time = duration(seconds);
    let step = record.step_seconds;
    match record.speech {
        Speech::Manifest => format!(": {step:.4} s an update, {time}"),
        Speech::Cached => format!(": {step:.4} s an update with targets from a cache, {time}"),
        Speech::Noise { rows, seconds } => {
            let speed = record.audio_per_second;
            format!(": {speed:.1} s of audio a second (noise of {rows}x{seconds}), {time}")
        }
    }
}

/// What all phases need together.
#[derive(Default)]
struct Total {
    updates: u64,
    audio_seconds: f64,
    audio_is_at_most: bool,
    seconds: f64,
    /// Phases whose time is not known.
    without_time: Vec<String>,
    phases: usize,
}

impl Total {
    fn add(&mut self, phase: &Phase, needs: &Needs, seconds: Option<f64>) {
        self.phases += 1;
        self.updates = self.updates.saturating_add(needs.updates.unwrap_or(0));
        self.audio_seconds += needs.audio_seconds.unwrap_or(0.0);
        self.audio_is_at_most |= needs.audio_is_at_most;
        match seconds {
            Some(seconds) => self.seconds += seconds,
            None => self.without_time.push(format!("`{}`", phase.name)),
        }
    }

    /// Formats the sums: `900 updates, 4.70 h of audio, 2 min 30 s`.
    fn text(&self) -> String {
        let updates = thousands(self.updates);
        let audio = audio_text(self.audio_seconds, self.audio_is_at_most);
        let time = if self.without_time.is_empty() {
            duration(self.seconds)
        } else if self.without_time.len() == self.phases {
            "time not known".to_owned()
        } else {
            let without = self.without_time.join(", ");
            format!("{} without {without}", duration(self.seconds))
        };
        format!("{updates} updates, {audio}, {time}")
    }
}

/// Returns the bytes of all caches, counted once where phases share their rows; `None` if a manifest
/// is missing or makes new views in every epoch, or if codebooks are missing.
fn caches(plan: &Plan, rows: &[PhaseRows]) -> Option<u64> {
    let mut counted = BTreeSet::new();
    let mut total: u64 = 0;
    for (phase, rows) in plan.phases.iter().zip(rows) {
        let views = phase.source().settings().views;
        let nodes = plan.written_nodes(phase);
        let source = &nodes[phase.nodes[phase.source].name()];
        let nodes_with_cache = phase
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.spec.cache.is_some());
        for (index, node) in nodes_with_cache {
            let rows = known(rows).filter(|_| views > 0)?;
            let identity = format!("{} {source}", nodes[node.name()]);
            if counted.insert(identity) {
                let bytes = cache_bytes::of_node(phase, index, views, rows)?;
                total = total.saturating_add(bytes);
            }
        }
    }
    Some(total)
}

/// Kinds whose labels are of utterances by their names: noise has none.
const LABELS_BY_NAME: [&str; 3] = ["label-file", "transcripts", "trials"];

/// Returns the command that measures a phase.
fn bench_command(graph: &graph::Arguments, plan: &Plan, phase: &Phase) -> String {
    let file = graph.graph.to_string_lossy();
    let mut command = format!("pipeline bench {} --steps 5", shell_word(&file));
    if phase.name != plan.phases[0].name {
        command += &format!(" --phase {}", phase.name);
    }
    let names = |kind: &str| phase.nodes.iter().any(|node| node.kind().name == kind);
    let has_labels = LABELS_BY_NAME.into_iter().any(names);
    if !missing([phase].into_iter()).is_empty() && !has_labels {
        command += " --synthetic 4x5";
    }
    for setting in &graph.sets {
        command += &format!(" --set {}", shell_word(setting));
    }
    printable(&command).into_owned()
}
