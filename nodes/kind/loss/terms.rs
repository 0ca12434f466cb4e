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
//! kl, target-class,     divergences of the softmaxes of logits, means over frames
//! other-classes         ([`compute::op::logit_divergence`])
//! ```
use crate::node::OptionError;
use compute::op::{Compared, Temperatures, cosine, l1, log_sigmoid_cosine, mse};
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
    /// Of logits: their divisor, on both sides; null: 1.
    #[serde(default)]
    pub(super) temperature: Option<f64>,
    /// Of logits: the divisor of the student's; null: `temperature`.
    #[serde(default)]
    pub(super) student_temperature: Option<f64>,
    /// Of logits: whether the term is multiplied by the square of `temperature`; null: true.
    #[serde(default)]
    pub(super) squared: Option<bool>,
}

impl Term {
    /// Returns the divisors of the logits.
    pub(super) fn temperatures(&self) -> Temperatures {
        let teacher = self.temperature.unwrap_or(1.0);
        Temperatures {
            student: self.student_temperature.unwrap_or(teacher) as f32,
            teacher: teacher as f32,
        }
    }

    /// Returns the factor of the divergence that is part of the term: the square of its
    /// temperature, or 1.
    pub(super) fn square(&self) -> f64 {
        let is_squared = self.r#type.logits().is_some() && self.squared.unwrap_or(true);
        if is_squared {
            self.temperature.unwrap_or(1.0).powi(2)
        } else {
            1.0
        }
    }

    /// Returns what is wrong with the term at place `i` of `terms`.
    pub(super) fn errors(&self, i: usize) -> Vec<OptionError> {
        let mut errors = vec![];
        let mut unless = |holds: bool, key: &str, message: String| {
            if !holds {
                errors.push(OptionError::element(
                    &format!("terms.{i}.{key}"),
                    &format!("terms[{i}].{key}"),
                    message,
                ));
            }
        };
        let weight = self.weight;
        unless(
            weight.is_finite(),
            "weight",
            format!("{weight} is no number"),
        );
        let of_logits = self.r#type.logits().is_some();
        for (key, value) in [
            ("temperature", self.temperature),
            ("student_temperature", self.student_temperature),
        ] {
            if let Some(value) = value {
                unless(of_logits, key, ONLY_LOGITS.into());
                let message = format!("{value} is not above 0");
                unless(value > 0.0 && value.is_finite(), key, message);
            }
        }
        unless(
            of_logits || self.squared.is_none(),
            "squared",
            ONLY_LOGITS.into(),
        );
        errors
    }
}

const ONLY_LOGITS: &str = "is for \"kl\", \"target-class\" and \"other-classes\"";

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
    Kl,
    TargetClass,
    OtherClasses,
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
            TermType::Kl => "loss_kl",
            TermType::TargetClass => "loss_target_class",
            TermType::OtherClasses => "loss_other_classes",
        }
    }

    /// Returns which classes the term compares; `None` for a term that is not about logits.
    pub(super) fn logits(self) -> Option<Compared> {
        match self {
            TermType::Kl => Some(Compared::AllClasses),
            TermType::TargetClass => Some(Compared::TargetClass),
            TermType::OtherClasses => Some(Compared::OtherClasses),
            _ => None,
        }
    }

    /// Whether the term relates the frames of a row to each other.
    pub(super) fn relates_frames(self) -> bool {
        matches!(
            self,
            TermType::Gram | TermType::GramBetween | TermType::MapKl
        )
    }

    /// Returns the distance of frames, if the term is one.
    pub(super) fn distance(self) -> Option<Distance> {
        match self {
            TermType::L1 => Some(l1),
            TermType::Mse => Some(mse),
            TermType::Cosine => Some(cosine),
            TermType::LogSigmoidCosine => Some(log_sigmoid_cosine),
            _ => None,
        }
    }
}
