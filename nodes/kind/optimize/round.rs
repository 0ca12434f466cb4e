//! A round: one batch of each rank. The ranks tell each other what they have computed of theirs, so
//! that each goes on as one process would after all these batches.
use crate::Result;
use crate::node::outcomes::{Outcome, Outcomes, Rule};
use crate::node::pass_metrics::{BatchMean, BatchMetrics};
use crate::node::step::StepInfo;
use crate::node::{NodeContext, RunContext};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;

/// What a rank tells of its batch. Floats are bits, since JSON has no NaN.
#[derive(Serialize, Deserialize)]
struct BatchMessage {
    epoch: u64,
    batch: u64,
    samples: u64,
    losses: Vec<[u64; 2]>,
    means: Vec<(String, [u64; 2])>,
    outcomes: Vec<OutcomesMessage>,
    /// The norm of the last update, which is that of all ranks unless their weights differ.
    norm: u64,
    /// The errors of files that could not be used since the last message.
    bad_files: Vec<String>,
}

/// [`Outcomes`] with the ids and numbers of their rows.
#[derive(Serialize, Deserialize)]
struct OutcomesMessage {
    metric: String,
    rule: Rule,
    rows: Vec<(String, [u64; 2])>,
}

/// The batches of a round, in their order.
pub(super) struct Round {
    /// The last step of the round, with the samples of all batches.
    pub(super) info: StepInfo,
    pub(super) batches: Vec<BatchMetrics>,
    /// Whether a signal has asked any of the ranks to stop.
    pub(super) stop: bool,
}

/// Exchanges the metrics of this rank's batch for those of all ranks'. `norm` is the norm of the
/// gradients at the last update.
///
/// # Errors
/// A rank has failed, the weights of the ranks differ, or all together have met more files that
/// cannot be used than `bad_files` allows.
pub(super) fn exchange(
    context: &NodeContext,
    info: StepInfo,
    batch: BatchMetrics,
    norm: f64,
) -> Result<Round> {
    let run = &context.run;
    let stop = run.stop.load(Ordering::Relaxed);
    if run.ranks.count() == 1 {
        return Ok(Round {
            info,
            batches: vec![batch],
            stop,
        });
    }
    let message = BatchMessage {
        bad_files: run.bad_files.take_untold(),
        ..message(info, batch, norm)
    };
    let message = serde_json::to_vec(&message)?;
    let exchange = run.ranks.exchange(&moment(run, &info), &message, stop)?;
    let mut messages: Vec<BatchMessage> = vec![];
    for message in exchange.messages {
        messages.push(serde_json::from_slice(&message)?);
    }
    check_norms(&messages, info.update)?;
    for (rank, message) in messages.iter().enumerate() {
        run.bad_files
            .join(rank, &message.bad_files, |line| context.say_once(&line))?;
    }
    if info.dev {
        // Ranks for which a dev pass has no batch left repeat its last one.
        messages.dedup_by_key(|message| message.batch);
    }
    Ok(Round {
        info: joined(info, &messages),
        batches: messages.into_iter().map(metrics_of).collect(),
        stop: exchange.stop,
    })
}

fn moment(run: &RunContext, info: &StepInfo) -> String {
    let what = if info.dev { "the dev pass after" } else { "" };
    let moment = format!("{what} update {} of phase `{}`", info.update, run.phase);
    moment.trim_start().to_owned()
}

fn check_norms(messages: &[BatchMessage], update: u64) -> Result<()> {
    let first = messages.first().map(|message| message.norm);
    match messages.iter().position(|m| Some(m.norm) != first) {
        None => Ok(()),
        Some(rank) => Err(format!(
            "the gradients of rank {rank} at the update before {update} have another norm than those of rank 0; all \
             ranks must run the same program on processors of one kind"
        )
        .into()),
    }
}

/// Returns the step of the last batch of a round, with the samples of all.
fn joined(info: StepInfo, messages: &[BatchMessage]) -> StepInfo {
    let last = messages.last();
    StepInfo {
        epoch: last.map_or(info.epoch, |m| m.epoch),
        batch: last.map_or(info.batch, |m| m.batch),
        samples: messages.iter().map(|m| m.samples).sum(),
        ..info
    }
}

fn message(info: StepInfo, batch: BatchMetrics, norm: f64) -> BatchMessage {
    let means = batch.means.into_iter();
    let outcomes = batch.outcomes.into_iter().map(|outcomes| {
        let rows = outcomes.rows.into_iter();
        OutcomesMessage {
            metric: outcomes.metric,
            rule: outcomes.rule,
            rows: rows
                .map(|row| (row.id, row.numbers.map(f64::to_bits)))
                .collect(),
        }
    });
    BatchMessage {
        epoch: info.epoch,
        batch: info.batch,
        samples: info.samples,
        losses: batch
            .losses
            .iter()
            .map(|loss| loss.map(f64::to_bits))
            .collect(),
        means: means
            .map(|mean| (mean.name, [mean.value, mean.weight].map(f64::to_bits)))
            .collect(),
        outcomes: outcomes.collect(),
        norm: norm.to_bits(),
        bad_files: vec![],
    }
}

fn metrics_of(message: BatchMessage) -> BatchMetrics {
    let means = message.means.into_iter();
    let outcomes = message.outcomes.into_iter().map(|outcomes| {
        let rows = outcomes.rows.into_iter().map(|(id, bits)| Outcome {
            id,
            numbers: bits.map(f64::from_bits),
        });
        Outcomes {
            metric: outcomes.metric,
            rule: outcomes.rule,
            rows: rows.collect(),
        }
    });
    BatchMetrics {
        losses: message
            .losses
            .iter()
            .map(|loss| loss.map(f64::from_bits))
            .collect(),
        means: means
            .map(|(name, [value, weight])| BatchMean {
                name,
                value: f64::from_bits(value),
                weight: f64::from_bits(weight),
            })
            .collect(),
        outcomes: outcomes.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_every_bit() {
        let row = Outcome {
            id: "a".into(),
            numbers: [0.1 + 0.2, 1.0],
        };
        let batch = BatchMetrics {
            losses: vec![[-0.0, 1.0 / 3.0]],
            means: vec![BatchMean {
                name: "b".into(),
                value: f64::INFINITY,
                weight: 1.0 / 3.0,
            }],
            outcomes: vec![Outcomes {
                metric: "accuracy".into(),
                rule: Rule::MacroF1,
                rows: vec![row],
            }],
        };
        let sent = message(StepInfo::default(), batch.clone(), f64::NAN);
        let bytes = serde_json::to_vec(&sent).unwrap();
        let received: BatchMessage = serde_json::from_slice(&bytes).unwrap();
        assert!(f64::from_bits(received.norm).is_nan());
        let received = metrics_of(received);
        assert!(received.losses[0][0].is_sign_negative());
        assert_eq!(received, batch);
    }
}
