//! Waveforms to hidden states: convolutions, feature projection, positional convolution, layers (methods: fairseq's
//! HuBERT; order of operations as in transformers; WavLM differs in its attention alone). An activation is applied by
//! whoever reads it, so that `z`, the value before GELU, is all that is kept of a convolution.
use super::{Convention, ExtractNorm, MASK_EMBEDDING, Model, POSITION_TABLE};
use compute::gemm::Precision;
use compute::math::Dropout;
use compute::op::{
    Branch, First, Input, PositionBias, Source, broadcast, conv1d, dropout, feed_forward,
    gelu_gate, layer_norm, linear, mask_frames, norm_projection, position_gate, positional,
    residual, residual_norm, scale, self_attention,
};
use compute::tensor::{Hidden, NoneTape, Spans, Track, Vector, hidden, put, recomputed, split};
use std::collections::BTreeMap;

/// The dropouts of one pass; None: a pass without.
#[derive(Clone, Copy)]
pub struct DropoutKey(pub Option<u32>);

impl DropoutKey {
    fn at(self, rate: f64, site: usize) -> Dropout {
        self.0.map_or(Dropout::NONE, |key| {
            Dropout {
                rate: rate as f32,
                key,
            }
            .fork(site as u32)
        })
    }
}

/// Norms of convolutions keep PyTorch's own default, whatever `layer_norm_eps` says.
const CONV_EPS: f32 = 1e-5;

/// Weights of half a layer.
const ATTENTION: [&str; 8] = [
    "q_proj.weight",
    "q_proj.bias",
    "k_proj.weight",
    "k_proj.bias",
    "v_proj.weight",
    "v_proj.bias",
    "out_proj.weight",
    "out_proj.bias",
];

/// One pass of a batch through a model.
pub struct Forward<'a, T: Track> {
    pub model: &'a Model,
    /// Factors of units, by unit vector ([`crate::prune::vectors`]). Those that are not named are open.
    pub gates: &'a BTreeMap<String, Vector<T>>,
    pub drops: DropoutKey,
    /// Of products; all else is f32. The first convolution too: it reads samples, and is bound by what it writes.
    pub precision: Precision,
    /// Keep each layer's input alone, and compute the layer again for its gradients.
    pub recompute: bool,
    pub tape: T,
}

/// No gates.
pub const OPEN: &BTreeMap<String, Vector> = &BTreeMap::new();

impl<'a> Forward<'a, NoneTape> {
    /// Without dropout, of which nothing is kept.
    pub fn frozen(
        model: &'a Model,
        gates: &'a BTreeMap<String, Vector>,
        precision: Precision,
    ) -> Self {
        Forward {
            model,
            gates,
            drops: DropoutKey(None),
            precision,
            recompute: false,
            tape: NoneTape,
        }
    }
}

impl<T: Track> Forward<'_, T> {
    /// Outputs of `layers` (numbers by `convention`) for `rows` of samples, as many frames a row as
    /// [`Architecture::frames`](super::Architecture::frames) says.
    pub fn hiddens(
        &self,
        rows: &[&[f32]],
        layers: &[usize],
        convention: Convention,
    ) -> Vec<Hidden<T>> {
        self.encode(self.features(rows), None, layers, convention)
    }

    /// The extractor's output, before the projection's norm.
    pub fn features(&self, rows: &[&[f32]]) -> Hidden<T> {
        let row = |row: &&[f32]| {
            if self.model.normalize {
                normalized(row)
            } else {
                row.to_vec()
            }
        };
        self.extract(rows.iter().map(row).collect())
    }

    /// What [`Forward::hiddens`] makes of the extractor's output, with these frames of each row hidden: the mask embedding
    /// stands in their place from the positional convolution on, so not in the feature projection's output.
    pub fn encode(
        &self,
        features: Hidden<T>,
        masks: Option<&[Vec<bool>]>,
        layers: &[usize],
        convention: Convention,
    ) -> Vec<Hidden<T>> {
        let a = &self.model.architecture;
        let deepest = layers.iter().copied().max().unwrap_or(0);
        let mut wanted = BTreeMap::new();
        let mut keep = |l: usize, x: &Hidden<T>| {
            if layers.contains(&l) {
                wanted.insert(l, x.clone());
            }
        };
        let mut x = self.project(features);
        if convention == Convention::Torchaudio {
            keep(0, &x);
        }
        if deepest > 0 || convention == Convention::Hf {
            if let Some(masks) = masks {
                x = mask_frames(x, masks.concat(), self.model.weights.get(MASK_EMBEDDING));
            }
            x = self.enter(x);
        }
        if convention == Convention::Hf {
            keep(0, &x);
        }
        for l in 0..deepest {
            x = if self.recompute {
                self.layer_again(l, x)
            } else {
                self.layer(l, x)
            };
            if l + 1 < deepest {
                keep(l + 1, &x);
            }
        }
        if deepest == a.num_hidden_layers && a.do_stable_layer_norm && convention == Convention::Hf
        {
            x = self.norm(x, "encoder.layer_norm");
        }
        if deepest > 0 {
            keep(deepest, &x);
        }
        layers.iter().map(|l| wanted[l].clone()).collect()
    }

    /// Convolutions, up to and with the last activation.
    fn extract(&self, waves: Vec<Vec<f32>>) -> Hidden<T> {
        let (a, w) = (&self.model.architecture, &self.model.weights);
        let at = |i: usize, name: &str| format!("feature_extractor.conv_layers.{i}.{name}");
        let by_layer = a.feat_extract_norm == ExtractNorm::Layer;
        let conv = |i: usize, input, precision| {
            let (weight, bias) = (w.get(&at(i, "conv.weight")), w.find(&at(i, "conv.bias")));
            let z = conv1d(
                input,
                weight,
                bias,
                a.conv_kernel[i],
                a.conv_stride[i],
                precision,
            );
            if by_layer {
                let [gamma, beta] = w.all(&at(i, "layer_norm"), [".weight", ".bias"]);
                Source::Hidden(layer_norm(z.whole(), gamma, beta, CONV_EPS, Precision::F32))
            } else {
                z
            }
        };
        let mut z = if by_layer {
            let speech = hidden(waves.concat(), 1, Spans::new(waves.iter().map(Vec::len)));
            conv(0, Input::Raw(speech.on(&self.tape)), Precision::F32)
        } else {
            // A bias before a norm over time changes nothing.
            let weights = w.all(
                &at(0, ""),
                ["conv.weight", "layer_norm.weight", "layer_norm.bias"],
            );
            Source::First(
                First::new(waves, weights, a.conv_kernel[0], a.conv_stride[0]),
                self.tape.clone(),
            )
        };
        for i in 1..a.conv_dim.len() {
            let gate = self.gates.get(&format!("conv.{}", i - 1));
            z = conv(i, Input::Gelu(z, gate), self.precision);
        }
        let gate = self.gates.get(&format!("conv.{}", a.conv_dim.len() - 1));
        gelu_gate(z.whole(), gate, w.find("feature_extractor.dummy_weight"))
    }

    fn project(&self, x: Hidden<T>) -> Hidden<T> {
        let (a, w, at) = (
            &self.model.architecture,
            &self.model.weights,
            "feature_projection.",
        );
        let x = if let Some(width) = a.feature_norm_width {
            let names = [
                "layer_norm.weight",
                "layer_norm.bias",
                "projection.weight",
                "projection.bias",
                "folded",
            ];
            norm_projection(
                x,
                w.all(at, names),
                a.layer_norm_eps as f32,
                width,
                self.precision,
            )
        } else {
            let x = if a.feat_proj_layer_norm {
                self.norm(x, "feature_projection.layer_norm")
            } else {
                x
            };
            if a.feature_projection {
                self.dense(x, "feature_projection.projection")
            } else {
                x
            }
        };
        dropout(x, self.drops.at(a.feat_proj_dropout, 0))
    }

    /// The input of layer 1.
    fn enter(&self, x: Hidden<T>) -> Hidden<T> {
        let (a, w) = (&self.model.architecture, &self.model.weights);
        let names = ["weight_g", "weight_v", "bias"];
        let x = positional(
            x,
            w.all("encoder.pos_conv_embed.conv.", names),
            a.num_conv_pos_embedding_groups,
            self.precision,
        );
        let x = if a.do_stable_layer_norm {
            x
        } else {
            self.norm(x, "encoder.layer_norm")
        };
        dropout(x, self.drops.at(a.hidden_dropout, 1))
    }

    fn layer(&self, l: usize, x: Hidden<T>) -> Hidden<T> {
        if self.model.architecture.do_stable_layer_norm {
            self.layer_pre(l, x)
        } else {
            self.layer_post(l, x)
        }
    }

    /// The layer, of which only its input is kept.
    fn layer_again(&self, l: usize, x: Hidden<T>) -> Hidden<T> {
        let (x, tape) = x.split();
        let (model, drops, precision) = (self.model.clone(), self.drops, self.precision);
        let gates: BTreeMap<String, Vector> = self
            .gates
            .iter()
            .map(|(name, gate)| (name.clone(), split(gate.clone()).0))
            .collect();
        recomputed(tape, move |tape: T| {
            let gates = gates
                .iter()
                .map(|(name, gate)| (name.clone(), put(gate, &tape)))
                .collect();
            let x = x.on(&tape);
            Forward {
                model: &model,
                gates: &gates,
                drops,
                precision,
                recompute: false,
                tape,
            }
            .layer(l, x)
        })
    }

    /// Base: x = LN(x + drop(attention(x))), x = LN(x + drop(ffn(x))).
    fn layer_post(&self, l: usize, x: Hidden<T>) -> Hidden<T> {
        let branch = self.attention(l, x.clone());
        let x = self.add_norm(
            x,
            branch,
            self.after(l, 0),
            &format!("encoder.layers.{l}.layer_norm"),
        );
        let branch = self.feed_forward(l, x.clone());
        self.add_norm(
            x,
            branch,
            self.after(l, 1),
            &format!("encoder.layers.{l}.final_layer_norm"),
        )
    }

    /// Large: x = x + drop(attention(LN(x))), x = x + drop(ffn(LN(x))).
    fn layer_pre(&self, l: usize, x: Hidden<T>) -> Hidden<T> {
        let branch = self.attention(
            l,
            self.norm(x.clone(), &format!("encoder.layers.{l}.layer_norm")),
        );
        let x = add(x, branch, self.after(l, 0));
        let branch = self.feed_forward(
            l,
            self.norm(x.clone(), &format!("encoder.layers.{l}.final_layer_norm")),
        );
        add(x, branch, self.after(l, 1))
    }

    /// Dropout of a sub-layer's output.
    fn after(&self, l: usize, which: usize) -> Dropout {
        self.drops
            .at(self.model.architecture.hidden_dropout, 2 + 4 * l + which)
    }

    /// None where the sub-layer is gone and has left nothing.
    fn attention(&self, l: usize, x: Hidden<T>) -> Option<Branch<T>> {
        let (a, at) = (
            &self.model.architecture,
            format!("encoder.layers.{l}.attention."),
        );
        if a.heads(l) == 0 {
            return self.constant(&x, &format!("{at}out_proj.bias"));
        }
        let weights = self.model.weights.all(&at, ATTENTION);
        let gate = self.gates.get(&format!("head.{l}"));
        let bias = a.has_position_bias().then(|| self.positions(l, x.clone()));
        let drop = self.drops.at(a.attention_dropout, 4 + 4 * l);
        let y = self_attention(x, weights, a.heads(l), gate, bias, drop, self.precision);
        Some(self.whole(y, &format!("attention-layer.{l}")))
    }

    /// WavLM's bias: all layers share the first one's table, each has its own gate on it, from its own input.
    fn positions(&self, l: usize, x: Hidden<T>) -> PositionBias<'_, T> {
        let (a, w, at) = (
            &self.model.architecture,
            &self.model.weights,
            format!("encoder.layers.{l}.attention."),
        );
        let columns = a.remaining_heads(l);
        let names = [
            "gru_rel_pos_linear.weight",
            "gru_rel_pos_linear.bias",
            "gru_rel_pos_const",
        ];
        let gate = position_gate(x, w.all(&at, names), &columns);
        let (buckets, farthest) = (a.num_buckets, a.max_bucket_distance);
        PositionBias {
            table: w.get(POSITION_TABLE),
            columns,
            buckets,
            farthest,
            gate,
        }
    }

    fn feed_forward(&self, l: usize, x: Hidden<T>) -> Option<Branch<T>> {
        let (a, at) = (
            &self.model.architecture,
            format!("encoder.layers.{l}.feed_forward."),
        );
        if a.ffn(l) == 0 {
            return self.constant(&x, &format!("{at}output_dense.bias"));
        }
        let names = [
            "intermediate_dense.weight",
            "intermediate_dense.bias",
            "output_dense.weight",
            "output_dense.bias",
        ];
        let drop = self.drops.at(a.activation_dropout, 5 + 4 * l);
        let (weights, gate) = (
            self.model.weights.all(&at, names),
            self.gates.get(&format!("ffn.{l}")),
        );
        Some(self.whole(
            feed_forward(x, weights, gate, drop, self.precision),
            &format!("ffn-layer.{l}"),
        ))
    }

    /// A sub-layer's output, through its own gate if it has one.
    fn whole(&self, branch: Branch<T>, vector: &str) -> Branch<T> {
        match self.gates.get(vector) {
            Some(gate) => Branch::of(scale(branch.whole(), gate)),
            None => branch,
        }
    }

    /// What a sub-layer without units still adds: its output bias.
    fn constant(&self, like: &Hidden<T>, bias: &str) -> Option<Branch<T>> {
        self.model
            .weights
            .find(bias)
            .map(|b| Branch::of(broadcast(b, like.spans.clone(), self.tape.clone())))
    }

    fn norm(&self, x: Hidden<T>, at: &str) -> Hidden<T> {
        let [gamma, beta] = self.model.weights.all(at, [".weight", ".bias"]);
        layer_norm(
            x,
            gamma,
            beta,
            self.model.architecture.layer_norm_eps as f32,
            self.precision,
        )
    }

    /// That of x + drop(branch).
    fn add_norm(
        &self,
        x: Hidden<T>,
        branch: Option<Branch<T>>,
        drop: Dropout,
        at: &str,
    ) -> Hidden<T> {
        let Some(branch) = branch else {
            return self.norm(x, at);
        };
        let weights = self.model.weights.all(at, [".weight", ".bias"]);
        residual_norm(
            x,
            branch,
            drop,
            weights,
            self.model.architecture.layer_norm_eps as f32,
            self.precision,
        )
    }

    fn dense(&self, x: Hidden<T>, at: &str) -> Hidden<T> {
        let [w, b] = self.model.weights.all(at, [".weight", ".bias"]);
        linear(x, w, b, self.precision)
    }
}

fn add<T: Track>(x: Hidden<T>, branch: Option<Branch<T>>, drop: Dropout) -> Hidden<T> {
    match branch {
        Some(branch) => residual(x, branch.whole(), drop),
        None => x,
    }
}

/// (x - mean) / sqrt(variance + 1e-7), as transformers' feature extractor; sums in f64.
fn normalized(x: &[f32]) -> Vec<f32> {
    let n = x.len().max(1) as f64;
    let mean = x.iter().map(|&x| x as f64).sum::<f64>() / n;
    let variance = x.iter().map(|&x| (x as f64 - mean).powi(2)).sum::<f64>() / n;
    let scale = 1.0 / (variance + 1e-7).sqrt();
    x.iter()
        .map(|&x| ((x as f64 - mean) * scale) as f32)
        .collect()
}
