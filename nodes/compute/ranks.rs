//! The processes of one run, which share out the batches of an update: the ranks of MPI.
//!
//! All ranks make the same exchanges in the same order. A rank that fails takes part in the next
//! exchange of the others with the news of its failure alone, so that none of them waits for it.
//! The first rank writes all files of the run; the others compute.
mod background;
mod gradient_sum;
mod message;
#[cfg(feature = "nccl")]
mod nccl;
#[cfg(test)]
mod tests;

use crate::Result;
use background::Background;
pub use gradient_sum::GradientSum;
use message::Message;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How ranks reach each other. All of them must make the same calls in the same order.
pub trait Transport: Send + Sync {
    /// Returns the number of this rank, from 0.
    fn rank(&self) -> usize;
    /// Returns the number of ranks.
    fn count(&self) -> usize;
    /// Sends a message to every rank and returns those of all ranks, in their order.
    ///
    /// Unless it is `patient`, it ends the process when a rank is not heard of for too long.
    /// `moment` says what the ranks wait for each other at.
    fn gather(&self, moment: &str, message: &[u8], patient: bool) -> Vec<Vec<u8>>;
    /// Sends part r of `sent` to rank r, and receives a part of every rank, in their order. All
    /// parts of all ranks have the same length.
    fn swap(&self, sent: &[f32], received: &mut [f32]);
    /// Receives `own` of every rank, in their order. It has the same length on all ranks.
    fn join(&self, own: &[f32], all: &mut [f32]);
}

/// The ranks of a run, as one of them sees them.
#[derive(Default)]
pub struct Ranks {
    /// `None` if the run has one process.
    transport: Option<Arc<dyn Transport>>,
    /// An exchange beside what this rank computes. No other begins before it is over.
    background: Background,
    /// Whether all ranks know that one has failed, so that there are no further exchanges.
    failure_is_known: AtomicBool,
    /// Whether the failure is another rank's.
    other_failed: AtomicBool,
}

/// What came of an exchange.
pub struct Exchange {
    /// The message of each rank.
    pub messages: Vec<Vec<u8>>,
    /// Whether a signal has asked any of the ranks to stop.
    pub stop: bool,
}

impl Ranks {
    /// Returns the only rank of a run.
    pub fn alone() -> Ranks {
        Ranks::default()
    }

    /// Returns the ranks behind a transport.
    pub fn new(transport: Box<dyn Transport>) -> Ranks {
        Ranks {
            transport: Some(transport.into()),
            ..Ranks::default()
        }
    }

    /// Returns the number of this rank, from 0.
    pub fn rank(&self) -> usize {
        self.transport.as_ref().map_or(0, |t| t.rank())
    }

    /// Returns the number of ranks.
    pub fn count(&self) -> usize {
        self.transport.as_ref().map_or(1, |t| t.count())
    }

    /// Returns whether this is the rank that writes the files of the run.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Returns whether this rank ends because another has failed.
    pub fn other_failed(&self) -> bool {
        self.other_failed.load(Ordering::Relaxed)
    }

    /// Returns the transport when nothing is exchanged in the background any more; `None` if the run
    /// has one process.
    fn idle_transport(&self) -> Option<&Arc<dyn Transport>> {
        self.finish_exchange();
        self.transport.as_ref()
    }

    /// Waits for an exchange that was begun, as every other exchange does by itself.
    ///
    /// # Panics
    /// With what the exchange panicked with.
    pub fn finish_exchange(&self) {
        self.background.wait();
    }

    /// Begins an exchange beside what this rank computes from now on.
    #[cfg_attr(feature = "cuda", expect(dead_code))]
    fn begin_exchange(
        &self,
        transport: Arc<dyn Transport>,
        exchange: impl Fn(&dyn Transport) + Send + Sync + 'static,
    ) {
        self.background.begin(move || exchange(&*transport));
    }

    /// Sends a message to every rank and receives those of all. `stop` tells that a signal has
    /// asked this rank to stop.
    ///
    /// # Errors
    /// A rank has failed, or the ranks are not at the same `moment`.
    pub fn exchange(&self, moment: &str, message: &[u8], stop: bool) -> Result<Exchange> {
        self.exchange_within(moment, message, stop, false)
    }

    /// As [`Ranks::exchange`], but waits for the first rank for as long as it may work alone.
    pub fn exchange_patiently(&self, moment: &str, message: &[u8], stop: bool) -> Result<Exchange> {
        self.exchange_within(moment, message, stop, true)
    }

    fn exchange_within(
        &self,
        moment: &str,
        message: &[u8],
        stop: bool,
        patient: bool,
    ) -> Result<Exchange> {
        let Some(transport) = self.idle_transport() else {
            let messages = vec![message.to_vec()];
            return Ok(Exchange { messages, stop });
        };
        if self.failure_is_known.load(Ordering::Relaxed) {
            return Err("a rank has failed".into());
        }
        let own = Message {
            failed: false,
            stop,
            moment: moment.into(),
            body: message.into(),
        };
        let received = transport.gather(moment, &own.encode(), patient);
        let merged = merge(moment, &received);
        if merged.is_err() {
            self.failure_is_known.store(true, Ordering::Relaxed);
            self.other_failed.store(true, Ordering::Relaxed);
        }
        merged
    }

    /// Takes part in the next exchange of the others with the news that this rank has failed,
    /// unless all know of a failure.
    pub fn fail(&self) {
        self.background.end();
        let Some(transport) = &self.transport else {
            return;
        };
        if self.failure_is_known.swap(true, Ordering::Relaxed) {
            return;
        }
        let news = Message {
            failed: true,
            stop: false,
            moment: String::new(),
            body: vec![],
        };
        transport.gather("the end of a rank that failed", &news.encode(), false);
    }

    /// Exchanges the last messages of all ranks, whatever has failed before.
    pub fn part(&self, message: &[u8]) -> Vec<Vec<u8>> {
        self.background.end();
        match &self.transport {
            Some(transport) => transport.gather("the end of the ranks", message, false),
            None => vec![message.to_vec()],
        }
    }
}

/// Decodes the messages of all ranks.
///
/// # Errors
/// A rank has failed, or the ranks are at different moments.
fn merge(moment: &str, received: &[Vec<u8>]) -> Result<Exchange> {
    let mut messages = vec![];
    let mut stop = false;
    for (rank, bytes) in received.iter().enumerate() {
        let message = Message::decode(bytes).ok_or_else(|| {
            format!("rank {rank} speaks otherwise: is it another version of the program?")
        })?;
        if message.failed {
            return Err(format!("rank {rank} has failed").into());
        }
        if message.moment != moment {
            let other = message.moment;
            return Err(format!("rank {rank} is at {other}, this rank at {moment}").into());
        }
        stop |= message.stop;
        messages.push(message.body);
    }
    Ok(Exchange { messages, stop })
}
