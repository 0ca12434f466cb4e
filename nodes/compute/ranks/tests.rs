//! Ranks that are threads of one process.
#[cfg(not(feature = "cuda"))]
use super::GradientSum;
use super::{Ranks, Transport};
#[cfg(not(feature = "cuda"))]
use crate::tensor::{param, read};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
#[cfg(not(feature = "cuda"))]
use std::time::Duration;

/// Ranks that are threads of one process.
#[derive(Clone)]
struct Threads {
    rank: usize,
    board: Arc<Vec<Mutex<Vec<u8>>>>,
    barrier: Arc<Barrier>,
}

impl Threads {
    fn all(&self, own: &[u8]) -> Vec<Vec<u8>> {
        *self.board[self.rank].lock().unwrap() = own.to_vec();
        self.barrier.wait();
        let all = self.board.iter().map(|slot| slot.lock().unwrap().clone());
        let all = all.collect();
        self.barrier.wait();
        all
    }

    fn all_floats(&self, own: &[f32]) -> Vec<Vec<f32>> {
        let bytes: Vec<[u8; 4]> = own.iter().map(|x| x.to_le_bytes()).collect();
        let all = self.all(bytes.as_flattened());
        let floats = |bytes: &Vec<u8>| {
            bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect()
        };
        all.iter().map(floats).collect()
    }
}

impl Transport for Threads {
    fn rank(&self) -> usize {
        self.rank
    }
    fn count(&self) -> usize {
        self.board.len()
    }
    fn gather(&self, _: &str, message: &[u8], _: bool) -> Vec<Vec<u8>> {
        self.all(message)
    }
    fn swap(&self, sent: &[f32], received: &mut [f32]) {
        let part = sent.len() / self.count();
        let all = self.all_floats(sent);
        for (received, sent) in received.chunks_mut(part).zip(all) {
            received.copy_from_slice(&sent[self.rank * part..][..part]);
        }
    }
    fn join(&self, own: &[f32], all: &mut [f32]) {
        all.copy_from_slice(&self.all_floats(own).concat());
    }
}

/// Calls `f` on each of `count` ranks and returns the results in their order.
pub(super) fn on_ranks<R: Send>(count: usize, f: impl Fn(&Ranks) -> R + Sync) -> Vec<R> {
    let board = Arc::new((0..count).map(|_| Mutex::default()).collect());
    let barrier = Arc::new(Barrier::new(count));
    thread::scope(|scope| {
        let started: Vec<_> = (0..count)
            .map(|rank| {
                let threads = Threads {
                    rank,
                    board: Arc::clone(&board),
                    barrier: barrier.clone(),
                };
                let f = &f;
                scope.spawn(move || f(&Ranks::new(Box::new(threads))))
            })
            .collect();
        started.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

#[test]
fn messages_come_in_the_order_of_ranks_and_one_signal_stops_all() {
    let found = on_ranks(3, |ranks| {
        let message = [ranks.rank() as u8 + 7];
        let quiet = ranks.exchange("a", &message, false).unwrap();
        let stopped = ranks.exchange("b", &[], ranks.rank() == 1).unwrap();
        (quiet.messages, quiet.stop, stopped.stop, ranks.is_first())
    });
    let messages = vec![vec![7], vec![8], vec![9]];
    for (rank, found) in found.into_iter().enumerate() {
        assert_eq!(found, (messages.clone(), false, true, rank == 0));
    }
}

#[test]
fn a_failure_reaches_every_rank_once() {
    let found = on_ranks(3, |ranks| {
        let mut errors = vec![];
        if ranks.rank() == 1 {
            ranks.fail();
        }
        for _ in 0..2 {
            errors.push(ranks.exchange("a", &[], false).err().unwrap().to_string());
        }
        ranks.fail();
        let parted = ranks.part(&[ranks.rank() as u8]);
        (errors[0].clone(), ranks.other_failed(), parted)
    });
    for (rank, (error, other_failed, parted)) in found.into_iter().enumerate() {
        let expected = ["rank 1 has failed", "a rank has failed"][usize::from(rank == 1)];
        assert_eq!(error, expected);
        assert_eq!(other_failed, rank != 1);
        assert_eq!(parted, [[0], [1], [2]]);
    }
}

#[test]
fn ranks_at_different_moments_fail() {
    let found = on_ranks(2, |ranks| {
        let moment = ["update 1", "update 2"][ranks.rank()];
        let error = ranks.exchange(moment, &[], false).err().unwrap();
        error.to_string()
    });
    assert_eq!(found[0], "rank 1 is at update 2, this rank at update 1");
    assert_eq!(found[1], "rank 0 is at update 1, this rank at update 2");
}

#[test]
fn one_process_hears_itself() {
    let ranks = Ranks::alone();
    let heard = ranks.exchange("a", b"x", true).unwrap();
    assert_eq!(heard.messages, [b"x"]);
    assert!(heard.stop && ranks.is_first() && ranks.count() == 1);
    ranks.fail();
    assert!(ranks.exchange("b", b"", false).is_ok());
}

/// A rank computes on while its gradients are exchanged, and nothing else is exchanged meanwhile.
#[cfg(not(feature = "cuda"))]
#[test]
fn gradients_are_exchanged_beside_other_work() {
    /// A rank whose exchange of gradients waits for `goes_on`.
    struct Slow {
        goes_on: Arc<Barrier>,
        calls: Arc<Mutex<Vec<&'static str>>>,
    }
    impl Transport for Slow {
        fn rank(&self) -> usize {
            0
        }
        fn count(&self) -> usize {
            2
        }
        fn gather(&self, _: &str, message: &[u8], _: bool) -> Vec<Vec<u8>> {
            self.calls.lock().unwrap().push("gather");
            vec![message.to_vec(); 2]
        }
        fn swap(&self, sent: &[f32], received: &mut [f32]) {
            self.goes_on.wait();
            thread::sleep(Duration::from_millis(50));
            received.copy_from_slice(sent);
            self.calls.lock().unwrap().push("swap");
        }
        fn join(&self, own: &[f32], all: &mut [f32]) {
            self.calls.lock().unwrap().push("join");
            all.copy_from_slice(&[own, own].concat());
        }
    }
    let goes_on = Arc::new(Barrier::new(2));
    let calls = Arc::new(Mutex::default());
    let ranks = Ranks::new(Box::new(Slow {
        goes_on: goes_on.clone(),
        calls: calls.clone(),
    }));
    let mut sum = GradientSum::default();
    sum.add(vec![param(vec![1.0, 2.0])], &ranks);
    goes_on.wait(); // would wait forever if `add` waited for the exchange
    ranks.exchange("a", &[], false).unwrap();
    assert_eq!(read(&sum.take(&ranks)[0])[..], [3.0, 3.0]);
    assert_eq!(*calls.lock().unwrap(), ["swap", "gather", "join"]);
}
