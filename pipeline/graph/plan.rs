//! Plans a graph: connects its nodes, cuts each phase into stages, and learns what each node
//! computes and writes.
//!
//! Every problem that options and edges alone can show is found here. Later phases know what
//! earlier ones will write.
mod best;
mod budget;
pub mod cache_bytes;
mod info;
mod roles;

use crate::graph::edges;
use crate::graph::edges::EdgeGraph;
use crate::graph::problem::Problems;
use crate::graph::spec::{GraphSpec, NodeSpec, PhaseSpec};
use crate::graph::stages;
use info::EarlierPhases;
use nodes::node::port::Shapes;
use nodes::node::{Clock, Config, Kind, NodeInfo, OptimizerSettings, PhaseOutputs, Source};
use petgraph::visit::EdgeRef;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A graph without problems, ready to run.
pub struct Plan {
    pub name: String,
    pub seed: u64,
    /// Whether the names of phases are folders of the run.
    pub phased: bool,
    /// The graph file after `--set`.
    pub resolved: Value,
    pub phases: Vec<Phase>,
    /// What the nodes of all phases write.
    pub phase_outputs: Arc<PhaseOutputs>,
}

/// A phase of a plan. Nodes are named by their index in `nodes`.
pub struct Phase {
    pub name: String,
    /// The nodes in the order of the file.
    pub nodes: Vec<PlannedNode>,
    /// The edges, sorted by the node that they lead to, then as written.
    pub edges: Vec<Edge>,
    /// The nodes of each stage, which is one thread, in the order in which they run.
    pub stages: Vec<Vec<usize>>,
    pub source: usize,
    pub optimizer: Option<usize>,
}

/// A node of a plan.
pub struct PlannedNode {
    pub spec: NodeSpec,
    pub config: Arc<dyn Config>,
    pub info: NodeInfo,
    /// The shapes that the node receives.
    pub inputs: Shapes,
    /// The number of codebooks that its codec has, if it has some.
    pub books: Option<u64>,
}

/// An edge from a port of one node to a port of another.
#[derive(Clone, Copy)]
pub struct Edge {
    pub from: usize,
    /// The output port of `from`.
    pub out: &'static str,
    pub to: usize,
    /// The input port of `to`.
    pub port: &'static str,
    /// Whether the values are on the tape.
    pub on_tape: bool,
    /// Whether the values are read as tensors on a GPU.
    pub tensors: bool,
    /// Whether both nodes are in one stage.
    pub within: bool,
}

impl Plan {
    /// Returns the folder below a run's that holds a folder for each node of a phase.
    pub fn folder(&self, phase: &Phase, run: &Path) -> PathBuf {
        match self.phased {
            true => run.join(&phase.name),
            false => run.to_owned(),
        }
    }

    /// Returns the nodes of a phase as the graph file has them.
    pub fn written_nodes(&self, phase: &Phase) -> &Value {
        if !self.phased {
            return &self.resolved["nodes"];
        }
        let phases = self.resolved["phases"].as_array().into_iter().flatten();
        let mut named = phases.filter(|other| other["name"] == *phase.name);
        named.next().map_or(&Value::Null, |found| &found["nodes"])
    }
}

impl PlannedNode {
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    pub fn kind(&self) -> &'static Kind {
        self.spec
            .known_kind
            .unwrap_or_else(|| unreachable!("the plan checked every kind"))
    }
}

impl Phase {
    /// Returns the source, which makes the steps.
    pub fn source(&self) -> &dyn Source {
        let source = self.nodes[self.source].config.source();
        source.unwrap_or_else(|| unreachable!("the plan found the source by its role"))
    }

    /// Returns the settings of the optimizer, if the phase has one.
    pub fn optimizer(&self) -> Option<OptimizerSettings> {
        self.nodes[self.optimizer?].config.optimizer()
    }

    /// Returns whether the phase trains nothing and measures losses, so that each row counts once.
    pub fn measures(&self) -> bool {
        self.optimizer.is_none() && self.nodes.iter().any(|node| node.kind().measures())
    }

    /// Returns what there is to say of a phase that leaves nothing: it trains and measures nothing, and no
    /// node writes a file or has a cache.
    pub fn leaves_nothing(&self) -> Option<String> {
        let keeps = |node: &PlannedNode| node.info.writes.is_some() || node.spec.cache.is_some();
        let leaves = self.optimizer.is_some() || self.measures() || self.nodes.iter().any(keeps);
        (!leaves).then(|| {
            format!(
                "phase `{}` trains and measures nothing, and nothing is kept: no node has a `cache`",
                self.name
            )
        })
    }

    /// Returns whether processes may share out the batches of a dev pass: no node gathers over it.
    pub fn shares_dev(&self) -> bool {
        self.nodes.iter().all(|node| !node.kind().gathers)
    }

    /// Returns the node that completes a step: the optimizer, or else the last node.
    pub fn last(&self) -> &PlannedNode {
        let last = self.stages.last().and_then(|stage| stage.last().copied());
        &self.nodes[self.optimizer.or(last).unwrap_or(self.source)]
    }

    /// Returns the node that begins a step in the stage of [`Phase::last`].
    pub fn first_of_last_stage(&self) -> &PlannedNode {
        let last = self.last().name();
        let is_last = |node: &usize| self.nodes[*node].name() == last;
        let stage = self.stages.iter().find(|stage| stage.iter().any(is_last));
        stage.map_or(self.last(), |stage| &self.nodes[stage[0]])
    }

    /// Returns the clock of a run from update `from` on, which ends after `steps` updates; `None`
    /// is the number in the file.
    pub fn clock(&self, steps: Option<u64>, from: u64) -> Clock {
        match self.optimizer() {
            Some(optimizer) => Clock {
                updates: Some(steps.unwrap_or(optimizer.steps)),
                accumulate: optimizer.accumulate,
                checkpoint_every: optimizer.checkpoint_every,
                from,
            },
            None => Clock {
                updates: steps,
                accumulate: 1,
                checkpoint_every: 0,
                from,
            },
        }
    }
}

/// Plans a graph; `None`, after adding problems, if anything is wrong with it.
pub fn plan(graph: GraphSpec, problems: &mut Problems) -> Option<Plan> {
    let mut earlier = EarlierPhases::default();
    let mut phases = vec![];
    for phase in graph.phases {
        phases.push(plan_phase(phase, &mut earlier, problems));
    }
    if !problems.is_empty() {
        return None;
    }
    let phases: Vec<Phase> = phases.into_iter().collect::<Option<_>>()?;
    for phase in &phases {
        budget::check(phase, problems);
    }
    Some(Plan {
        name: graph.name,
        seed: graph.seed,
        phased: graph.phased,
        resolved: graph.resolved,
        phases,
        phase_outputs: Arc::new(earlier.outputs),
    })
}

/// Plans one phase and adds what it writes to `earlier`.
fn plan_phase(
    phase: PhaseSpec,
    earlier: &mut EarlierPhases,
    problems: &mut Problems,
) -> Option<Phase> {
    let problems_before = problems.len();
    let edge_graph = edges::connect(&phase, problems);
    let order = stages::topological_order(&edge_graph, &phase, problems);
    let stage_of = stages::assign(&edge_graph, &phase);
    stages::check_cycles(&edge_graph, &stage_of, &phase, problems);
    let edges_valid =
        problems.len() == problems_before && phase.nodes.iter().all(|node| !node.broken);

    let roles = roles::find(&phase, problems);
    if let Some(source) = roles.source
        && edges_valid
        && problems.len() == problems_before
    {
        roles::check_stages_are_reached(&phase, &edge_graph, &stage_of, source, problems);
    }
    if let Some(optimizer) = roles.optimizer {
        roles::check_rates(&phase, optimizer, &stage_of, edges_valid, problems);
    }

    let info = earlier.node_info(&phase, &edge_graph, &order, problems);
    if let (Some(source), Some(optimizer)) = (roles.source, roles.optimizer) {
        best::check(&phase, source, optimizer, &edge_graph, &info, problems);
    }
    earlier.add(&phase, roles.optimizer.is_some(), &info);
    if problems.len() > problems_before || !edges_valid {
        return None;
    }

    let source = roles.source?;
    let mut inputs = vec![];
    for node in 0..info.len() {
        inputs.push(info::input_shapes(node, &edge_graph, &info));
    }
    let mut nodes = vec![];
    for ((spec, info), inputs) in phase.nodes.into_iter().zip(info).zip(inputs) {
        nodes.push(PlannedNode {
            config: spec.config.clone()?,
            books: spec.codec.books(&earlier.outputs),
            spec,
            info: info?,
            inputs,
        });
    }
    Some(Phase {
        name: phase.name,
        nodes,
        edges: planned_edges(&edge_graph, &stage_of),
        stages: stages::list(&edge_graph, &order, &stage_of, source, roles.optimizer),
        source,
        optimizer: roles.optimizer,
    })
}

/// Lists the edges, sorted by the node that they lead to, then as written.
fn planned_edges(edge_graph: &EdgeGraph, stage_of: &[usize]) -> Vec<Edge> {
    let mut edges = vec![];
    for to in 0..stage_of.len() {
        for edge in edges::incoming(edge_graph, to) {
            let from = edge.source().index();
            let connection = edge.weight();
            edges.push(Edge {
                from,
                out: connection.output,
                to,
                port: connection.input,
                on_tape: connection.on_tape,
                tensors: connection.tensors,
                within: stage_of[from] == stage_of[to],
            });
        }
    }
    edges
}
