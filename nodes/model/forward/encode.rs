//! The order of a pass behind the extractor: which parts run, and what is returned of them.
use super::attention::AttentionMaps;
use super::{Encoded, Forward, OPEN, Outputs};
use crate::model::Convention;
use crate::model::components::MASK_EMBEDDING;
use compute::op::{gradient_scale, mask_frames};
use compute::tensor::{Hidden, NoneTape, Track};
use std::collections::BTreeMap;

impl<T: Track> Forward<'_, T> {
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
            } else if self.recompute && !attention_maps.wants(l) {
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
}
