//! The order of the batches of an epoch.
//!
//! "shuffled" draws from all batches alike: each row of a cache is then somewhere else on the disk
//! than the one before it. A window keeps neighbours near each other: the batches of a view stand in
//! an order that is the same in every epoch, and so mostly in the parts of a cache; they are cut into
//! shards, an epoch shuffles the shards and draws each batch from the next few of them.
use crate::node::OptionError;
use compute::random::Key;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How an epoch orders its batches.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "is \"shuffled\" or {\"type\": \"window\", \"shard\": N, \"window\": M}"
)]
pub(super) enum Order {
    Named(NamedOrder),
    Window(WindowOrder),
}

/// An order without settings.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum NamedOrder {
    Shuffled,
}

/// Shards of neighbours, shuffled, and a window of batches from which the next is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WindowOrder {
    #[serde(rename = "type")]
    kind: WindowName,
    /// Batches that stay neighbours.
    #[serde(default = "default_shard")]
    shard: usize,
    /// Batches from which the next is drawn.
    #[serde(default = "default_window")]
    window: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum WindowName {
    Window,
}

fn default_shard() -> usize {
    64
}

fn default_window() -> usize {
    256
}

impl Default for Order {
    fn default() -> Order {
        Order::Named(NamedOrder::Shuffled)
    }
}

const MAX_BATCHES: usize = 1 << 32;

impl Order {
    pub(super) fn errors(self) -> Vec<OptionError> {
        let Order::Window(WindowOrder { shard, window, .. }) = self else {
            return vec![];
        };
        let mut errors = vec![];
        for (key, batches) in [("shard", shard), ("window", window)] {
            if !(1..=MAX_BATCHES).contains(&batches) {
                let message = format!("`{key}` must be from 1 to {MAX_BATCHES}");
                errors.push(OptionError::element(
                    &format!("order.{key}"),
                    "order",
                    message,
                ));
            }
        }
        errors
    }

    /// Orders the batches of a view for an epoch.
    pub(super) fn arrange<T>(
        self,
        mut batches: Vec<T>,
        seed: u64,
        view: u64,
        epoch: u64,
    ) -> Vec<T> {
        let key = Key::new(seed, &["order"]);
        let Order::Window(WindowOrder { shard, window, .. }) = self else {
            key.shuffle(epoch, &mut batches);
            return batches;
        };
        Key::new(seed, &["order of a view"]).shuffle(view, &mut batches);
        let mut shards: Vec<Vec<T>> = vec![];
        for (number, batch) in batches.into_iter().enumerate() {
            match shards.last_mut() {
                Some(last) if !number.is_multiple_of(shard) => last.push(batch),
                _ => shards.push(vec![batch]),
            }
        }
        key.shuffle(epoch, &mut shards);
        let draws = Key::new(seed, &["order in a window"]);
        let mut coming = shards.into_iter().flatten();
        let mut waiting: Vec<T> = coming.by_ref().take(window).collect();
        let mut ordered = vec![];
        while !waiting.is_empty() {
            let drawn = draws.below(epoch, ordered.len() as u64, waiting.len() as u64) as usize;
            match coming.next() {
                Some(next) => ordered.push(std::mem::replace(&mut waiting[drawn], next)),
                None => ordered.push(waiting.swap_remove(drawn)),
            }
        }
        ordered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(shard: usize, window: usize) -> Order {
        Order::Window(WindowOrder {
            kind: WindowName::Window,
            shard,
            window,
        })
    }

    const BATCHES: usize = 10_000;

    fn arrange(order: Order, view: u64, epoch: u64) -> Vec<usize> {
        order.arrange((0..BATCHES).collect(), 3, view, epoch)
    }

    #[test]
    fn every_batch_comes_once_and_epochs_differ() {
        for order in [
            Order::default(),
            window(64, 256),
            window(1, 1),
            window(9999, 7),
        ] {
            let orders = [(0, 0), (0, 1), (1, 2)].map(|(view, epoch)| arrange(order, view, epoch));
            for (i, found) in orders.iter().enumerate() {
                let mut sorted = found.clone();
                sorted.sort();
                assert_eq!(sorted, (0..BATCHES).collect::<Vec<_>>());
                assert!(!orders[..i].contains(found), "{order:?}");
            }
            assert_eq!(arrange(order, 0, 1), orders[1]);
        }
    }

    /// In whatever epoch a cache was filled, another reads from few places of it at a time.
    #[test]
    fn a_window_reads_few_shards_at_a_time() {
        let shard = 50;
        let draws_from = 20;
        let stored = arrange(window(shard, draws_from), 0, 0);
        let mut place = vec![0; BATCHES];
        for (position, &batch) in stored.iter().enumerate() {
            place[batch] = position;
        }
        let few = |order: Order| {
            let read = arrange(order, 0, 5);
            let mut most = 0;
            for run in read.chunks(shard) {
                let mut shards: Vec<usize> =
                    run.iter().map(|&batch| place[batch] / shard).collect();
                shards.sort();
                shards.dedup();
                most = most.max(shards.len());
            }
            most
        };
        assert!(few(window(shard, draws_from)) <= 26);
        assert!(few(Order::default()) > 30);
    }
}
