//! The graph as checked and cut: every problem that options and edges alone can show is found here, before data or weights
//! are touched. What a phase will leave behind is known to the phases after it.
mod cut;
mod info;
mod roles;

use crate::graph::edges;
use crate::graph::problem::Problems;
use crate::graph::spec;
use crate::graph::spec::{Graph, Spec};
use info::Past;
use nodes::node::port::Shapes;
use nodes::node::{Clock, Config, Kind, NodeInfo, OptimizerSettings, PhaseOutputs, Source};
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
    pub phase_outputs: Arc<PhaseOutputs>,
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
    pub info: NodeInfo,
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
    /// What it carries is read as tensors, on a GPU.
    pub tensors: bool,
    /// Both ends stand in one stage.
    pub within: bool,
}

impl Planned {
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
    pub fn source(&self) -> &dyn Source {
        let source = self.nodes[self.source].config.source();
        source.unwrap_or_else(|| unreachable!("the plan found the source by its role"))
    }
    pub fn optimizer(&self) -> Option<OptimizerSettings> {
        self.nodes[self.optimizer?].config.optimizer()
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
            None => Clock {
                updates: steps,
                accumulate: 1,
                checkpoint_every: 0,
                from,
            },
        }
    }
}

/// Checks the whole graph; a plan only if nothing is wrong.
pub fn plan(graph: Graph, problems: &mut Problems) -> Option<Plan> {
    let mut phase_outputs = Past::default();
    let Graph {
        name,
        seed,
        phased,
        phases,
        resolved,
    } = graph;
    let phases: Vec<Option<Phase>> = phases
        .into_iter()
        .map(|p| phase(p, &mut phase_outputs, problems))
        .collect();
    if !problems.0.is_empty() {
        return None;
    }
    let phase_outputs = Arc::new(phase_outputs.phase_outputs);
    Some(Plan {
        name,
        seed,
        phased,
        resolved,
        phases: phases.into_iter().collect::<Option<_>>()?,
        phase_outputs,
    })
}

fn phase(phase: spec::Phase, past: &mut Past, problems: &mut Problems) -> Option<Phase> {
    let before = problems.0.len();
    let edge_graph = edges::connect(&phase, problems);
    let order = edges::order(&edge_graph, &phase, problems);
    let stage_of = edges::stages(&edge_graph, &phase);
    edges::waiting_stages(&edge_graph, &stage_of, &phase, problems);
    let sound = problems.0.len() == before && phase.nodes.iter().all(|s| !s.broken);
    let (source, optimizer) = roles::find(&phase, problems);
    if let Some(source) = source.filter(|_| sound && problems.0.len() == before) {
        roles::idle_stages(&phase, &edge_graph, &stage_of, source, problems);
    }
    if let Some(optimizer) = optimizer {
        roles::rates(&phase, optimizer, &stage_of, sound, problems);
    }
    let info = past.info(&phase, &edge_graph, &order, problems);
    past.leave(&phase, &info);
    if problems.0.len() > before || !sound {
        return None;
    }
    let edges = cut::edges(&edge_graph, &stage_of);
    let stages = cut::stages(&order, &stage_of, source?, optimizer, &edges);
    let inputs: Vec<Shapes> = (0..info.len())
        .map(|i| info::shapes(i, &edge_graph, &info))
        .collect();
    let nodes = phase.nodes.into_iter().zip(info).zip(inputs);
    let nodes = nodes.map(|((spec, info), inputs)| {
        Some(Planned {
            config: spec.config.clone()?,
            spec,
            info: info?,
            inputs,
        })
    });
    Some(Phase {
        name: phase.name,
        nodes: nodes.collect::<Option<_>>()?,
        edges,
        stages,
        source: source?,
        optimizer,
    })
}
