//! Holds full caches against the option `budget`.
use super::{Phase, cache_bytes};
use crate::format::thousands;
use crate::graph::problem::Problems;

/// Adds a problem for each node whose full cache would take more bytes than its `budget`. A manifest
/// that is missing or cannot be read says nothing about the size, and is the run's error.
pub(super) fn check(phase: &Phase, problems: &mut Problems) {
    let has_budget = phase.nodes.iter().any(|node| node.spec.budget.is_some());
    if !has_budget {
        return;
    }
    let rows = phase.source().planned_rows().ok().flatten();
    let views = phase.source().settings().views;
    for (index, node) in phase.nodes.iter().enumerate() {
        let (Some(budget), Some(_)) = (&node.spec.budget, &node.spec.cache) else {
            continue;
        };
        let message = if views == 0 {
            "`budget` limits a cache that never is full: `views` of the source is 0, so that every \
             epoch has new rows"
                .to_owned()
        } else {
            let bytes = rows
                .as_ref()
                .and_then(|rows| cache_bytes::of_node(phase, index, views, rows));
            let Some(bytes) = bytes.filter(|&bytes| bytes > budget.bytes) else {
                continue;
            };
            format!(
                "`budget` is {} bytes, but a full cache takes {}; fewer `layers` or `views` take \
                 less",
                thousands(budget.bytes),
                thousands(bytes)
            )
        };
        problems.add_for_node(node.name(), &budget.location, message);
    }
}
