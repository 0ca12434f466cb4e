//! Whether the batches of every update can be shared out among the processes of a run.
use crate::graph::plan::Plan;
use crate::graph::problem::Problems;

/// Adds a problem for each optimizer whose updates are not whole rounds of `ranks` batches.
pub fn check(plan: &Plan, ranks: usize, problems: &mut Problems) {
    for phase in &plan.phases {
        let (Some(node), Some(settings)) = (phase.optimizer, phase.optimizer()) else {
            continue;
        };
        let accumulate = settings.accumulate;
        if accumulate.is_multiple_of(ranks as u64) {
            continue;
        }
        let spec = &phase.nodes[node].spec;
        let location = spec.json.location_of(&["accumulate"]);
        let message = format!(
            "`accumulate` is {accumulate}, and {ranks} ranks share out the batches of an update; \
             make it a multiple of {ranks}, or start fewer ranks"
        );
        problems.add_for_node(&spec.name, location, message);
    }
}
