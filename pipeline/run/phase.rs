//! One phase: a thread for each stage, a bounded channel for each edge between stages.
#[cfg(test)]
mod tests;

use crate::graph::plan::{Edge, Phase};
use crate::run::error::{NodeError, PhaseEnd, RunError};
use crate::run::receiver::{EdgeReceiver, Message};
use crate::run::stage::{Feed, Seat, Stage, Watch};
use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use nodes::node::{NodeContext, RunContext};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Once};
use std::thread;

/// The capacity of an edge between stages, in batches. No capacity from 1 on can deadlock, since
/// every node sends one value a step.
pub const WAITING: usize = 2;

/// Runs a phase until its last step, a signal, or the first error, which names its node.
pub fn run(
    phase: &Phase,
    context: &Arc<RunContext>,
    resume: Option<&Path>,
    watch: Watch,
) -> Result<PhaseEnd, RunError> {
    silence_panics_of_stages();
    let (failure_sender, failures) = unbounded::<NodeError>();
    let (end_sender, ends) = unbounded::<PhaseEnd>();
    let stages = build_stages(phase, context, resume);
    thread::scope(|scope| {
        for stage in stages {
            let failure_sender = failure_sender.clone();
            let end_sender = end_sender.clone();
            let work = move || {
                // Small parallel loops would end before the threads of another pool wake.
                let _pool = stage.has_optimizer.then(compute::parallel::private_pool);
                // The failure is sent while the stage's channels are open, so that it is the first.
                match stage.run(watch) {
                    Ok(end) => drop(end_sender.send(end)),
                    Err(failure) => drop(failure_sender.send(failure)),
                }
            };
            thread::Builder::new()
                .name("stage".into())
                .spawn_scoped(scope, work)
                .map_err(|e| RunError::Failed(format!("no thread: {e}")))?;
        }
        Ok::<_, RunError>(())
    })?;
    if let Ok(failure) = failures.try_recv() {
        return Err(failure.into());
    }
    let finished = ends.try_iter().all(|end| end == PhaseEnd::Finished);
    Ok(if finished {
        PhaseEnd::Finished
    } else {
        PhaseEnd::Stopped
    })
}

/// Installs a panic hook that prints nothing for stages, whose panics the run reports with their
/// node. Panics of the main thread are printed as usual.
fn silence_panics_of_stages() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // After an error of the GPU nothing on it can be freed, so the process may end before
            // the run has reported the panic.
            let gpu_failed = panic
                .payload_as_str()
                .is_some_and(|text| text.contains("CUDA_ERROR"));
            if gpu_failed || thread::current().name() == Some("main") {
                print(panic);
            }
        }));
    });
}

type Channels = HashMap<usize, (Sender<Message>, Receiver<Message>)>;

/// Builds the stages of a phase and connects them by channels.
fn build_stages(phase: &Phase, context: &Arc<RunContext>, resume: Option<&Path>) -> Vec<Stage> {
    let mut channels = Channels::new();
    for (i, edge) in phase.edges.iter().enumerate() {
        if !edge.within {
            channels.insert(i, bounded(WAITING));
        }
    }
    let only_finish = phase.source().settings().nothing_left(&context.clock);
    let mut stages = vec![];
    for nodes in &phase.stages {
        let mut receivers = vec![];
        let seats = nodes
            .iter()
            .map(|&n| seat(phase, context, nodes, n, &channels, &mut receivers));
        stages.push(Stage {
            seats: seats.collect(),
            receivers,
            has_source: nodes.contains(&phase.source),
            has_optimizer: phase.optimizer.is_some_and(|n| nodes.contains(&n)),
            ends_at_signal: phase.optimizer.is_none(),
            resume: resume.map(Into::into),
            only_finish,
        });
    }
    stages
}

/// Connects one node of a stage, and adds the receivers of its edges from other stages.
fn seat(
    phase: &Phase,
    context: &Arc<RunContext>,
    stage: &[usize],
    node: usize,
    channels: &Channels,
    receivers: &mut Vec<EdgeReceiver>,
) -> Seat {
    let planned = &phase.nodes[node];
    let mut feeds = vec![];
    let mut sends = vec![];
    for (i, edge) in phase.edges.iter().enumerate() {
        if edge.to == node {
            let index = stage.iter().position(|m| edge.within && *m == edge.from);
            let feed = match index {
                Some(index) => Feed::Within {
                    index,
                    port: edge.out,
                },
                None => {
                    let channel = channels[&i].1.clone();
                    receivers.push(EdgeReceiver {
                        channel,
                        targets: targets(phase, edge),
                    });
                    Feed::Across(receivers.len() - 1)
                }
            };
            feeds.push((edge.port, feed));
        }
        if edge.from == node && !edge.within {
            sends.push((edge.out, channels[&i].0.clone()));
        }
    }
    Seat {
        context: node_context(phase, context, node),
        config: planned.config.clone(),
        cache: planned.spec.cache.clone(),
        codec: planned.spec.codec.clone(),
        is_read: !read_outputs(phase, node, context).is_empty(),
        feeds,
        sends,
    }
}

/// Returns what a node of the phase knows of its surroundings.
pub fn node_context(phase: &Phase, run: &Arc<RunContext>, node: usize) -> NodeContext {
    let planned = &phase.nodes[node];
    NodeContext {
        node: planned.name().into(),
        inputs: planned.inputs.clone(),
        read_outputs: read_outputs(phase, node, run),
        run: run.clone(),
    }
}

/// Returns the output ports of a node that some edge reads, or that is tapped.
fn read_outputs(phase: &Phase, node: usize, context: &RunContext) -> BTreeSet<&'static str> {
    let edges = phase.edges.iter().filter(|edge| edge.from == node);
    let tapped = context.tapped.iter();
    let tapped = tapped.filter(|(name, _)| name == phase.nodes[node].name());
    edges
        .map(|edge| edge.out)
        .chain(tapped.map(|(_, port)| *port))
        .collect()
}

/// Returns [`EdgeReceiver::targets`] of an edge.
fn targets(phase: &Phase, edge: &Edge) -> Option<(usize, usize)> {
    let shapes = phase.nodes[edge.to]
        .inputs
        .get(edge.port)
        .filter(|_| edge.tensors)?;
    shapes.first()?.hiddens()
}
