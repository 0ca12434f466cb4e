//! One phase: a thread a stage, a bounded channel an edge between stages.
use crate::plan::Phase;
use crate::stage::{Ended, Failed, Feed, Message, Seat, Stage, Watch};
use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use nodes::node::Place;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Once;
use std::thread;

/// How many batches may wait on an edge. Any number from 1 is free of deadlock: every node sends one value a step.
const WAITING: usize = 4;

/// Runs until the last step, a signal, or the first error, which names its node. `place` stands for all nodes.
pub fn run(phase: &Phase, place: &Place, resume: Option<&Path>, watch: Watch) -> Result<Ended, String> {
    quiet();
    let (failures, failed) = unbounded::<Failed>();
    let (ended, ends) = unbounded::<Ended>();
    let stages = wire(phase, place, resume);
    thread::scope(|scope| {
        for stage in stages {
            let (failures, ended) = (failures.clone(), ended.clone());
            let work = move || {
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
    Ok(if ends.try_iter().all(|how| how == Ended::Finished) { Ended::Finished } else { Ended::Left })
}

/// A panic of a stage is told by the run, with the node's name; only those of the main thread speak for themselves.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if thread::current().name() == Some("main") {
                usual(panic);
            }
        }));
    });
}

fn wire(phase: &Phase, place: &Place, resume: Option<&Path>) -> Vec<Stage> {
    let mut channels: HashMap<usize, (Sender<Message>, Receiver<Message>)> = HashMap::new();
    for (i, _) in phase.edges.iter().enumerate().filter(|(_, e)| !e.within) {
        channels.insert(i, bounded(WAITING));
    }
    let over = phase.source().nothing_left(&place.clock);
    let stage = |nodes: &Vec<usize>| {
        let source = nodes.contains(&phase.source);
        let mut receive = vec![];
        let mut seats = vec![];
        for &n in nodes {
            let mut feeds = vec![];
            for (i, edge) in phase.edges.iter().enumerate().filter(|(_, e)| e.to == n) {
                let within = nodes.iter().position(|m| edge.within && *m == edge.from);
                let feed = within.map(|seat| Feed::Within { seat, port: edge.out }).unwrap_or_else(|| {
                    receive.push(channels[&i].1.clone());
                    Feed::Across(receive.len() - 1)
                });
                feeds.push((edge.port, feed));
            }
            let sends = phase.edges.iter().enumerate().filter(|(_, e)| e.from == n && !e.within);
            seats.push(Seat {
                place: Place {
                    node: phase.nodes[n].name().into(),
                    inputs: phase.nodes[n].inputs.clone(),
                    ..place.clone()
                },
                config: phase.nodes[n].config.clone(),
                cache: phase.nodes[n].spec.cache.clone(),
                feeds,
                sends: sends.map(|(i, e)| (e.out, channels[&i].0.clone())).collect(),
            });
        }
        Stage {
            seats,
            receive,
            source,
            heeds_stop: source && phase.optimizer.is_none(),
            resume: resume.map(Into::into),
            over,
        }
    };
    phase.stages.iter().map(stage).collect()
}
