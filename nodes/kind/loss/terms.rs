//! The terms of a loss. S_l and T_l are the outputs of layer l, (frames, width), of student and
//! target, A_l their attention maps averaged over heads, (frames, frames):
//!
//! ```text
//! l1, mse               mean of |S - T|, of (S - T)²
//! cosine                mean of -cos(S, T)
//! log-sigmoid-cosine    mean of -ln σ(cos(S, T))
//! gram                  mean of (S_l S_lᵀ - T_l T_lᵀ)² over the pairs of frames of all rows:
//!                       the temporal relation within a layer (STaRHuBERT, Jang et al. 2024,
//!                       arXiv:2312.09040, "layer-wise")
//! gram-between          the same of S_(l-1) S_lᵀ and T_(l-1) T_lᵀ, for adjacent listed layers
//!                       (STaRHuBERT, "intra-layer")
//! map-kl                Σ over frames of KL(A_l of the target ‖ A_l of the student), a mean over
//!                       rows (STaRHuBERT's averaged attention)
//! ```
use compute::op::{cosine, l1, log_sigmoid_cosine, mse};
use compute::tensor::{Hidden, Number, Tape};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Term {
    /// What is measured.
    pub(super) r#type: TermType,
    /// Its factor.
    #[serde(default = "one")]
    pub(super) weight: f64,
}

fn one() -> f64 {
    1.0
}

#[derive(Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TermType {
    L1,
    Mse,
    Cosine,
    LogSigmoidCosine,
    Gram,
    GramBetween,
    MapKl,
}

/// Maps a student's hidden state and its target, (frames, width) each, to one number.
pub(crate) type Distance = fn(Hidden<Tape>, &Hidden) -> Number<Tape>;

pub(super) const L1: &str = "loss_l1";
pub(super) const COSINE: &str = "loss_cos";

impl TermType {
    /// Returns the name of the metric.
    pub(super) fn metric(self) -> &'static str {
        match self {
            TermType::L1 => L1,
            TermType::Mse => "loss_mse",
            TermType::Cosine | TermType::LogSigmoidCosine => COSINE,
            TermType::Gram => "loss_gram",
            TermType::GramBetween => "loss_gram_between",
            TermType::MapKl => "loss_map_kl",
        }
    }

    /// Returns the distance of frames; `None` for a term that relates frames to each other.
    pub(super) fn distance(self) -> Option<Distance> {
        match self {
            TermType::L1 => Some(l1),
            TermType::Mse => Some(mse),
            TermType::Cosine => Some(cosine),
            TermType::LogSigmoidCosine => Some(log_sigmoid_cosine),
            TermType::Gram | TermType::GramBetween | TermType::MapKl => None,
        }
    }
}
