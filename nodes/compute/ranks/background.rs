//! Work beside what a rank computes: one piece at a time, in a thread of its own.
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// The piece of work that is under way, if one is.
#[derive(Default)]
pub(super) struct Background(Mutex<Option<JoinHandle<()>>>);

impl Background {
    /// Begins a piece of work when the one before is over. Where no thread can be had, does it here.
    pub(super) fn begin(&self, work: impl Fn() + Send + Sync + 'static) {
        let mut running = self.finished();
        let work = Arc::new(work);
        let shared = work.clone();
        match thread::Builder::new().spawn(move || shared()) {
            Ok(thread) => *running = Some(thread),
            Err(_) => work(),
        }
    }

    /// Waits until nothing is under way, whether it has panicked or not.
    pub(super) fn end(&self) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = running.take() {
            let _ = thread.join(); // its panic is not the first failure
        }
    }

    /// Waits until nothing is under way.
    ///
    /// # Panics
    /// With what the work panicked with.
    pub(super) fn wait(&self) {
        drop(self.finished());
    }

    fn finished(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = running.take()
            && let Err(panic) = thread.join()
        {
            resume_unwind(panic);
        }
        running
    }
}
