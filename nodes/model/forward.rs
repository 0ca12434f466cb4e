//! The forward pass: waveforms to hidden states (fairseq's HuBERT, with transformers' order of
//! operations; WavLM differs in its attention alone).
//!
//! The reader of a convolution's output applies the activation, so a convolution retains the value
//! before GELU alone.
mod attention;
mod encoder;
mod extractor;
mod fbank;
mod lstm;
mod positions;
mod whisper;

use super::components::MASK_EMBEDDING;
use super::{Convention, Model, Unit, UnitGroup};
use attention::AttentionMaps;
pub use attention::LayerMap;
use compute::gemm::Precision;
use compute::math::Dropout;
use compute::op::{gradient_scale, mask_frames};
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
    /// Retain each layer's input alone, and compute the layer again for its gradients. Not for
    /// models that reuse attention maps or have an LSTM, nor for passes that return maps.
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

    /// Returns outputs of layers for the extractor's output.
    ///
    /// The mask embedding replaces masked frames from the positional convolution on, so not in the
    /// feature projection's output.
    pub fn encode(
        &self,
        features: Hidden<T>,
        masks: Option<&[Vec<bool>]>,
        outputs: Outputs,
    ) -> Encoded<T> {
        let Outputs {
            layers,
            maps,
            encoder_output,
            convention,
        } = outputs;
        let a = &self.model.architecture;
        let last = encoder_output.then_some(a.num_hidden_layers);
        let asked = layers.iter().chain(maps).copied().chain(last);
        let deepest = asked.max().unwrap_or(0);
        let mut hiddens = BTreeMap::new();
        let mut keep = |layer: usize, x: &Hidden<T>| {
            if layers.contains(&layer) {
                hiddens.insert(layer, x.clone());
            }
        };
        let mut x = match self.frozen_parts {
            0 => self.project(features),
            _ => self.standing_still(features, |forward, x| forward.project(x)),
        };
        if convention == Convention::Torchaudio {
            keep(0, &x);
        }
        if deepest > 0 || convention == Convention::Hf {
            x = match self.frozen_parts {
                0 | 1 => self.begin_layers(x, masks),
                _ => self.standing_still(x, |forward, x| forward.begin_layers(x, masks)),
            };
        }
        if convention == Convention::Hf {
            keep(0, &x);
        }
        if deepest > 0 {
            x = self.reduced_time(x);
        }
        let mut attention_maps = AttentionMaps::new(maps);
        for l in 0..deepest {
            x = if l + 2 < self.frozen_parts {
                self.standing_still(x, |forward, x| {
                    forward.layer(l, x, &mut AttentionMaps::new(&[]))
                })
            } else if a.is_lstm() {
                self.lstm_layer(l, x)
            } else if self.recompute {
                self.recomputed_layer(l, x)
            } else {
                self.layer(l, x, &mut attention_maps)
            };
            let on_the_way = self.on_the_way_share(l);
            x = gradient_scale(x, on_the_way);
            let is_last = l + 1 == a.num_hidden_layers;
            let has_norm = a.do_stable_layer_norm && !a.is_lstm();
            if is_last && has_norm && convention == Convention::Hf {
                x = self.encoder_norm(x);
            }
            if layers.contains(&(l + 1)) {
                keep(
                    l + 1,
                    &gradient_scale(x.clone(), self.head_share(on_the_way)),
                );
            }
        }
        let encoder_output = encoder_output.then(|| {
            if a.do_stable_layer_norm && convention == Convention::Torchaudio {
                self.encoder_norm(x)
            } else {
                x
            }
        });
        Encoded {
            encoder_output,
            hiddens: layers.iter().map(|layer| hiddens[layer].clone()).collect(),
            maps: attention_maps.take(),
        }
    }

    /// Masks frames of the projection's output, and makes it the input of the first layer.
    fn begin_layers(&self, mut x: Hidden<T>, masks: Option<&[Vec<bool>]>) -> Hidden<T> {
        if let Some(masks) = masks {
            x = mask_frames(x, masks.concat(), self.model.weights.get(MASK_EMBEDDING));
        }
        if !self.model.architecture.is_lstm() {
            x = self.encoder_input(x);
        }
        x
    }

    /// Computes a part of the model that has no gates and stands still, as does all before it: with
    /// the pass's dropouts, and without retaining anything for gradients.
    fn standing_still(
        &self,
        x: Hidden<T>,
        part: impl FnOnce(&Forward<NoneTape>, Hidden) -> Hidden,
    ) -> Hidden<T> {
        let (x, tape) = x.split();
        let forward = Forward {
            model: self.model,
            gates: OPEN,
            drops: self.drops,
            precision: self.precision,
            recompute: false,
            average_gradients: false,
            frozen_parts: 0,
            tape: NoneTape,
        };
        part(&forward, x).on(&tape)
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

    /// Returns the factor on the gradient that reaches layer `l`, from 0, from all that reads its
    /// output: with L layers (L - l) / (L - l + 1) where gradients are averaged (ARMHuBERT's
    /// `layer_grad_scale`; sungnyun/ARMHuBERT).
    ///
    /// With [`Forward::head_share`], what layer m sends to layer l <= m is then scaled by
    /// (L - m) / ((L + 1 - m) (L + 1 - l)).
    fn on_the_way_share(&self, l: usize) -> f32 {
        if !self.average_gradients {
            return 1.0;
        }
        let rest = (self.model.architecture.num_hidden_layers - l) as f32;
        rest / (rest + 1.0)
    }

    /// Returns the further factor on the gradient that reaches a layer from its own reader.
    fn head_share(&self, on_the_way: f32) -> f32 {
        if self.average_gradients {
            1.0 - on_the_way
        } else {
            1.0
        }
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
