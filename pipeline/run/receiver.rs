//! The receiving ends of a stage's edges from other threads.
//!
//! Targets that are read on a GPU are uploaded ahead: as soon as those of one step are taken, the
//! next ones are sent if they have arrived, beside what is computed meanwhile.
use crossbeam::channel::Receiver;
use nodes::data::targets::Targets;
use nodes::node::port::Value;
use nodes::node::step::StepInfo;
use nodes::{Batch, Result};

/// A batch as it crosses threads.
pub type Message = (StepInfo, Batch);

/// The receiving end of one edge.
pub struct EdgeReceiver {
    pub channel: Receiver<Message>,
    /// Layers and width of targets that are read on a GPU.
    pub targets: Option<(usize, usize)>,
}

impl EdgeReceiver {
    /// Converts a batch to the form in which it is read, starting its upload to a GPU.
    fn convert(&self, value: Value) -> Result<Value> {
        match (value, self.targets) {
            (Value::Batch(batch), Some((layers, width))) => {
                Targets::from_batch(&batch, layers, width).map(Value::Targets)
            }
            (value, _) => Ok(value),
        }
    }
}

/// Values that have arrived for a step and are not yet taken, by edge.
pub struct Inbox<'a> {
    receivers: &'a [EdgeReceiver],
    current: Vec<Option<Value>>,
    /// Values of the step after this one.
    next: Vec<Option<(StepInfo, Value)>>,
}

/// Why no step could be received.
pub enum ReceiveError {
    /// The sender is gone; its stage reports why.
    Disconnected,
    /// Edges delivered different steps.
    OutOfStep,
}

impl<'a> Inbox<'a> {
    pub fn new(receivers: &'a [EdgeReceiver]) -> Inbox<'a> {
        Inbox {
            receivers,
            current: vec![],
            next: receivers.iter().map(|_| None).collect(),
        }
    }

    /// Receives one message from every edge before any node runs, since a node without inputs must
    /// know its step too.
    pub fn receive(&mut self) -> Result<StepInfo, ReceiveError> {
        let mut messages = vec![];
        for (receiver, next) in self.receivers.iter().zip(&mut self.next) {
            let message = match next.take() {
                Some(message) => message,
                None => {
                    let message = receiver.channel.recv();
                    let (info, batch) = message.map_err(|_| ReceiveError::Disconnected)?;
                    (info, Value::Batch(batch))
                }
            };
            messages.push(message);
        }
        let info = messages.first().map(|(info, _)| *info).unwrap_or_default();
        if messages.iter().any(|(other, _)| *other != info) {
            return Err(ReceiveError::OutOfStep);
        }
        self.current = messages.into_iter().map(|(_, value)| Some(value)).collect();
        Ok(info)
    }

    /// Takes the value of an edge for this step; `None` once it is taken.
    pub fn take(&mut self, edge: usize) -> Result<Option<Value>> {
        let receiver = &self.receivers[edge];
        let value = self.current[edge]
            .take()
            .map(|value| receiver.convert(value))
            .transpose()?;
        if receiver.targets.is_some()
            && let Ok((info, batch)) = receiver.channel.try_recv()
        {
            self.next[edge] = Some((info, receiver.convert(Value::Batch(batch))?));
        }
        Ok(value)
    }
}
