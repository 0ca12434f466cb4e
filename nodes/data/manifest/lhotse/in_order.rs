//! Parses the blocks of a list in all threads, and keeps them in the order of the list.
//!
//! A thread reads a block while it alone has the list, parses it beside the others, and waits for
//! its turn to keep it. So a block stays in the caches of one core, and threads wait only if a
//! block takes much longer than others.
use super::{Cuts, Filled, Unread, Utterances, parse};
use crate::{Error, Result};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What threads share.
struct Shared<'a> {
    unread: Mutex<Unread>,
    kept: Mutex<Kept<'a>>,
    /// Notified when another block's turn has come.
    turn: Condvar,
}

struct Kept<'a> {
    cuts: Cuts<'a>,
    /// The number of the block that is kept next.
    turn: usize,
    is_finished: bool,
    failure: Option<Error>,
}

/// Reads a list to its end, or to where the rest is of no use.
pub(super) fn read(unread: Unread, cuts: Cuts) -> Result<Utterances> {
    let shared = Shared {
        unread: Mutex::new(unread),
        kept: Mutex::new(Kept {
            cuts,
            turn: 0,
            is_finished: false,
            failure: None,
        }),
        turn: Condvar::new(),
    };
    thread::scope(|scope| {
        for _ in 1..rayon::current_num_threads() {
            // If the system has no more threads, this one does all.
            let _ = thread::Builder::new().spawn_scoped(scope, || shared.work());
        }
        shared.work();
    });
    let kept = shared.kept.into_inner();
    let kept = kept.unwrap_or_else(PoisonError::into_inner);
    match kept.failure {
        Some(failure) => Err(failure),
        None => kept.cuts.finish(),
    }
}

impl Shared<'_> {
    /// Reads, parses and keeps blocks until the list is finished.
    fn work(&self) {
        let _guard = FinishOnPanic(self);
        let mut block = vec![];
        loop {
            let (number, filled) = locked(&self.unread).fill(&mut block);
            let chunk = matches!(filled, Filled::Lines).then(|| parse(&block));
            let is_waiting = |kept: &mut Kept| kept.turn != number && !kept.is_finished;
            let kept = self.turn.wait_while(locked(&self.kept), is_waiting);
            let mut kept = kept.unwrap_or_else(PoisonError::into_inner);
            if kept.is_finished {
                return;
            }
            let goes_on = match (filled, chunk) {
                (Filled::Lines, Some(chunk)) => kept.cuts.add(chunk),
                (Filled::Bomb, _) => {
                    kept.failure = Some(kept.cuts.bomb());
                    false
                }
                (Filled::Failed(error), _) => {
                    kept.cuts.add_failure(error);
                    false
                }
                _ => false,
            };
            kept.is_finished = !goes_on;
            kept.turn += 1;
            self.turn.notify_all();
        }
    }
}

/// Locks a mutex. What another thread left in a panic is not used: the panic goes on in the caller.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the other threads end when one panics, whose turn would never be over.
struct FinishOnPanic<'a, 'b>(&'a Shared<'b>);

impl Drop for FinishOnPanic<'_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            locked(&self.0.kept).is_finished = true;
            self.0.turn.notify_all();
        }
    }
}
