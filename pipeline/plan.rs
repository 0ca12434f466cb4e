//! The graph as checked and cut: every problem that options and edges alone can show is found here, before data or weights
//! are touched. What a phase will leave behind is known to the phases after it.
use crate::json::{Json, Kind};
use crate::problem::Problems;
use crate::spec::{self, Graph, Spec};
use crate::wires::{self, Wires};
use nodes::near::near;
use nodes::node::{Clock, Config, Facts, Role, World};
use nodes::port::Shapes;
use nodes::{decode, optimize};
use petgraph::visit::EdgeRef;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

pub struct Plan {
    pub name: String,
    pub seed: u64,
    /// Names of phases are folders of the run.
    pub phased: bool,
    /// The graph as read, after `--set`.
    pub resolved: serde_json::Value,
    pub phases: Vec<Phase>,
    /// What the phases leave.
    pub world: Arc<World>,
}

pub struct Phase {
    pub name: String,
    /// In the order of the file.
    pub nodes: Vec<Planned>,
    /// Sorted by the node they go to, then as written.
    pub edges: Vec<Edge>,
    /// Each stage is one thread; its nodes in the order in which they run.
    pub stages: Vec<Vec<usize>>,
    pub source: usize,
    pub optimizer: Option<usize>,
}

pub struct Planned {
    pub spec: Spec,
    pub config: Arc<dyn Config>,
    pub facts: Facts,
    /// What comes in.
    pub inputs: Shapes,
}

/// From a port of one node to a port of another.
#[derive(Clone, Copy)]
pub struct Edge {
    pub from: usize,
    pub out: &'static str,
    pub to: usize,
    pub port: &'static str,
    pub on_tape: bool,
    /// Both ends stand in one stage.
    pub within: bool,
}

impl Planned {
    pub fn name(&self) -> &str {
        &self.spec.name
    }
}

impl Phase {
    pub fn source(&self) -> &decode::Options {
        match self.nodes[self.source].config.role() {
            Role::Source(options) => options,
            _ => unreachable!("the plan has found the source by its role"),
        }
    }
    pub fn optimizer(&self) -> Option<&optimize::Options> {
        match self.nodes[self.optimizer?].config.role() {
            Role::Optimizer(options) => Some(options),
            _ => None,
        }
    }
    /// The node with which a step is complete: the optimizer, or else the last one.
    pub fn last(&self) -> &Planned {
        let last = self.stages.last().and_then(|stage| stage.last());
        &self.nodes[self.optimizer.or(last.copied()).unwrap_or(self.source)]
    }
    /// When the phase ends: after `steps` updates, if that is given, or when the file says so.
    pub fn clock(&self, steps: Option<u64>, from: u64) -> Clock {
        match self.optimizer() {
            Some(o) => Clock {
                updates: Some(steps.unwrap_or(o.steps)),
                accumulate: o.accumulate,
                checkpoint_every: o.checkpoint_every,
                from,
            },
            None => Clock { updates: steps, accumulate: 1, checkpoint_every: 0, from },
        }
    }
}

/// Checks the whole graph; a plan only if nothing is wrong.
pub fn plan(graph: Graph, problems: &mut Problems) -> Option<Plan> {
    let mut world = Past { world: World::default(), unknown: BTreeSet::new() };
    let Graph { name, seed, phased, phases, resolved } = graph;
    let phases: Vec<Option<Phase>> = phases.into_iter().map(|p| phase(p, &mut world, problems)).collect();
    if !problems.0.is_empty() {
        return None;
    }
    let world = Arc::new(world.world);
    Some(Plan { name, seed, phased, resolved, phases: phases.into_iter().collect::<Option<_>>()?, world })
}

/// What earlier phases leave, and the nodes (`phase/node`) of which that is not known because of a problem.
struct Past {
    world: World,
    unknown: BTreeSet<String>,
}

fn phase(phase: spec::Phase, past: &mut Past, problems: &mut Problems) -> Option<Phase> {
    let before = problems.0.len();
    let wires = wires::connect(&phase, problems);
    let order = wires::order(&wires, &phase, problems);
    let stage_of = wires::stages(&wires);
    wires::waiting_stages(&wires, &stage_of, &phase, problems);
    let sound = problems.0.len() == before && phase.nodes.iter().all(|s| !s.broken);
    let (source, optimizer) = clockwork(&phase, problems);
    if let Some(source) = source.filter(|_| sound && problems.0.len() == before) {
        idle_stages(&phase, &wires, &stage_of, source, problems);
    }
    if let Some(optimizer) = optimizer {
        rates(&phase, optimizer, &stage_of, sound, problems);
    }
    let facts = facts(&phase, &wires, &order, past, problems);
    leave(&phase, &facts, past);
    if problems.0.len() > before || !sound {
        return None;
    }
    let edges = edges(&wires, &stage_of);
    let stages = stages(&order, &stage_of, source?, optimizer, &edges);
    let inputs: Vec<Shapes> = (0..facts.len()).map(|i| shapes(i, &wires, &facts)).collect();
    let nodes = phase.nodes.into_iter().zip(facts).zip(inputs);
    let nodes = nodes
        .map(|((spec, facts), inputs)| Some(Planned { config: spec.config.clone()?, spec, facts: facts?, inputs }));
    Some(Phase { name: phase.name, nodes: nodes.collect::<Option<_>>()?, edges, stages, source: source?, optimizer })
}

/// The one source and the optimizer, if there is one.
fn clockwork(phase: &spec::Phase, problems: &mut Problems) -> (Option<usize>, Option<usize>) {
    let (mut source, mut optimizer) = (None, None);
    let mut views = 1;
    for (i, spec) in phase.nodes.iter().enumerate() {
        let Some(config) = &spec.config else { continue };
        let (place, what) = match config.role() {
            Role::Source(options) => {
                views = options.views;
                (&mut source, "source")
            }
            Role::Optimizer(_) => (&mut optimizer, "optimizer"),
            Role::Other => continue,
        };
        match *place {
            None => *place = Some(i),
            Some(first) => {
                let first = &phase.nodes[first].name;
                problems.add(&spec.at, format!("node `{}`: the phase has its {what} already, `{first}`", spec.name));
            }
        }
    }
    let certain = phase.nodes.iter().all(|s| s.config.is_some());
    if source.is_none() && certain && !phase.nodes.is_empty() {
        problems.add(&phase.at, "a phase needs a source: a node of the kind `decode`");
    }
    if let (Some(source), None, 0, true) = (source, optimizer, views, certain) {
        let spec = &phase.nodes[source];
        let says = "`views` is 0, and without an `optimize` the phase would never end";
        problems.add(&spec.json.place(&["views".into()]), format!("node `{}`: {says}", spec.name));
    }
    (source, optimizer)
}

/// `rates` names every node with parameters in the optimizer's stage, and no other.
fn rates(phase: &spec::Phase, at: usize, stage_of: &[usize], sound: bool, problems: &mut Problems) {
    let spec = &phase.nodes[at];
    let Some(Role::Optimizer(options)) = spec.config.as_deref().filter(|_| !spec.broken).map(|c| c.role()) else {
        return;
    };
    let trains = |i: usize| stage_of[i] == stage_of[at] && phase.nodes[i].config.as_ref().is_some_and(|c| c.trains());
    let trained: Vec<&str> =
        (0..phase.nodes.len()).filter(|i| trains(*i)).map(|i| phase.nodes[i].name.as_str()).collect();
    let mut wrong = |way: &[&str], says: String| {
        let way: Vec<String> = way.iter().map(|w| w.to_string()).collect();
        problems.add(&spec.json.place(&way), format!("node `{}`: {says}", spec.name));
    };
    for name in options.rates.keys().filter(|name| !trained.contains(&name.as_str())) {
        if !phase.nodes.iter().any(|s| s.name == *name) {
            wrong(
                &["rates", name],
                format!("`rates` names `{name}`, but there is no such node{}", near(name, trained.iter().copied())),
            );
        } else if sound {
            wrong(&["rates", name], format!("`rates` names `{name}`, which has no parameters to train in this stage"));
        }
    }
    for name in trained.iter().filter(|name| sound && !options.rates.contains_key(**name)) {
        wrong(&["rates"], format!("`rates` has no rate for `{name}` (0 leaves it as it is)"));
    }
}

/// A stage that nothing from the source reaches would never learn which step it is in.
fn idle_stages(phase: &spec::Phase, wires: &Wires, stage_of: &[usize], source: usize, problems: &mut Problems) {
    let crosses = |to: usize| {
        wires.edge_references().any(|e| {
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
                format!("node `{}`: no edge leads here from `{source}`, so it would never run", spec.name),
            );
        }
    }
}

/// What each node says of itself, given what comes in; None where a problem hides it.
fn facts(
    phase: &spec::Phase,
    wires: &Wires,
    order: &[usize],
    past: &Past,
    problems: &mut Problems,
) -> Vec<Option<Facts>> {
    let mut facts: Vec<Option<Facts>> = phase.nodes.iter().map(|_| None).collect();
    for &i in order {
        let spec = &phase.nodes[i];
        let Some(config) = spec.config.as_ref().filter(|_| !spec.broken && !reads_unknown(&spec.json, &past.unknown))
        else {
            continue;
        };
        match config.facts(&past.world, &shapes(i, wires, &facts)) {
            Ok(found) => facts[i] = Some(found),
            Err(wrongs) => wrongs.iter().for_each(|wrong| {
                problems.add(&spec.json.place(&wrong.path), format!("node `{}`: {}", spec.name, wrong.says));
            }),
        }
    }
    facts
}

/// The shapes that reach a node; a port of which one edge's shape is not known is left out.
fn shapes(node: usize, wires: &Wires, facts: &[Option<Facts>]) -> Shapes {
    let mut known: HashMap<&'static str, Option<Vec<_>>> = HashMap::new();
    for edge in incoming(wires, node) {
        let (from, wire) = (edge.source().index(), edge.weight());
        let shape = facts[from].as_ref().and_then(|f| f.outputs.get(wire.from)?.first());
        let all = known.entry(wire.to).or_insert(Some(vec![]));
        *all = all.take().and_then(|mut all| {
            all.push(shape?.clone());
            Some(all)
        });
    }
    known.into_iter().filter_map(|(port, shapes)| Some((port, shapes?))).collect()
}

/// The edges into a node, in the order in which they are written.
fn incoming(wires: &Wires, node: usize) -> Vec<petgraph::graph::EdgeReference<'_, wires::Wire>> {
    let mut edges: Vec<_> = wires.edges_directed(petgraph::graph::NodeIndex::new(node), petgraph::Incoming).collect();
    edges.sort_by_key(|e| e.id());
    edges
}

/// Whether some option names what a node with problems was to leave: `$OUT/phase/node`.
fn reads_unknown(json: &Json, unknown: &BTreeSet<String>) -> bool {
    match &json.kind {
        Kind::Leaf(_) => json.text().and_then(|t| t.strip_prefix("$OUT/")).is_some_and(|rest| {
            let key: Vec<&str> = rest.split('/').take(2).collect();
            unknown.contains(&key.join("/"))
        }),
        Kind::List(items) => items.iter().any(|i| reads_unknown(i, unknown)),
        Kind::Map(entries) => entries.iter().any(|(_, _, v)| reads_unknown(v, unknown)),
    }
}

/// Tells later phases what this one leaves.
fn leave(phase: &spec::Phase, facts: &[Option<Facts>], past: &mut Past) {
    for (spec, facts) in phase.nodes.iter().zip(facts) {
        let key = format!("{}/{}", phase.name, spec.name);
        let Some(facts) = facts else {
            past.unknown.insert(key);
            continue;
        };
        if let Some(model) = &facts.leaves {
            past.world.models.insert(key.clone(), model.clone());
        }
        if let Some(heads) = &facts.leaves_heads {
            past.world.heads.insert(key, heads.clone());
        }
    }
}

fn edges(wires: &Wires, stage_of: &[usize]) -> Vec<Edge> {
    let edge = |e: petgraph::graph::EdgeReference<'_, wires::Wire>| {
        let (from, to, wire) = (e.source().index(), e.target().index(), *e.weight());
        Edge { from, out: wire.from, to, port: wire.to, on_tape: wire.on_tape, within: stage_of[from] == stage_of[to] }
    };
    (0..stage_of.len()).flat_map(|node| incoming(wires, node)).map(edge).collect()
}

/// Stages in the order of their first node, that of the source first. The optimizer comes last in its stage if nothing there waits for it: so it
/// reaches the parameters of all others.
fn stages(
    order: &[usize],
    stage_of: &[usize],
    source: usize,
    optimizer: Option<usize>,
    edges: &[Edge],
) -> Vec<Vec<usize>> {
    let mut labels = vec![stage_of[source]];
    order.iter().for_each(|n| labels.extend((!labels.contains(&stage_of[*n])).then_some(stage_of[*n])));
    let members = |label: usize| order.iter().copied().filter(move |n| stage_of[*n] == label);
    let mut stages: Vec<Vec<usize>> = labels.iter().map(|l| members(*l).collect()).collect();
    let free = optimizer.filter(|o| !edges.iter().any(|e| e.from == *o && e.within));
    for stage in &mut stages {
        stage.sort_by_key(|n| free == Some(*n));
    }
    stages
}
