//! The comparison as a table.
use super::run::ComparedRun;
use pipeline::format::{loss_text, thousands};
use pipeline::report::summary::Summary;

/// Builds the rows of the comparison: a name, then a cell for each run.
///
/// A quantity that no run has gets no row.
pub(super) fn table(runs: &[ComparedRun]) -> Vec<Vec<String>> {
    let mut rows = vec![];
    let mut add = |name: &str, cell: &dyn Fn(&ComparedRun) -> Option<String>| {
        let cells: Vec<Option<String>> = runs.iter().map(cell).collect();
        if cells.iter().any(Option::is_some) {
            let mut row = vec![name.to_owned()];
            row.extend(cells.into_iter().map(|cell| cell.unwrap_or("-".into())));
            rows.push(row);
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
    add("share of the teacher's", &|run| {
        let share = run.parameters? as f64 / run.teacher_parameters? as f64;
        Some(format!("{:.1} %", 100.0 * share))
    });
    add("minutes", &|run| {
        (run.seconds > 0.0).then(|| format!("{:.1}", run.seconds / 60.0))
    });
    add("peak memory", &|run| {
        Some(format!("{:.1} MB", run.peak_bytes? as f64 / 1e6))
    });
    add("real-time factor", &|run| {
        Some(format!("{:.4}", run.real_time_factor?))
    });
    add("teacher's real-time factor", &|run| {
        Some(format!("{:.4}", run.teacher_real_time_factor?))
    });
    add("probe of the best layer", &|run| {
        Some(format!("{:.1} %", 100.0 * run.probe?))
    });
    add("teacher's gain kept", &|run| {
        Some(format!("{:.1} %", 100.0 * run.gain_kept?))
    });
    for phase in union(runs, |run| {
        run.phases.iter().map(|p| p.phase.clone()).collect()
    }) {
        add(&format!("{phase} updates"), &|run| {
            Some(thousands(run.phase(&phase)?.updates))
        });
        add(&format!("{phase} audio hours"), &|run| {
            Some(format!("{:.2}", run.phase(&phase)?.audio_hours?))
        });
        add(&format!("{phase} step time"), &|run| {
            Some(format!("{:.3} s", run.phase(&phase)?.step_seconds?))
        });
        for loss in union(runs, |run| run.dev_losses(&phase)) {
            add(&format!("{phase} dev/{loss}"), &|run| {
                Some(loss_text(*run.phase(&phase)?.dev_losses.get(&loss)?))
            });
        }
    }
    rows
}

/// Returns the names of all runs, each once, in the order of their first occurrence.
fn union(runs: &[ComparedRun], names: impl Fn(&ComparedRun) -> Vec<String>) -> Vec<String> {
    let mut union: Vec<String> = vec![];
    for name in runs.iter().flat_map(names) {
        if !union.contains(&name) {
            union.push(name);
        }
    }
    union
}

impl ComparedRun {
    fn phase(&self, name: &str) -> Option<&Summary> {
        self.phases.iter().find(|summary| summary.phase == name)
    }

    fn dev_losses(&self, phase: &str) -> Vec<String> {
        let losses = self.phase(phase).map(|summary| summary.dev_losses.keys());
        losses.into_iter().flatten().cloned().collect()
    }
}
