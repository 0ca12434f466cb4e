//! Checks that dev passes have the metric by which a phase keeps the best weights.
use crate::graph::edges::{EdgeGraph, incoming};
use crate::graph::problem::{Problems, quoted};
use crate::graph::spec::PhaseSpec;
use nodes::data::suggestion::suggestion;
use nodes::node::NodeInfo;
use nodes::node::port::Shape;
use petgraph::visit::EdgeRef;

/// Adds a problem if the option `best` of the optimizer names a metric that no dev pass has.
///
/// A loss whose metrics a problem leaves unknown may have it.
pub(super) fn check(
    phase: &PhaseSpec,
    source: usize,
    optimizer: usize,
    edge_graph: &EdgeGraph,
    info: &[Option<NodeInfo>],
    problems: &mut Problems,
) {
    let node = &phase.nodes[optimizer];
    let options = node.config.as_deref().filter(|_| !node.broken);
    let best = options.and_then(|config| config.optimizer()?.best_metric);
    let Some(best) = best else {
        return;
    };
    let source = &phase.nodes[source];
    let settings = source.config.as_deref().and_then(|config| config.source());
    if settings.is_some_and(|source| source.settings().dev.is_none()) {
        let message = format!(
            "`best` needs dev passes, but `{}` has no `dev`",
            source.name
        );
        problems.add_for_node(&node.name, node.json.location_of(&["best"]), &message);
        return;
    }
    let Some(metrics) = dev_metrics(phase, optimizer, edge_graph, info) else {
        return;
    };
    if metrics.contains(&best) {
        return;
    }
    let mut hint = suggestion(&best, metrics.iter().map(String::as_str));
    if hint.is_empty() {
        hint = format!("; it has {}", quoted(metrics.iter().map(String::as_str)));
    }
    let message = format!("option `best.metric`: a dev pass has no `{best}`{hint}");
    let location = node.json.location_of(&["best", "metric"]);
    problems.add_for_node(&node.name, location, &message);
}

/// Lists the metrics of a dev pass by their names in metrics.jsonl; `None` if a problem leaves some
/// unknown.
fn dev_metrics(
    phase: &PhaseSpec,
    optimizer: usize,
    edge_graph: &EdgeGraph,
    info: &[Option<NodeInfo>],
) -> Option<Vec<String>> {
    let mut losses = vec![];
    for edge in incoming(edge_graph, optimizer) {
        let from = edge.source().index();
        let sent = info[from].as_ref()?.outputs.get(edge.weight().output)?;
        let Shape::Loss {
            metrics,
            is_penalty,
        } = sent.first()?
        else {
            return None;
        };
        losses.push((&phase.nodes[from].name, metrics, *is_penalty));
    }
    let several = losses.iter().filter(|loss| !loss.2).count() > 1;
    let mut names = vec!["dev/loss".to_owned()];
    for (node, metrics, is_penalty) in losses {
        let prefix = match several && !is_penalty {
            true => format!("dev/{node}/"),
            false => "dev/".to_owned(),
        };
        names.extend(metrics.iter().map(|metric| format!("{prefix}{metric}")));
    }
    Some(names)
}
