//! The lines of a phase's sizes: those of its nodes, and of a student together with its heads.
use pipeline::format::thousands;
use pipeline::graph::plan::{Phase, PlannedNode};

/// Returns a line for each student whose layers linear heads bring to their targets: its size together
/// with theirs, which some papers state.
pub(super) fn of_students_with_heads(phase: &Phase) -> String {
    let is = |node: &PlannedNode, kind: &str| node.spec.kind == kind;
    let mut text = String::new();
    for (index, student) in phase.nodes.iter().enumerate() {
        let edges = phase.edges.iter().filter(|edge| edge.from == index);
        let readers = edges.map(|edge| &phase.nodes[edge.to]);
        let heads: Vec<&PlannedNode> = readers.filter(|node| is(node, "project")).collect();
        if !is(student, "student") || heads.is_empty() {
            continue;
        }
        let of_all = |count: fn(&PlannedNode) -> Option<u64>| -> Option<u64> {
            let heads = heads.iter().map(|head| count(head));
            std::iter::once(count(student)).chain(heads).sum()
        };
        let parameters = of_all(|node| node.info.parameters);
        let macs = of_all(|node| node.info.macs);
        let name = format!("{} and heads", student.name());
        text += &line(&name, parameters, macs, student.info.estimated);
    }
    text
}

/// Returns the line of a node: parameters and multiply-accumulates. Empty if it has neither.
pub(super) fn of_node(node: &PlannedNode) -> String {
    let info = &node.info;
    line(node.name(), info.parameters, info.macs, info.estimated)
}

/// Returns the line of a size; empty without one.
fn line(name: &str, parameters: Option<u64>, macs: Option<u64>, estimated: bool) -> String {
    if parameters.is_none() && macs.is_none() {
        return String::new();
    }
    let column = |count: Option<u64>, unit: &str| match count {
        Some(count) => format!("  {:>22} {unit}", thousands(count)),
        None => String::new(),
    };
    let parameters = column(parameters, "parameters");
    let macs = column(macs, "MACs");
    let note = if estimated { "  (estimated)" } else { "" };
    format!("  {name:12}{parameters}{macs}{note}\n")
}
