//! metrics.jsonl as lines, and as curves by phase and name.
use serde::Deserialize;
use std::collections::BTreeMap;

/// One value. Fields that a reader may meet escaped are owned.
#[derive(Deserialize)]
pub struct Line {
    pub phase: String,
    pub step: u64,
    pub wall_time: f64,
    pub name: String,
    /// None: it was not finite.
    pub value: Option<f64>,
}

/// Those that read; a run that is being written may end in half a line.
pub fn lines(metrics: &str) -> impl Iterator<Item = Line> {
    metrics
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
}

/// Update and value, as they were written; a value that is not finite is NaN.
pub type Points = Vec<(u64, f64)>;

#[derive(Default)]
pub struct Phase {
    pub name: String,
    /// Unix seconds of its first line and its last.
    pub times: [f64; 2],
    pub curves: BTreeMap<String, Points>,
}

/// Phases in the order in which they ran.
pub fn read(metrics: &str) -> Vec<Phase> {
    let mut phases: Vec<Phase> = vec![];
    for line in lines(metrics) {
        if phases.last().is_none_or(|p| p.name != line.phase) {
            phases.push(Phase {
                name: line.phase,
                times: [line.wall_time; 2],
                curves: BTreeMap::new(),
            });
        }
        if let Some(phase) = phases.last_mut() {
            phase.times[1] = line.wall_time;
            phase
                .curves
                .entry(line.name)
                .or_default()
                .push((line.step, line.value.unwrap_or(f64::NAN)));
        }
    }
    phases
}
