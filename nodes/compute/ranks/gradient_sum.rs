//! The sum of the gradients of an update's batches: ((g0 + g1) + g2) + ..., in the order of the
//! batches, whichever ranks compute them.
//!
//! With several ranks the gradients of a batch are one flat array, cut into buckets of as many
//! chunks as there are ranks; the last bucket is as long as what is left. A rank receives its chunk of every bucket from all ranks, adds them in
//! the order of ranks to what it has of earlier rounds, and after the last round all ranks receive
//! all sums. So the bits are those of one process that adds batch after batch.
//!
//! On CPUs the exchange of a round runs beside the forward and backward pass of the next.
#[cfg(feature = "nccl")]
use super::nccl::Nccl;
use super::{Ranks, Transport};
use crate::tensor::{Param, len, param, read};
use crate::{adamw, parallel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most numbers of a bucket, of all its chunks together, as long as a chunk has one at least.
const BUCKET: usize = if cfg!(test) { 1 << 10 } else { 1 << 22 };

/// The gradients that are added up, in the order of the parameters.
#[derive(Default)]
pub struct GradientSum {
    /// In a run of one process: the sums, of each parameter.
    sums: Vec<Param>,
    /// With several ranks: what this one adds up for all.
    share: Arc<Mutex<Share>>,
    /// The GPUs of all ranks, from the first round of several ranks on.
    #[cfg(feature = "nccl")]
    nccl: Option<Nccl>,
}

/// The part of the sums that one of several ranks adds up.
#[derive(Default)]
struct Share {
    /// The sums of this rank's chunks of all buckets.
    sums: Vec<f32>,
    /// How many numbers each parameter has.
    lengths: Vec<usize>,
}

impl GradientSum {
    /// Adds the gradients of a batch; with several ranks, those of one batch of each rank in the
    /// order of ranks.
    pub fn add(&mut self, gradients: Vec<Param>, ranks: &Ranks) {
        let Some(transport) = several(ranks) else {
            self.add_own(gradients);
            return;
        };
        #[cfg(feature = "nccl")]
        {
            let nccl = self.nccl.get_or_insert_with(|| Nccl::join(&*transport));
            nccl.sum(&gradients);
            self.add_own(gradients);
        }
        #[cfg(all(feature = "cuda", not(feature = "nccl")))]
        locked(&self.share).add(&gradients, &*transport); // only this thread can read a GPU's memory
        #[cfg(not(feature = "cuda"))]
        {
            let share = self.share.clone();
            ranks.begin_exchange(transport, move |transport| {
                locked(&share).add(&gradients, transport);
            });
        }
    }

    /// Adds gradients to the sums that this process has.
    fn add_own(&mut self, mut gradients: Vec<Param>) {
        for (sum, earlier) in gradients.iter_mut().zip(&self.sums) {
            adamw::add(sum, earlier);
        }
        self.sums = gradients;
    }

    /// Takes the sums, in the order of the parameters.
    pub fn take(&mut self, ranks: &Ranks) -> Vec<Param> {
        match several(ranks) {
            Some(transport) if self.sums.is_empty() => locked(&self.share).take(&*transport),
            _ => std::mem::take(&mut self.sums),
        }
    }
}

impl Share {
    /// Adds this rank's chunks of the gradients of all ranks.
    #[cfg_attr(feature = "nccl", expect(dead_code))]
    fn add(&mut self, gradients: &[Param], transport: &dyn Transport) {
        self.lengths = gradients.iter().map(len).collect();
        let total: usize = self.lengths.iter().sum();
        let count = transport.count();
        let is_first_round = self.sums.is_empty();
        let share = buckets(total, count).map(|bucket| bucket.chunk).sum();
        self.sums.resize(share, 0.0);
        let mut sent = vec![];
        let mut received = vec![];
        let mut rest = &mut self.sums[..];
        for Bucket { first, chunk } in buckets(total, count) {
            let sums;
            (sums, rest) = rest.split_at_mut(chunk);
            sent.resize(chunk * count, 0.0);
            received.resize(chunk * count, 0.0);
            copy_from(gradients, first, &mut sent);
            transport.swap(&sent, &mut received);
            for (rank, part) in received.chunks(chunk).enumerate() {
                if is_first_round && rank == 0 {
                    sums.copy_from_slice(part); // 0 + -0 would be 0
                } else {
                    parallel::add(sums, part);
                }
            }
        }
    }

    /// Takes the shares of all ranks together, by parameter.
    fn take(&mut self, transport: &dyn Transport) -> Vec<Param> {
        let share = std::mem::take(&mut self.sums);
        let count = transport.count();
        let lengths = std::mem::take(&mut self.lengths);
        let total = lengths.iter().sum();
        let mut sums: Vec<Vec<f32>> = lengths.iter().map(|&n| Vec::with_capacity(n)).collect();
        let mut parameter = 0;
        let mut all = vec![];
        let mut own = &share[..];
        for Bucket { chunk, .. } in buckets(total, count) {
            let of_bucket;
            (of_bucket, own) = own.split_at(chunk);
            all.resize(chunk * count, 0.0);
            transport.join(of_bucket, &mut all);
            let mut rest = &all[..];
            while !rest.is_empty() && parameter < sums.len() {
                let missing = lengths[parameter] - sums[parameter].len();
                let (numbers, others) = rest.split_at(missing.min(rest.len()));
                sums[parameter].extend_from_slice(numbers);
                rest = others;
                if numbers.len() == missing {
                    parameter += 1;
                }
            }
        }
        sums.into_iter().map(param).collect()
    }
}

/// Returns the transport of a run of several ranks, when an exchange that was begun is over.
fn several(ranks: &Ranks) -> Option<Arc<dyn Transport>> {
    let transport = ranks.idle_transport()?;
    (transport.count() > 1).then(|| transport.clone())
}

fn locked(share: &Mutex<Share>) -> MutexGuard<'_, Share> {
    share.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A part of the flat array.
struct Bucket {
    /// Its first number.
    first: usize,
    /// Numbers of a rank's chunk. The last chunks may reach beyond the array.
    chunk: usize,
}

/// Cuts a flat array of `total` numbers into buckets.
fn buckets(total: usize, ranks: usize) -> impl Iterator<Item = Bucket> {
    let most = (BUCKET / ranks).max(1) * ranks;
    (0..total).step_by(most).map(move |first| Bucket {
        first,
        chunk: most.min(total - first).div_ceil(ranks),
    })
}

/// Copies the numbers from `first` on of all gradients, one behind the other, to `target`; zeros
/// follow the last.
fn copy_from(gradients: &[Param], first: usize, target: &mut [f32]) {
    let mut start = 0; // of the gradient in all numbers
    let mut filled = 0;
    for gradient in gradients {
        if filled == target.len() {
            return;
        }
        let length = len(gradient);
        let skipped = (first + filled - start).min(length);
        let copied = (length - skipped).min(target.len() - filled);
        if copied > 0 {
            let numbers = &read(gradient)[skipped..skipped + copied];
            target[filled..filled + copied].copy_from_slice(numbers);
            filled += copied;
        }
        start += length;
    }
    target[filled..].fill(0.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::noise;
    use crate::ranks::tests::on_ranks;

    /// Lengths of parameters whose bounds are no bounds of chunks.
    const LENGTHS: [usize; 5] = [7, 0, BUCKET + 3, 1, 1001];
    const BATCHES: usize = 4;

    fn gradients(batch: usize) -> Vec<Param> {
        let gradient = |(i, &n): (usize, &usize)| param(noise(&format!("{batch}.{i}"), n));
        let mut gradients: Vec<Param> = LENGTHS.iter().enumerate().map(gradient).collect();
        gradients[0] = param(vec![-0.0; LENGTHS[0]]);
        gradients
    }

    /// Returns the bits of the sums over all batches, of one rank.
    fn bits(ranks: &Ranks) -> Vec<Vec<u32>> {
        let mut sum = GradientSum::default();
        for batch in (ranks.rank()..BATCHES).step_by(ranks.count()) {
            sum.add(gradients(batch), ranks);
        }
        let sums = sum.take(ranks);
        let bits = |sum: &Param| read(sum).iter().map(|x| x.to_bits()).collect();
        sums.iter().map(bits).collect()
    }

    #[test]
    fn sums_are_those_of_one_process() {
        let expected = bits(&Ranks::alone());
        let batches = [0, 1, 2, 3].map(|batch| read(&gradients(batch)[2]).to_vec());
        let last = LENGTHS[2] - 1;
        let by_hand = batches[1..]
            .iter()
            .fold(batches[0][last], |sum, b| sum + b[last]);
        assert_eq!(expected[2][last], by_hand.to_bits());
        for count in [2, 4] {
            for found in on_ranks(count, bits) {
                assert!(found == expected, "{count} ranks");
            }
        }
    }

    #[test]
    fn buckets_are_no_longer_than_what_is_left() {
        let chunks = |total, ranks| -> Vec<[usize; 2]> {
            let buckets = buckets(total, ranks);
            buckets.map(|bucket| [bucket.first, bucket.chunk]).collect()
        };
        assert_eq!(chunks(0, 2), Vec::<[usize; 2]>::new());
        assert_eq!(chunks(7, 2), [[0, 4]]);
        assert_eq!(chunks(BUCKET + 9, 4), [[0, BUCKET / 4], [BUCKET, 3]]);
        assert_eq!(
            chunks(2 * BUCKET, 2),
            [[0, BUCKET / 2], [BUCKET, BUCKET / 2]]
        );
    }

    #[test]
    fn a_sum_begins_anew() {
        let found = on_ranks(2, |ranks| {
            let mut sum = GradientSum::default();
            sum.add(vec![param(vec![1.0])], ranks);
            sum.take(ranks);
            sum.add(vec![param(vec![ranks.rank() as f32])], ranks);
            read(&sum.take(ranks)[0]).to_vec()
        });
        assert_eq!(found, [[1.0], [1.0]]);
    }
}
