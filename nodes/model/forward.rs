//! The forward pass: waveforms to hidden states (fairseq's HuBERT, with transformers' order of
//! operations; WavLM differs in its attention alone).
//!
//! The reader of a convolution's output applies the activation, so a convolution retains the value
//! before GELU alone.
mod attention;
mod encode;
mod encoder;
mod extractor;
mod fbank;
mod lstm;
mod positions;
mod whisper;

use super::{Convention, Model, Unit, UnitGroup};
pub use attention::LayerMap;
use compute::gemm::Precision;
use compute::math::Dropout;
use compute::tensor::{Hidden, NoneTape, Track, Vector};
use std::collections::BTreeMap;

/// The random key of a pass's dropouts; `None` for a pass without dropout.
#[derive(Clone, Copy)]
pub struct DropoutKey(pub Option<u32>);

impl DropoutKey {
    fn at(self, rate: f64, site: usize) -> Dropout {
        let Some(key) = self.0 else {
            return Dropout::NONE;
        };
        let rate = rate as f32;
        Dropout { rate, key }.fork(site as u32)
    }
}

/// One pass of a batch through a model.
pub struct Forward<'a, T: Track> {
    pub model: &'a Model,
    /// Factors of units, by the name of their [`UnitGroup`]. Groups without gates are open.
    pub gates: &'a BTreeMap<String, Vector<T>>,
    pub drops: DropoutKey,
    /// Precision of products; everything else is f32. So is the first convolution, which reads
    /// samples and is bound by what it writes.
    pub precision: Precision,
    /// Retain each layer's input alone, and compute the layer again for its gradients, but for layers
    /// whose maps are returned. Not for models that reuse attention maps or have an LSTM.
    pub recompute: bool,
    /// Average the gradients that later layers send to a layer instead of summing them.
    pub average_gradients: bool,
    /// The first parts that stand still and retain nothing for gradients: 0 none, 1 the feature
    /// projection, 2 what leads to the first layer too, 2 + n also n layers.
    pub frozen_parts: usize,
    pub tape: T,
}

/// What a pass returns of a model's layers.
pub struct Outputs<'a> {
    /// Layers whose outputs are returned, numbered by `convention`.
    pub layers: &'a [usize],
    /// Layers whose attention maps are returned, from 1.
    pub maps: &'a [usize],
    /// Whether the encoder's output is returned, with its final norm whatever the convention.
    pub encoder_output: bool,
    pub convention: Convention,
}

/// What a pass returned, in the order in which it was asked for.
pub struct Encoded<T: Track> {
    pub hiddens: Vec<Hidden<T>>,
    pub maps: Vec<LayerMap<T>>,
    pub encoder_output: Option<Hidden<T>>,
}

/// Gates of a model that has none.
pub const OPEN: &BTreeMap<String, Vector> = &BTreeMap::new();

impl<'a> Forward<'a, NoneTape> {
    /// Builds a pass without dropout that retains nothing for gradients.
    pub fn frozen(
        model: &'a Model,
        gates: &'a BTreeMap<String, Vector>,
        precision: Precision,
    ) -> Self {
        Forward::without_dropout(model, gates, precision, NoneTape)
    }
}

impl<'a, T: Track> Forward<'a, T> {
    /// Builds a pass without dropout.
    pub fn without_dropout(
        model: &'a Model,
        gates: &'a BTreeMap<String, Vector<T>>,
        precision: Precision,
        tape: T,
    ) -> Self {
        Forward {
            model,
            gates,
            drops: DropoutKey(None),
            precision,
            recompute: false,
            average_gradients: false,
            frozen_parts: 0,
            tape,
        }
    }
}

impl<T: Track> Forward<'_, T> {
    /// Returns the outputs of `layers` (numbered by `convention`) for rows of samples. A row has
    /// [`Architecture::frames`](super::Architecture::frames).
    pub fn hiddens(
        &self,
        rows: &[&[f32]],
        layers: &[usize],
        convention: Convention,
    ) -> Vec<Hidden<T>> {
        let outputs = Outputs {
            layers,
            maps: &[],
            encoder_output: false,
            convention,
        };
        let hiddens = self.encode(self.features(rows), None, outputs).hiddens;
        let lengths: Vec<usize> = rows.iter().map(|row| row.len()).collect();
        let hiddens = hiddens.into_iter();
        hiddens.map(|x| self.own_frames(x, &lengths)).collect()
    }

    /// Returns the extractor's output, before the projection's norm. A model of log-mel frames
    /// computes and normalises these itself.
    pub fn features(&self, rows: &[&[f32]]) -> Hidden<T> {
        if self.model.architecture.is_fbank() {
            return self.fbank_features(self.model.log_mel(rows));
        }
        if self.model.architecture.is_whisper() {
            return self.whisper_features(rows);
        }
        let waves = rows.iter().map(|row| {
            if self.model.normalize {
                normalized(row, self.model.normalize_epsilon)
            } else {
                row.to_vec()
            }
        });
        self.extract(waves.collect())
    }

    /// Returns a row's own frames of a layer, given the samples of each row: Whisper's encoder
    /// computes more.
    pub fn own_frames(&self, x: Hidden<T>, samples: &[usize]) -> Hidden<T> {
        let a = &self.model.architecture;
        if !a.is_whisper() {
            return x;
        }
        let frames: Vec<usize> = samples.iter().map(|n| a.frames(*n)).collect();
        whisper::first_frames(x, &frames)
    }

    /// Returns the gates on a group of units, if it has any.
    fn gate(&self, unit: Unit, index: usize) -> Option<&Vector<T>> {
        self.gates.get(&UnitGroup::new(unit, index).to_string())
    }
}

/// Returns (x - mean) / sqrt(variance + epsilon); sums in f64.
pub(crate) fn normalized(x: &[f32], epsilon: f32) -> Vec<f32> {
    let n = x.len().max(1) as f64;
    let mean = x.iter().map(|&x| x as f64).sum::<f64>() / n;
    let variance = x.iter().map(|&x| (x as f64 - mean).powi(2)).sum::<f64>() / n;
    let scale = 1.0 / (variance + f64::from(epsilon)).sqrt();
    x.iter()
        .map(|&x| ((x as f64 - mean) * scale) as f32)
        .collect()
}
