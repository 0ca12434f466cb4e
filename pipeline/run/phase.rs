//! One phase: a thread a stage, a bounded channel an edge between stages.
use crate::graph::plan::{Edge, Phase};
use crate::run::receiver::Inlet;
use crate::run::stage::{Ended, Failed, Feed, Message, Seat, Stage, Watch};
use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use nodes::node::NodeContext;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Once;
use std::thread;

/// How many batches may wait on an edge. Any number from 1 is free of deadlock: every node sends one value a step.
pub const WAITING: usize = 4;

/// Runs until the last step, a signal, or the first error, which names its node. `place` stands for all nodes.
pub fn run(
    phase: &Phase,
    context: &NodeContext,
    resume: Option<&Path>,
    watch: Watch,
) -> Result<Ended, String> {
    quiet();
    let (failures, failed) = unbounded::<Failed>();
    let (ended, ends) = unbounded::<Ended>();
    let stages = wire(phase, context, resume);
    thread::scope(|scope| {
        for stage in stages {
            let (failures, ended) = (failures.clone(), ended.clone());
            let work = move || {
                // Products of a small student are over before others would have woken.
                let _threads = stage.trains.then(compute::parallel::private_pool);
                // The failure is told while the stage's channels are still there: so it is the first one.
                match stage.run(watch) {
                    Ok(how) => drop(ended.send(how)),
                    Err(failed) => drop(failures.send(failed)),
                }
            };
            thread::Builder::new()
                .name("stage".into())
                .spawn_scoped(scope, work)
                .map_err(|e| format!("no thread: {e}"))?;
        }
        Ok::<_, String>(())
    })?;
    if let Ok(Failed { node, error }) = failed.try_recv() {
        return Err(format!("node `{node}`: {error}"));
    }
    Ok(if ends.try_iter().all(|how| how == Ended::Finished) {
        Ended::Finished
    } else {
        Ended::Left
    })
}

/// A panic of a stage is told by the run, with the node's name; only those of the main thread speak for themselves.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // After what a GPU refuses nothing on it can be freed: the process may end before the error is told.
            let of_gpu = panic
                .payload_as_str()
                .is_some_and(|says| says.contains("CUDA_ERROR"));
            if of_gpu || thread::current().name() == Some("main") {
                usual(panic);
            }
        }));
    });
}

fn wire(phase: &Phase, context: &NodeContext, resume: Option<&Path>) -> Vec<Stage> {
    let mut channels: HashMap<usize, (Sender<Message>, Receiver<Message>)> = HashMap::new();
    for (i, _) in phase.edges.iter().enumerate().filter(|(_, e)| !e.within) {
        channels.insert(i, bounded(WAITING));
    }
    let over = phase.source().nothing_left(&context.clock);
    let stage = |nodes: &Vec<usize>| {
        let source = nodes.contains(&phase.source);
        let mut inlets = vec![];
        let mut seats = vec![];
        for &n in nodes {
            let mut feeds = vec![];
            for (i, edge) in phase.edges.iter().enumerate().filter(|(_, e)| e.to == n) {
                let within = nodes.iter().position(|m| edge.within && *m == edge.from);
                let feed = within
                    .map(|seat| Feed::Within {
                        seat,
                        port: edge.out,
                    })
                    .unwrap_or_else(|| {
                        inlets.push(Inlet {
                            receive: channels[&i].1.clone(),
                            targets: targets(phase, edge),
                        });
                        Feed::Across(inlets.len() - 1)
                    });
                feeds.push((edge.port, feed));
            }
            let sends = phase
                .edges
                .iter()
                .enumerate()
                .filter(|(_, e)| e.from == n && !e.within);
            seats.push(Seat {
                context: NodeContext {
                    node: phase.nodes[n].name().into(),
                    inputs: phase.nodes[n].inputs.clone(),
                    ..context.clone()
                },
                config: phase.nodes[n].config.clone(),
                cache: phase.nodes[n].spec.cache.clone(),
                feeds,
                sends: sends
                    .map(|(i, e)| (e.out, channels[&i].0.clone()))
                    .collect(),
            });
        }
        let trains = phase.optimizer.is_some_and(|n| nodes.contains(&n));
        Stage {
            seats,
            inlets,
            source,
            trains,
            heeds_stop: phase.optimizer.is_none(),
            resume: resume.map(Into::into),
            over,
        }
    };
    phase.stages.iter().map(stage).collect()
}

/// What [`Inlet::targets`] says of an edge.
fn targets(phase: &Phase, edge: &Edge) -> Option<(usize, usize)> {
    phase.nodes[edge.to]
        .inputs
        .get(edge.port)
        .filter(|_| edge.tensors)?
        .first()?
        .hiddens()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::json::{Json, Kind};
    use crate::graph::plan::Planned;
    use crate::graph::problem::At;
    use crate::graph::spec::Spec;
    use nodes::Result;
    use nodes::kind::decode;
    use nodes::node::port::{Ports, Shapes};
    use nodes::node::report::{Progress, Report};
    use nodes::node::step::{Step, StepInfo};
    use nodes::node::{Clock, Config, Node, NodeInfo, OptionError, PhaseOutputs, Role};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A source that fails at its first step, or a node that waits for it.
    #[derive(Clone)]
    struct Fake {
        source: decode::Options,
        fails: Option<fn() -> Result<StepInfo>>,
        left: Arc<AtomicBool>,
    }

    impl Config for Fake {
        fn ports(&self) -> Ports {
            Ports {
                inputs: &[],
                outputs: &[],
            }
        }
        fn info(&self, _: &PhaseOutputs, _: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
            Ok(NodeInfo::default())
        }
        fn build(&self, _: &NodeContext) -> Result<Box<dyn Node>> {
            Ok(Box::new(self.clone()))
        }
        fn role(&self) -> Role<'_> {
            if self.fails.is_some() {
                Role::Source(&self.source)
            } else {
                Role::Other
            }
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
        let source = serde_json::json!({ "manifest": "", "seconds_per_batch": 1 });
        let source: decode::Options = serde_json::from_value(source).expect("options");
        let left = Arc::new(AtomicBool::new(false));
        let node = |name: &str, fails| {
            let config: Arc<dyn Config> = Arc::new(Fake {
                source: source.clone(),
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
        let context = NodeContext {
            node: String::new(),
            phase: "main".into(),
            phases: false,
            run: "nowhere".into(),
            seed: 0,
            clock: Clock {
                updates: None,
                accumulate: 1,
                checkpoint_every: 0,
                from: 0,
            },
            graph: String::new(),
            bench: false,
            synthetic: None,
            inputs: Shapes::new(),
            phase_outputs: Arc::new(PhaseOutputs::default()),
            report: Arc::new(Silence),
            stop: Arc::new(AtomicBool::new(false)),
        };
        let failed = run(&phase, &context, None, &|_, _, _| ())
            .err()
            .expect("a failure");
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
