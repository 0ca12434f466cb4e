//! The metrics of a run as curves, by phase and name.
use crate::data::metrics;
use std::collections::BTreeMap;

/// Updates and values, in the order in which they were written; a value that was not finite is NaN.
pub type Points = Vec<(u64, f64)>;

/// The curves of one phase.
#[derive(Default)]
pub struct PhaseCurves {
    /// The phase's name.
    pub name: String,
    /// The Unix times in seconds of the first and the last value.
    pub times: [f64; 2],
    /// The points of each metric, by its name.
    pub curves: BTreeMap<String, Points>,
}

/// Parses the text of a `metrics.jsonl` into phases, in the order in which they ran.
pub fn read(metrics: &str) -> Vec<PhaseCurves> {
    let mut phases: Vec<PhaseCurves> = vec![];
    for line in metrics::lines(metrics) {
        if phases.last().is_none_or(|phase| phase.name != line.phase) {
            phases.push(PhaseCurves {
                name: line.phase,
                times: [line.wall_time; 2],
                curves: BTreeMap::new(),
            });
        }
        if let Some(phase) = phases.last_mut() {
            phase.times[1] = line.wall_time;
            let points = phase.curves.entry(line.name).or_default();
            points.push((line.step, line.value.unwrap_or(f64::NAN)));
        }
    }
    phases
}
