//! Where batches come into a stage out of other threads. Of targets that are read on a GPU the next ones are sent there as
//! soon as a step's are taken, if they have come by then: beside what is computed meanwhile.
use crate::run::stage::Message;
use crossbeam::channel::Receiver;
use nodes::data::targets::Targets;
use nodes::node::port::Value;
use nodes::node::step::StepInfo;
use nodes::{Error, Result};

/// The end of an edge.
pub struct Inlet {
    pub receive: Receiver<Message>,
    /// Of targets that are read on a GPU: how many layers, how wide.
    pub targets: Option<(usize, usize)>,
}

impl Inlet {
    /// The value, on its way to where it is read.
    fn sent(&self, value: Value) -> Result<Value> {
        match (value, self.targets) {
            (Value::Batch(batch), Some((layers, width))) => {
                Targets::from_batch(&batch, layers, width).map(Value::Targets)
            }
            (value, _) => Ok(value),
        }
    }
}

/// What has come, by edge, and not yet been taken.
pub struct Inbox<'a> {
    inlets: &'a [Inlet],
    now: Vec<Option<Value>>,
    /// Of the step after this one.
    next: Vec<Option<(StepInfo, Value)>>,
}

/// Why there is no next step.
pub enum Ends {
    /// Somebody upstream is gone, and says why.
    Left,
    Failed(Error),
}

impl<'a> Inbox<'a> {
    pub fn new(inlets: &'a [Inlet]) -> Inbox<'a> {
        Inbox {
            inlets,
            now: vec![],
            next: inlets.iter().map(|_| None).collect(),
        }
    }

    /// One message from every edge, before any node runs: also a node without inputs must know which step it is in.
    pub fn receive(&mut self) -> Result<StepInfo, Ends> {
        let wait = |inlet: &Inlet| {
            inlet
                .receive
                .recv()
                .map(|(info, batch)| (info, Value::Batch(batch)))
        };
        let came = self
            .inlets
            .iter()
            .zip(&mut self.next)
            .map(|(inlet, next)| next.take().map_or_else(|| wait(inlet), Ok));
        let came = came
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Ends::Left)?;
        let info = came.first().map(|(info, _)| *info).unwrap_or_default();
        if came.iter().any(|(other, _)| *other != info) {
            return Err(Ends::Failed("its inputs are in different steps".into()));
        }
        self.now = came.into_iter().map(|(_, value)| Some(value)).collect();
        Ok(info)
    }

    /// What came of an edge for this step; None once it is taken.
    pub fn take(&mut self, edge: usize) -> Result<Option<Value>> {
        let inlet = &self.inlets[edge];
        let now = self.now[edge]
            .take()
            .map(|value| inlet.sent(value))
            .transpose()?;
        if inlet.targets.is_some()
            && let Ok((info, batch)) = inlet.receive.try_recv()
        {
            self.next[edge] = Some((info, inlet.sent(Value::Batch(batch))?));
        }
        Ok(now)
    }
}
