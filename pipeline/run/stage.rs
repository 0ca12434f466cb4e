//! A stage: the nodes of one thread, and the loop that steps them.
use crate::run::error::{NodeError, PhaseEnd, StepError};
use crate::run::receiver::{EdgeReceiver, Inbox, Message, ReceiveError};
use compute::tensor::Tape;
use crossbeam::channel::Sender;
use nodes::Result;
use nodes::cache::codec::CodecOption;
use nodes::node::port::Value;
use nodes::node::step::{Member, Step, StepInfo};
use nodes::node::{Config, Node, NodeContext};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What a node sent in a step, by output port.
pub type Outputs = HashMap<&'static str, Value>;

/// A moment of a node's step.
pub enum NodeEvent<'a> {
    /// The step begins, in its stage's thread.
    Started,
    /// The step is over: how long it took, and what it sent.
    Finished(Duration, &'a Outputs),
}

/// Observes each node in each step.
pub type Watch<'a> = &'a (dyn Fn(&str, StepInfo, NodeEvent) + Sync);

/// Where the value of an input port comes from.
pub enum Feed {
    /// A node before it in the same stage, by its index there.
    Within { index: usize, port: &'static str },
    /// Another thread, by the index of the stage's receiver.
    Across(usize),
}

/// A node before it is built, with its edges.
pub struct Seat {
    pub context: NodeContext,
    pub config: Arc<dyn Config>,
    pub cache: Option<String>,
    pub codec: CodecOption,
    /// Whether an edge leaves the node.
    pub is_read: bool,
    pub feeds: Vec<(&'static str, Feed)>,
    pub sends: Vec<(&'static str, Sender<Message>)>,
}

/// The nodes of one thread, in the order in which they run.
pub struct Stage {
    pub seats: Vec<Seat>,
    pub receivers: Vec<EdgeReceiver>,
    /// Whether the phase's source is here, which makes its steps.
    pub has_source: bool,
    /// Whether the optimizer is here.
    pub has_optimizer: bool,
    /// Whether the stage ends at a signal by itself, since no optimizer ends the phase.
    pub ends_at_signal: bool,
    /// The checkpoint to resume from.
    pub resume: Option<PathBuf>,
    /// Whether all steps were done before, and only the end of the phase is missing.
    pub only_finish: bool,
}

type Call = fn(&mut dyn Node, &mut Step) -> Result<()>;

impl Stage {
    /// Builds the nodes and steps them until the phase ends.
    ///
    /// If it ends early, every node but the one that failed keeps what is worth keeping.
    pub fn run(&self, watch: Watch) -> Result<PhaseEnd, NodeError> {
        let mut members = vec![];
        for seat in &self.seats {
            let node = seat.guard(|| seat.build())?;
            members.push(Member {
                name: seat.context.node.clone(),
                node,
            });
        }
        let failure = match self.step_until_end(&mut members, watch) {
            Ok(()) => return Ok(PhaseEnd::Finished),
            Err(StepError::Stopped) => None,
            Err(StepError::Failed(failure)) => Some(failure),
        };
        let mut left = Ok(());
        for (seat, member) in self.seats.iter().zip(&mut members) {
            if failure.as_ref().is_none_or(|f| f.node != seat.context.node) {
                left = left.and(seat.guard(|| member.node.leave()));
            }
        }
        match failure {
            Some(failure) => Err(failure),
            None => left.map(|()| PhaseEnd::Stopped),
        }
    }

    fn step_until_end(&self, members: &mut [Member], watch: Watch) -> Result<(), StepError> {
        let run = &self.seats[0].context.run;
        let mut info = StepInfo {
            step: run.clock.from * run.clock.accumulate,
            update: run.clock.from,
            last: self.only_finish,
            ..StepInfo::default()
        };
        let mut inbox = Inbox::new(&self.receivers);
        self.call_each(
            members,
            info,
            None,
            |node, step| node.start(step),
            &|_, _, _| (),
        )?;
        while !info.last {
            if self.ends_at_signal && run.stop.load(Ordering::Relaxed) {
                return Err(StepError::Stopped);
            }
            info = if self.has_source {
                // The source has no tape edge, so it is alone in its stage.
                self.seats[0].guard(|| members[0].node.next_step())?
            } else {
                self.receive(&mut inbox)?
            };
            self.call_each(
                members,
                info,
                Some(&mut inbox),
                |node, step| node.run(step),
                watch,
            )?;
        }
        if run.bench {
            return Err(StepError::Stopped); // nothing is written but what a cache gathered
        }
        if !run.ranks.is_first() {
            return self.leave_to_first_rank(members);
        }
        self.call_each(
            members,
            info,
            None,
            |node, step| node.finish(step),
            &|_, _, _| (),
        )
    }

    /// Ends the phase on a rank that writes no models: its caches keep what they have gathered.
    fn leave_to_first_rank(&self, members: &mut [Member]) -> Result<(), StepError> {
        for (seat, member) in self.seats.iter().zip(members) {
            seat.guard(|| member.node.leave())?;
        }
        Ok(())
    }

    fn receive(&self, inbox: &mut Inbox) -> Result<StepInfo, StepError> {
        inbox.receive().map_err(|error| match error {
            ReceiveError::Disconnected => StepError::Stopped,
            ReceiveError::OutOfStep => StepError::Failed(NodeError {
                node: self.seats[0].context.node.clone(),
                error: "its inputs are in different steps".into(),
            }),
        })
    }

    /// Calls every node once, in order, with what its edges carry. Without an `inbox`, at the start
    /// and the end of a phase, nothing crosses threads.
    fn call_each(
        &self,
        members: &mut [Member],
        info: StepInfo,
        mut inbox: Option<&mut Inbox>,
        call: Call,
        watch: Watch,
    ) -> Result<(), StepError> {
        let tape = Tape::default();
        let mut ends = false;
        let mut sent: Vec<Outputs> = vec![];
        for (i, seat) in self.seats.iter().enumerate() {
            let inputs = seat.inputs(&sent, inbox.as_deref_mut())?;
            let (upstream, rest) = members.split_at_mut(i);
            let mut step = Step::new(info, &seat.context, tape.clone(), inputs, upstream);
            step.resume = self.resume.as_deref();
            watch(&seat.context.node, info, NodeEvent::Started);
            let started = Instant::now();
            seat.guard(|| call(&mut *rest[0].node, &mut step))?;
            let took = started.elapsed();
            ends |= step.ends();
            sent.push(step.into_outputs());
            watch(
                &seat.context.node,
                info,
                NodeEvent::Finished(took, &sent[i]),
            );
            if inbox.is_some() {
                seat.send(info, &mut sent[i])?;
            }
        }
        if ends {
            Err(StepError::Stopped)
        } else {
            Ok(())
        }
    }
}

impl Seat {
    fn build(&self) -> Result<Box<dyn Node>> {
        let root = self.cache.as_ref().map(|root| self.context.path(root));
        nodes::cache::wrap(
            self.config.clone(),
            root.as_deref(),
            &self.codec,
            self.is_read,
            &self.context,
        )
    }

    /// Collects the values of the input ports, from nodes of this stage and from other threads.
    fn inputs(
        &self,
        sent: &[Outputs],
        mut inbox: Option<&mut Inbox>,
    ) -> Result<HashMap<String, Vec<Value>>, NodeError> {
        let mut inputs: HashMap<String, Vec<Value>> = HashMap::new();
        for (port, feed) in &self.feeds {
            let value = match feed {
                Feed::Within { index, port } => sent[*index].get(port).cloned(),
                Feed::Across(edge) => match &mut inbox {
                    Some(inbox) => self.guard(|| inbox.take(*edge))?,
                    None => None,
                },
            };
            inputs.entry((*port).to_owned()).or_default().extend(value);
        }
        Ok(inputs)
    }

    /// Sends outputs to other threads, as batches, each made once.
    fn send(&self, info: StepInfo, outputs: &mut Outputs) -> Result<(), StepError> {
        for (port, sender) in &self.sends {
            let batch = self.guard(|| {
                let value = outputs
                    .get_mut(port)
                    .ok_or_else(|| format!("sent nothing on `{port}`"))?;
                let batch = value.batch()?;
                *value = Value::Batch(batch.clone());
                Ok(batch)
            })?;
            sender.send((info, batch)).map_err(|_| StepError::Stopped)?;
        }
        Ok(())
    }

    /// Calls a function of this node and names the node in its error; a panic becomes an error.
    fn guard<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T, NodeError> {
        let result = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or(panic.downcast_ref::<&str>().copied());
            Err(format!("panicked: {}", text.unwrap_or("without a message")).into())
        });
        result.map_err(|error| NodeError {
            node: self.context.node.clone(),
            error,
        })
    }
}
