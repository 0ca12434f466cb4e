//! What makes the clock of a phase: its one source, whose steps must reach every stage, and its optimizer, if it has one,
//! which needs a rate for whatever it moves.
use crate::graph::edges::EdgeGraph;
use crate::graph::problem::Problems;
use crate::graph::spec;
use nodes::data::suggestion::suggestion;
use nodes::node::Role;
use petgraph::visit::EdgeRef;

/// The one source and the optimizer, if there is one.
pub fn find(phase: &spec::Phase, problems: &mut Problems) -> (Option<usize>, Option<usize>) {
    let (mut source, mut optimizer, mut log) = (None, None, None);
    let mut views = 1;
    for (i, spec) in phase.nodes.iter().enumerate() {
        let Some(kind) = spec.known_kind else {
            continue;
        };
        let (place, what) = match kind.role {
            Role::Source => {
                let config = spec.config.as_deref().and_then(|config| config.source());
                views = config.map_or(1, |source| source.settings().views);
                (&mut source, "source")
            }
            Role::Optimizer => (&mut optimizer, "optimizer"),
            Role::Log => (&mut log, "log"),
            Role::Ordinary => continue,
        };
        match *place {
            None => *place = Some(i),
            Some(first) => {
                let first = &phase.nodes[first].name;
                problems.add(
                    &spec.at,
                    format!(
                        "node `{}`: the phase has its {what} already, `{first}`",
                        spec.name
                    ),
                );
            }
        }
    }
    let certain = phase.nodes.iter().all(|s| s.known_kind.is_some());
    if source.is_none() && certain && !phase.nodes.is_empty() {
        problems.add(
            &phase.at,
            "a phase needs a source: a node of the kind `decode`",
        );
    }
    if let (Some(source), None, 0, true) = (source, optimizer, views, certain) {
        let spec = &phase.nodes[source];
        let says = "`views` is 0, and without an `optimize` the phase would never end";
        problems.add(
            &spec.json.place(&["views".into()]),
            format!("node `{}`: {says}", spec.name),
        );
    }
    (source, optimizer)
}

/// `rates` names every node with parameters in the optimizer's stage, and no other.
pub fn rates(
    phase: &spec::Phase,
    at: usize,
    stage_of: &[usize],
    sound: bool,
    problems: &mut Problems,
) {
    let spec = &phase.nodes[at];
    let config = spec.config.as_deref().filter(|_| !spec.broken);
    let Some(options) = config.and_then(|config| config.optimizer()) else {
        return;
    };
    let trains = |i: usize| {
        stage_of[i] == stage_of[at] && phase.nodes[i].known_kind.is_some_and(|kind| kind.trains)
    };
    let trained: Vec<&str> = (0..phase.nodes.len())
        .filter(|i| trains(*i))
        .map(|i| phase.nodes[i].name.as_str())
        .collect();
    let mut wrong = |way: &[&str], says: String| {
        let way: Vec<String> = way.iter().map(|w| w.to_string()).collect();
        problems.add(
            &spec.json.place(&way),
            format!("node `{}`: {says}", spec.name),
        );
    };
    for name in options
        .rates
        .keys()
        .filter(|name| !trained.contains(&name.as_str()))
    {
        if !phase.nodes.iter().any(|s| s.name == *name) {
            wrong(
                &["rates", name],
                format!(
                    "`rates` names `{name}`, but there is no such node{}",
                    suggestion(name, trained.iter().copied())
                ),
            );
        } else if sound {
            wrong(
                &["rates", name],
                format!("`rates` names `{name}`, which has no parameters to train in this stage"),
            );
        }
    }
    for name in trained
        .iter()
        .filter(|name| sound && !options.rates.contains_key(**name))
    {
        wrong(
            &["rates"],
            format!("`rates` has no rate for `{name}` (0 leaves it as it is)"),
        );
    }
}

/// A stage that nothing from the source reaches would never learn which step it is in.
pub fn idle_stages(
    phase: &spec::Phase,
    edge_graph: &EdgeGraph,
    stage_of: &[usize],
    source: usize,
    problems: &mut Problems,
) {
    let crosses = |to: usize| {
        edge_graph.edge_references().any(|e| {
            let [a, b] = [e.source(), e.target()].map(|n| stage_of[n.index()]);
            b == stage_of[to] && a != b
        })
    };
    for (i, spec) in phase.nodes.iter().enumerate() {
        let first = stage_of[..i].iter().all(|s| *s != stage_of[i]);
        if first && stage_of[i] != stage_of[source] && !crosses(i) {
            let source = &phase.nodes[source].name;
            problems.add(
                &spec.at,
                format!(
                    "node `{}`: no edge leads here from `{source}`, so it would never run",
                    spec.name
                ),
            );
        }
    }
}
