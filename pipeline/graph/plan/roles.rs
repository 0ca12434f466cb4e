//! The nodes that a phase has one of: its source, whose steps must reach every stage, and its
//! optimizer, which needs a rate for every node that it trains.
use crate::graph::edges::EdgeGraph;
use crate::graph::problem::Problems;
use crate::graph::spec::{NodeSpec, PhaseSpec};
use nodes::data::suggestion::suggestion;
use nodes::node::Role;
use petgraph::visit::EdgeRef;

/// The source and the optimizer of a phase, by their index in it.
pub(super) struct Roles {
    pub(super) source: Option<usize>,
    pub(super) optimizer: Option<usize>,
}

/// Finds the source and the optimizer, and checks that no node has a role that another has.
pub(super) fn find(phase: &PhaseSpec, problems: &mut Problems) -> Roles {
    let source = find_role(phase, Role::Source, "source", problems);
    let optimizer = find_role(phase, Role::Optimizer, "optimizer", problems);
    find_role(phase, Role::Log, "log", problems);
    if optimizer.is_some() {
        refuse_forgetful(phase, problems);
    }
    if let Some(source) = source {
        refuse_crops(phase, source, problems);
    }
    let kinds_known = phase.nodes.iter().all(|node| node.known_kind.is_some());
    if kinds_known && !phase.nodes.is_empty() {
        match source {
            None => problems.add(
                &phase.location,
                "a phase needs a source: a node of the kind `decode`",
            ),
            Some(source) if optimizer.is_none() => check_views(phase, source, problems),
            Some(_) => {}
        }
    }
    Roles { source, optimizer }
}

/// Finds the first node with a role; further ones are problems.
fn find_role(
    phase: &PhaseSpec,
    role: Role,
    role_name: &str,
    problems: &mut Problems,
) -> Option<usize> {
    let mut first = None;
    for (index, node) in phase.nodes.iter().enumerate() {
        if node.known_kind.is_none_or(|kind| kind.role != role) {
            continue;
        }
        match first {
            None => first = Some(index),
            Some(first) => {
                let first = &phase.nodes[first].name;
                let message = format!("the phase has its {role_name} already, `{first}`");
                problems.add_for_node(&node.name, &node.location, message);
            }
        }
    }
    first
}

/// Adds a problem for each node that would lose what it has gathered when the phase is resumed.
fn refuse_forgetful(phase: &PhaseSpec, problems: &mut Problems) {
    let forgets = |node: &&NodeSpec| node.known_kind.is_some_and(|kind| kind.forgets);
    for node in phase.nodes.iter().filter(forgets) {
        let message = "needs a phase without an `optimize`: no checkpoint holds what it gathers";
        problems.add_for_node(&node.name, &node.location, message);
    }
}

/// Adds a problem if utterances are cut though a node needs whole ones.
fn refuse_crops(phase: &PhaseSpec, source: usize, problems: &mut Problems) {
    let source = &phase.nodes[source];
    let config = source.config.as_deref().and_then(|config| config.source());
    if config.is_none_or(|source| !source.settings().crops) {
        return;
    }
    let needs_whole = |node: &&NodeSpec| {
        let config = node.config.as_deref();
        config.is_some_and(|config| config.needs_whole_rows())
    };
    if let Some(node) = phase.nodes.iter().find(needs_whole) {
        let name = &node.name;
        problems.add_for_node(
            &source.name,
            source.json.location_of(&["crop"]),
            format!("option `crop`: `{name}` is of whole utterances, so it must be \"none\""),
        );
    }
}

/// Checks that the source of a phase without an optimizer ends.
fn check_views(phase: &PhaseSpec, source: usize, problems: &mut Problems) {
    let node = &phase.nodes[source];
    let config = node.config.as_deref().and_then(|config| config.source());
    if config.is_some_and(|source| source.settings().views == 0) {
        problems.add_for_node(
            &node.name,
            node.json.location_of(&["views"]),
            "`views` is 0, and without an `optimize` the phase would never end",
        );
    }
}

/// Checks that `rates` names every node with parameters in the optimizer's stage, and no other.
///
/// Unless `edges_valid`, stages are not certain, and only names of no node at all are reported.
pub(super) fn check_rates(
    phase: &PhaseSpec,
    optimizer: usize,
    stage_of: &[usize],
    edges_valid: bool,
    problems: &mut Problems,
) {
    let node = &phase.nodes[optimizer];
    let config = node.config.as_deref().filter(|_| !node.broken);
    let Some(options) = config.and_then(|config| config.optimizer()) else {
        return;
    };
    let mut trained: Vec<&str> = vec![];
    for (other, stage) in phase.nodes.iter().zip(stage_of) {
        if *stage == stage_of[optimizer] && other.known_kind.is_some_and(|kind| kind.trains) {
            trained.push(&other.name);
        }
    }
    for name in options.rates.keys() {
        if trained.contains(&name.as_str()) {
            continue;
        }
        let message = if !phase.nodes.iter().any(|other| other.name == *name) {
            let suggestion = suggestion(name, trained.iter().copied());
            format!("`rates` names `{name}`, but there is no such node{suggestion}")
        } else if edges_valid {
            format!("`rates` names `{name}`, which has no parameters to train in this stage")
        } else {
            continue;
        };
        let location = node.json.location_of(&["rates", name]);
        problems.add_for_node(&node.name, location, message);
    }
    for name in trained {
        if edges_valid && !options.rates.contains_key(name) {
            problems.add_for_node(
                &node.name,
                node.json.location_of(&["rates"]),
                format!("`rates` has no rate for `{name}` (0 leaves it as it is)"),
            );
        }
    }
}

/// Checks that every stage but the source's has an edge from another: without one, it would never
/// learn its step.
pub(super) fn check_stages_are_reached(
    phase: &PhaseSpec,
    edge_graph: &EdgeGraph,
    stage_of: &[usize],
    source: usize,
    problems: &mut Problems,
) {
    let mut reached = vec![stage_of[source]];
    for edge in edge_graph.edge_references() {
        let from = stage_of[edge.source().index()];
        let to = stage_of[edge.target().index()];
        if from != to {
            reached.push(to);
        }
    }
    for (i, node) in phase.nodes.iter().enumerate() {
        let first_of_stage = !stage_of[..i].contains(&stage_of[i]);
        if first_of_stage && !reached.contains(&stage_of[i]) {
            let source = &phase.nodes[source].name;
            problems.add_for_node(
                &node.name,
                &node.location,
                format!("no edge leads here from `{source}`, so it would never run"),
            );
        }
    }
}
