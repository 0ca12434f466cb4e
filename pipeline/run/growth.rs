//! Whether a resumed run may have more updates than it was begun with.
//!
//! The newest phase begun may grow, if the learning rates of the updates that it has made do not
//! depend on `steps`: with the schedule "constant" always, with others up to the end of warm-up and
//! hold. It then ends as a run that had as many updates from the start.
use crate::graph::plan::{Phase, Plan};
use crate::report::summary;
use nodes::kind::optimize::checkpoint;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// How far a run has come.
pub struct RunState {
    /// The index of the newest phase begun.
    pub phase: usize,
    /// Updates of that phase that its newest checkpoint has.
    pub updates: u64,
    /// Whether every phase ends after the updates of `--steps`.
    pub steps_given: bool,
}

impl RunState {
    /// Finds how far the run in a folder has come.
    pub fn read(run: &Path, plan: &Plan, finished: bool, steps_given: bool) -> RunState {
        let index = |name: &str| plan.phases.iter().position(|phase| phase.name == name);
        let mut checkpoints = vec![];
        for (phase, update, _) in checkpoint::found(&run.join("checkpoint")) {
            checkpoints.extend(index(&phase).map(|phase| (phase, update)));
        }
        let metrics = summary::metrics(run);
        let measured = metrics.iter().filter_map(|phase| index(&phase.name));
        let written = checkpoints.iter().map(|(phase, _)| *phase);
        let begun = if finished {
            plan.phases.len() - 1
        } else {
            measured.chain(written).max().unwrap_or(0)
        };
        let updates = checkpoints.iter().filter(|(phase, _)| *phase == begun);
        RunState {
            phase: begun,
            updates: updates.map(|(_, update)| *update).max().unwrap_or(0),
            steps_given,
        }
    }
}

/// What becomes of other numbers of updates than the run was begun with.
#[derive(Default)]
pub struct Growth {
    /// Whether the newest phase begun grows.
    pub grows: bool,
    /// Why a number may not change, by its option.
    pub refused: BTreeMap<String, String>,
}

/// Compares the numbers of updates of `graph` with those of the graph that the run was begun with.
/// A number that may grow is set back in `graph`, so that it is no difference.
pub fn compare_steps(graph: &mut Value, before: &Value, plan: &Plan, state: &RunState) -> Growth {
    let mut growth = Growth::default();
    for (i, phase) in plan.phases.iter().enumerate() {
        let Some(StepsOption { option, pointer }) = steps_option(i, phase, plan.phased) else {
            continue;
        };
        let number = |graph: &Value| graph.pointer(&pointer).and_then(Value::as_u64);
        let (Some(old), Some(new)) = (number(before), number(graph)) else {
            continue;
        };
        if old == new {
            continue;
        }
        match refusal(i, phase, [old, new], plan, state) {
            Some(reason) => drop(growth.refused.insert(option, reason)),
            None => {
                growth.grows = true;
                if let Some(steps) = graph.pointer_mut(&pointer) {
                    *steps = old.into();
                }
            }
        }
    }
    growth
}

/// The option `steps` of a phase.
struct StepsOption {
    /// As `--set` names it.
    option: String,
    /// Its place in the graph, a JSON pointer.
    pointer: String,
}

fn steps_option(index: usize, phase: &Phase, phased: bool) -> Option<StepsOption> {
    let node = phase.nodes[phase.optimizer?].name();
    Some(if phased {
        StepsOption {
            option: format!("{}.{node}.steps", phase.name),
            pointer: format!("/phases/{index}/nodes/{node}/steps"),
        }
    } else {
        StepsOption {
            option: format!("{node}.steps"),
            pointer: format!("/nodes/{node}/steps"),
        }
    })
}

/// Returns why a phase may not have `new` updates in place of `old`; `None` if it may.
fn refusal(
    index: usize,
    phase: &Phase,
    [old, new]: [u64; 2],
    plan: &Plan,
    state: &RunState,
) -> Option<String> {
    let fixed_rates = phase
        .optimizer()
        .map_or(0, |optimizer| optimizer.fixed_rates);
    if new < old {
        Some(format!(
            "{new} instead of {old}: it may grow, but not shrink"
        ))
    } else if index != state.phase {
        let newest = &plan.phases[state.phase].name;
        Some(format!(
            "only `{newest}`, the newest phase begun, may have more updates"
        ))
    } else if state.steps_given {
        Some("the run ends at its `--steps`".to_owned())
    } else if state.updates > fixed_rates {
        let made = state.updates;
        Some(format!(
            "with {new} in place of {old} the schedule would have had other learning rates in \
             the {made} updates that are made; only \"constant\", a warm-up and a hold do not \
             depend on it"
        ))
    } else {
        None
    }
}
