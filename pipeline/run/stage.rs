//! The nodes of one thread. The loop is here, the step is the node's.
use crate::run::receiver::{Ends, Inbox, Inlet};
use compute::tensor::Tape;
use crossbeam::channel::Sender;
use nodes::node::port::Value;
use nodes::node::step::{Member, Step, StepInfo};
use nodes::node::{Config, Node, NodeContext};
use nodes::{Batch, Result};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A batch as it crosses threads.
pub type Message = (StepInfo, Batch);

/// What a node sent, by output port.
pub type Sent = HashMap<&'static str, Value>;

/// Of a node's step.
pub enum Moment<'a> {
    /// In its stage's thread.
    Begins,
    /// How long it took, and what it sent.
    Ended(Duration, &'a Sent),
}

/// Sees each node in each step.
pub type Watch<'a> = &'a (dyn Fn(&str, StepInfo, Moment) + Sync);

/// What comes to an input port: from a node before it in the stage, or from the edge of this number out of another thread.
pub enum Feed {
    Within { seat: usize, port: &'static str },
    Across(usize),
}

/// A node before it is built, with its edges.
pub struct Seat {
    pub context: NodeContext,
    pub config: Arc<dyn Config>,
    pub cache: Option<String>,
    pub feeds: Vec<(&'static str, Feed)>,
    pub sends: Vec<(&'static str, Sender<Message>)>,
}

pub struct Stage {
    pub seats: Vec<Seat>,
    pub inlets: Vec<Inlet>,
    /// The source stands here: it makes the clock.
    pub source: bool,
    /// The optimizer stands here.
    pub trains: bool,
    /// A signal ends the phase in every stage: there is no optimizer to do so.
    pub heeds_stop: bool,
    /// The checkpoint to go on from.
    pub resume: Option<PathBuf>,
    /// Every step has been done, but the end of the phase has not.
    pub over: bool,
}

/// Who failed, and with what.
pub struct Failed {
    pub node: String,
    pub error: nodes::Error,
}

#[derive(PartialEq)]
pub enum Ended {
    /// After the last step.
    Finished,
    /// Before: a signal came, or a neighbour is gone and says why.
    Left,
}

/// Why a step did not come to its end.
enum Stop {
    Left,
    Failed(Failed),
}

impl From<Failed> for Stop {
    fn from(failed: Failed) -> Stop {
        Stop::Failed(failed)
    }
}

type Call = fn(&mut dyn Node, &mut Step) -> Result<()>;

impl Stage {
    pub fn run(&self, watch: Watch) -> Result<Ended, Failed> {
        let mut members = vec![];
        for seat in &self.seats {
            let node = guard(seat, || match &seat.cache {
                Some(root) => {
                    nodes::cache::wrap(seat.config.clone(), &seat.context.path(root), &seat.context)
                }
                None => seat.config.build(&seat.context),
            })?;
            members.push(Member {
                name: seat.context.node.clone(),
                node,
            });
        }
        let ended = self.steps(&mut members, watch);
        let failed = match ended {
            Ok(()) => return Ok(Ended::Finished),
            Err(Stop::Failed(failed)) => Some(failed),
            Err(Stop::Left) => None,
        };
        let calm = |seat: &&Seat| failed.as_ref().is_none_or(|f| f.node != seat.context.node);
        let mut left = Ok(());
        for (seat, member) in self
            .seats
            .iter()
            .zip(&mut members)
            .filter(|(seat, _)| calm(seat))
        {
            left = left.and(guard(seat, || member.node.leave()));
        }
        match failed {
            Some(failed) => Err(failed),
            None => left.map(|()| Ended::Left),
        }
    }

    fn steps(&self, members: &mut [Member], watch: Watch) -> Result<(), Stop> {
        let context = &self.seats[0].context;
        let from = context.run.clock.from;
        let mut info = StepInfo {
            step: from * context.run.clock.accumulate,
            update: from,
            last: self.over,
            ..StepInfo::default()
        };
        let mut inbox = Inbox::new(&self.inlets);
        self.pass(members, info, None, |n, s| n.start(s), &|_, _, _| ())?;
        while !info.last {
            if self.heeds_stop && context.run.stop.load(Ordering::Relaxed) {
                return Err(Stop::Left);
            }
            info = if self.source {
                self.info(members)?
            } else {
                self.receive(&mut inbox)?
            };
            self.pass(members, info, Some(&mut inbox), |n, s| n.run(s), watch)?;
        }
        if context.run.bench {
            return Err(Stop::Left); // nothing is written but what a cache gathered
        }
        self.pass(members, info, None, |n, s| n.finish(s), &|_, _, _| ())
    }

    /// The source has no tape edge, so it is alone in its stage.
    fn info(&self, members: &mut [Member]) -> Result<StepInfo, Failed> {
        guard(&self.seats[0], || members[0].node.next_step())
    }

    fn receive(&self, inbox: &mut Inbox) -> Result<StepInfo, Stop> {
        inbox.receive().map_err(|ends| match ends {
            Ends::Left => Stop::Left,
            Ends::Failed(error) => Stop::Failed(Failed {
                node: self.seats[0].context.node.clone(),
                error,
            }),
        })
    }

    /// Calls every node once, in order, with what its edges carry; `inbox` holds what crossed threads. Without it nothing
    /// crosses: that is the start and the end of a phase.
    fn pass(
        &self,
        members: &mut [Member],
        info: StepInfo,
        mut inbox: Option<&mut Inbox>,
        call: Call,
        watch: Watch,
    ) -> Result<(), Stop> {
        let (tape, mut ends) = (Tape::default(), false);
        let mut sent: Vec<Sent> = vec![];
        for (i, seat) in self.seats.iter().enumerate() {
            let mut inputs: HashMap<String, Vec<Value>> = HashMap::new();
            for (port, feed) in &seat.feeds {
                let value = match feed {
                    Feed::Within { seat, port } => sent[*seat].get(port).cloned(),
                    Feed::Across(edge) => match &mut inbox {
                        Some(inbox) => guard(seat, || inbox.take(*edge))?,
                        None => None,
                    },
                };
                inputs.entry((*port).to_owned()).or_default().extend(value);
            }
            let (upstream, rest) = members.split_at_mut(i);
            let mut step = Step::new(info, &seat.context, tape.clone(), inputs, upstream);
            step.resume = self.resume.as_deref();
            watch(&seat.context.node, info, Moment::Begins);
            let begun = Instant::now();
            guard(seat, || call(&mut *rest[0].node, &mut step))?;
            let took = begun.elapsed();
            ends |= step.ends();
            sent.push(step.into_outputs());
            watch(&seat.context.node, info, Moment::Ended(took, &sent[i]));
            if inbox.is_some() {
                seat.send(info, &mut sent[i])?;
            }
        }
        if ends { Err(Stop::Left) } else { Ok(()) }
    }
}

impl Seat {
    /// What crosses threads does so as a batch, which is made once.
    fn send(&self, info: StepInfo, outputs: &mut Sent) -> Result<(), Stop> {
        for (port, sender) in &self.sends {
            let batch = guard(self, || {
                let value = outputs
                    .get_mut(port)
                    .ok_or_else(|| format!("sent nothing on `{port}`"))?;
                let batch = value.batch()?;
                *value = Value::Batch(batch.clone());
                Ok(batch)
            })?;
            sender.send((info, batch)).map_err(|_| Stop::Left)?;
        }
        Ok(())
    }
}

/// What a node did, or its name with what went wrong, panics included.
fn guard<T>(seat: &Seat, call: impl FnOnce() -> Result<T>) -> Result<T, Failed> {
    let failed = |error| Failed {
        node: seat.context.node.clone(),
        error,
    };
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or(panic.downcast_ref::<&str>().copied());
            Err(format!("panicked: {}", text.unwrap_or("without a word")).into())
        })
        .map_err(failed)
}
