//! Which graphs may be run by shards.
use crate::graph::plan::Plan;

/// Returns why the rows of a plan cannot be shared out to processes, if that is so.
pub fn refusal(plan: &Plan) -> Option<String> {
    for phase in &plan.phases {
        if phase.optimizer.is_some() {
            return Some(format!(
                "`--shard` is for graphs that only fill caches; phase `{}` has an `optimize`",
                phase.name
            ));
        }
        for node in &phase.nodes {
            let kind = node.kind();
            if kind.needs_all_rows || kind.gathers || kind.measures() {
                return Some(format!(
                    "`--shard` is for graphs that only fill caches; node `{}` needs all rows: it is \
                     a `{}`",
                    node.name(),
                    kind.name
                ));
            }
            if let Some(reason) = node.config.reads_whole_batches() {
                return Some(format!(
                    "`--shard` changes batches, and with them what node `{}` sends: {reason}",
                    node.name()
                ));
            }
        }
    }
    None
}
