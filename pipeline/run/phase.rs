//! One phase: a thread for each stage, a bounded channel for each edge between stages.
use crate::graph::plan::{Edge, Phase};
use crate::run::error::{NodeError, PhaseEnd, RunError};
use crate::run::receiver::EdgeReceiver;
use crate::run::stage::{Feed, Message, Seat, Stage, Watch};
use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use nodes::node::{NodeContext, RunContext};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Once};
use std::thread;

/// Batches that may wait on an edge. Any number from 1 is free of deadlock, since every node sends
/// one value a step.
pub const WAITING: usize = 4;

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
                // Small parallel loops are over before threads of another pool would have woken.
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

/// Leaves the report of a stage's panic to the run, which knows the node. Panics of the main thread
/// print as usual.
fn silence_panics_of_stages() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // After a GPU's error nothing on it can be freed, and the process may end before the
            // run has reported it.
            let of_gpu = panic
                .payload_as_str()
                .is_some_and(|text| text.contains("CUDA_ERROR"));
            if of_gpu || thread::current().name() == Some("main") {
                print(panic);
            }
        }));
    });
}

type Channels = HashMap<usize, (Sender<Message>, Receiver<Message>)>;

/// Connects the stages of a phase by channels.
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

/// Connects one node of a stage; adds the stage's receivers of its edges from other threads.
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
        context: NodeContext {
            node: planned.name().into(),
            inputs: planned.inputs.clone(),
            run: context.clone(),
        },
        config: planned.config.clone(),
        cache: planned.spec.cache.clone(),
        feeds,
        sends,
    }
}

/// Returns [`EdgeReceiver::targets`] of an edge.
fn targets(phase: &Phase, edge: &Edge) -> Option<(usize, usize)> {
    let shapes = phase.nodes[edge.to]
        .inputs
        .get(edge.port)
        .filter(|_| edge.tensors)?;
    shapes.first()?.hiddens()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::json::{Json, Kind};
    use crate::graph::plan::Planned;
    use crate::graph::problem::At;
    use crate::graph::spec::Spec;
    use nodes::Result;
    use nodes::node::port::Shapes;
    use nodes::node::report::{Progress, Report};
    use nodes::node::step::{Step, StepInfo};
    use nodes::node::{
        Clock, Config, Node, NodeInfo, OptionError, PhaseOutputs, PlannedRows, Source,
        SourceSettings,
    };
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A source that fails at its first step, or a node that waits for it.
    #[derive(Clone)]
    struct Fake {
        fails: Option<fn() -> Result<StepInfo>>,
        left: Arc<AtomicBool>,
    }

    impl Config for Fake {
        fn info(&self, _: &PhaseOutputs, _: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
            Ok(NodeInfo::default())
        }
        fn build(&self, _: &NodeContext) -> Result<Box<dyn Node>> {
            Ok(Box::new(self.clone()))
        }
        fn source(&self) -> Option<&dyn Source> {
            Some(self)
        }
    }

    impl Source for Fake {
        fn settings(&self) -> SourceSettings {
            SourceSettings {
                manifest: String::new(),
                dev: None,
                seconds_per_batch: 1.0,
                views: 1,
            }
        }
        fn planned_rows(&self) -> Result<Option<PlannedRows>> {
            Ok(None)
        }
    }

    impl Node for Fake {
        fn next_step(&mut self) -> Result<StepInfo> {
            self.fails.map_or(Ok(StepInfo::default()), |fails| fails())
        }
        fn run(&mut self, _: &mut Step) -> Result<()> {
            Ok(())
        }
        fn leave(&mut self) -> Result<()> {
            self.left.store(true, Ordering::Relaxed);
            Err("what goes wrong later is not told".into())
        }
    }

    struct Silence;
    impl Report for Silence {
        fn update(&self, _: &str, _: Progress) {}
        fn say(&self, _: &str) {}
    }

    /// What is said of a source that fails so, when the node after it has been told to leave.
    fn says(fails: fn() -> Result<StepInfo>) -> String {
        let left = Arc::new(AtomicBool::new(false));
        let node = |name: &str, fails| {
            let config: Arc<dyn Config> = Arc::new(Fake {
                fails,
                left: left.clone(),
            });
            let json = Json {
                at: At::Byte(0),
                kind: Kind::Map(vec![]),
            };
            let spec = Spec {
                name: name.into(),
                at: At::Byte(0),
                kind: String::new(),
                known_kind: None,
                json,
                config: Some(config.clone()),
                broken: false,
                cache: None,
                inputs: vec![],
            };
            Planned {
                spec,
                config,
                info: NodeInfo::default(),
                inputs: Shapes::new(),
            }
        };
        let phase = Phase {
            name: "main".into(),
            nodes: vec![node("source", Some(fails)), node("sink", None)],
            edges: vec![Edge {
                from: 0,
                out: "out",
                to: 1,
                port: "in",
                on_tape: false,
                tensors: false,
                within: false,
            }],
            stages: vec![vec![0], vec![1]],
            source: 0,
            optimizer: None,
        };
        let context = Arc::new(RunContext {
            phase: "main".into(),
            phased: false,
            folder: "nowhere".into(),
            graph: String::new(),
            seed: 0,
            clock: Clock {
                updates: None,
                accumulate: 1,
                checkpoint_every: 0,
                from: 0,
            },
            bench: false,
            synthetic: None,
            phase_outputs: Arc::new(PhaseOutputs::default()),
            report: Arc::new(Silence),
            stop: Arc::new(AtomicBool::new(false)),
        });
        let failed = run(&phase, &context, None, &|_, _, _| ())
            .err()
            .expect("a failure")
            .to_string();
        assert!(
            left.load(Ordering::Relaxed),
            "the other stage keeps what it has"
        );
        failed
    }

    #[test]
    fn an_error_names_its_node() {
        assert_eq!(
            says(|| Err("no more data".into())),
            "node `source`: no more data"
        );
    }

    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(
            says(|| panic!("index {} out of bounds", 3)),
            "node `source`: panicked: index 3 out of bounds"
        );
    }
}
