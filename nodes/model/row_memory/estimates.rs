//! The memory on the CPU that rows need beside weights and gradients of weights. In numbers of 4
//! bytes, with N samples, f_i frames and C_i channels of convolution i, T frames, width W,
//! A = heads · d and F inner units of the largest layer, L layers that are sent:
//!
//! ```text
//! z_i         f_i C_i      where it is stored: from i = 1 on, or from 0 on with layer norms, whose
//!                          outputs are stored too
//! extraction  max (2 N + max z_i, max (z_i + z_i+1)); with layer norms 2 N + 2 max z_i + 2 f_0
//! encoding    T max (3 L W, L W + max (4 W, 2 C + W, 2 W + 7 A, 3 W + F))
//!                          the sent layers and two copies, or a layer's largest step: attention
//!                          has x, its norm, q, k, v, o, packed k and v, and blocks of probabilities
//! trained     2 N + Σ z_i + max (layers, max (z_i + z_i+1))
//!                          with T (4 W + 7 A + 2 F) for a layer's gradients beside what layers
//!                          retain (activation_bytes.rs, in f32)
//! map         T T heads    more in each, if a layer uses the attention map of another
//! ```
use super::RowLength;
use crate::model::components::{ComponentKind, RowFrames};
use crate::model::{Architecture, ExtractNorm, activation_bytes};
use compute::gemm::Precision;
use compute::parallel::threads;

/// Counts a waveform at its own rate, while the buffer grows, and at 16 kHz.
pub(super) fn decoded_bytes(frames: u64, samples: u64) -> u64 {
    4 * (3 * frames).max(frames + 2 * samples)
}

/// Estimates the bytes of rows of a model that is not trained, of which each thread extracts one.
pub(super) fn frozen_bytes(a: &Architecture, layers: usize, rows: &[RowLength]) -> u64 {
    let at_once = rows.len().min(threads()) as u64;
    let each = rows.iter().map(|row| extraction(a, row.samples));
    let extracted = at_once * each.max().unwrap_or(0);
    let encoded: u64 = rows
        .iter()
        .map(|row| encoding(a, layers, row.samples))
        .sum();
    if rows.len() == 1 {
        extracted.max(encoded)
    } else {
        extracted + encoded
    }
}

/// The outputs of convolutions that are stored.
struct Convolutions {
    /// Numbers of the largest one.
    largest: u64,
    /// The most numbers of two neighbours.
    neighbours: u64,
    total: u64,
    /// Frames of the first convolution, if it has a norm over channels.
    normed_frames: Option<u64>,
}

impl Convolutions {
    fn of(a: &Architecture, samples: usize) -> Convolutions {
        let frames = a.frames_by_conv(samples);
        let sizes = frames.iter().zip(&a.conv_dim);
        let mut stored: Vec<u64> = sizes.map(|(f, c)| (f * c) as u64).collect();
        let has_layer_norms = a.feat_extract_norm == ExtractNorm::Layer;
        if !has_layer_norms {
            stored.remove(0);
        }
        let largest = stored.iter().copied().max().unwrap_or(0);
        let pairs = stored.windows(2).map(|pair| pair[0] + pair[1]);
        let total: u64 = stored.iter().sum();
        Convolutions {
            largest,
            neighbours: pairs.max().unwrap_or(largest),
            total: if has_layer_norms { 2 * total } else { total },
            normed_frames: has_layer_norms.then(|| frames[0] as u64),
        }
    }
}

fn extraction(a: &Architecture, samples: usize) -> u64 {
    let stored = Convolutions::of(a, samples);
    let waves = 2 * samples as u64;
    4 * match stored.normed_frames {
        Some(frames) => waves + 2 * stored.largest + 2 * frames,
        None => (waves + stored.largest).max(stored.neighbours),
    }
}

fn encoding(a: &Architecture, layers: usize, samples: usize) -> u64 {
    let width = a.hidden_size;
    let steps = [
        4 * width,
        2 * a.channels() + width,
        2 * width + 7 * attention_width(a),
        3 * width + inner_units(a),
    ];
    let sent = layers * width;
    let largest_step = steps.into_iter().max().unwrap_or(0);
    let numbers = a.computed_frames(samples) * (3 * sent).max(sent + largest_step);
    4 * (numbers + map(a, samples)) as u64
}

pub(super) fn trained_bytes(a: &Architecture, recompute: bool, samples: usize) -> u64 {
    let frames = RowFrames::new(a, samples);
    let components = a.components().into_iter();
    let in_extractor = components.filter(|c| matches!(c.kind, ComponentKind::Convolution(_)));
    let of_extractor: usize = in_extractor
        .map(|c| c.frames(&frames) * c.retained.bytes(size_of::<f32>()))
        .sum();
    let retained = activation_bytes::per_row(a, Precision::F32, recompute, samples);
    let layer = 4 * a.hidden_size + 7 * attention_width(a) + 2 * inner_units(a);
    let gradients = a.frames(samples) * layer + map(a, samples);
    let layers = retained - of_extractor as u64 + 4 * gradients as u64;

    let stored = Convolutions::of(a, samples);
    4 * (2 * samples as u64 + stored.total) + layers.max(4 * stored.neighbours)
}

/// Counts the probabilities of the largest attention map that another layer uses.
fn map(a: &Architecture, samples: usize) -> usize {
    let passed_on = (0..a.num_hidden_layers).filter(|&layer| a.hands_on_attention(layer));
    let maps = passed_on.map(|layer| a.heads(layer) * a.layer_frames(layer + 1, samples).pow(2));
    maps.max().unwrap_or(0)
}

/// Returns A of the layer with the most heads.
fn attention_width(a: &Architecture) -> usize {
    let heads = (0..a.num_hidden_layers).map(|layer| a.heads(layer)).max();
    heads.unwrap_or(0) * a.head_dim()
}

/// Returns F of the layer with the most inner units.
fn inner_units(a: &Architecture) -> usize {
    let inner = (0..a.num_hidden_layers).map(|layer| a.ffn(layer)).max();
    inner.unwrap_or(0)
}

#[cfg(all(test, not(feature = "cuda")))]
mod tests {
    use super::*;
    use crate::model::{Convention, DropoutKey, Forward, Model, OPEN, Outputs};
    use compute::allocated_bytes::{CountingAllocator, peak_bytes};
    use compute::op::mean_square;
    use compute::random::Key;
    use compute::tensor::{Tape, backward, by_rows};
    use std::alloc::System;
    use std::collections::BTreeMap;

    #[global_allocator]
    static ALLOCATOR: CountingAllocator<System> = CountingAllocator(System);

    /// Returns small models: most memory in convolutions or in layers, both forms of the norms,
    /// WavLM's bias.
    fn architectures() -> Vec<Architecture> {
        let wide = Architecture {
            conv_dim: vec![32; 7],
            hidden_size: 64,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            intermediate_size: 256,
            num_conv_pos_embeddings: 16,
            num_conv_pos_embedding_groups: 4,
            ..Architecture::default()
        };
        let deep = Architecture {
            conv_dim: vec![4, 4, 4, 4, 4, 8, 16],
            hidden_size: 96,
            num_hidden_layers: 4,
            num_attention_heads: 2,
            intermediate_size: 512,
            ..wide.clone()
        };
        let large = Architecture {
            feat_extract_norm: ExtractNorm::Layer,
            do_stable_layer_norm: true,
            conv_bias: true,
            ..wide.clone()
        };
        let wavlm = Architecture {
            model_type: "wavlm".into(),
            ..deep.clone()
        };
        vec![wide, deep, large, wavlm]
    }

    /// Computes the hidden states of all layers, as a teacher does.
    fn run_frozen(model: &Model, wave: &[f32], layers: &[usize]) {
        let forward = Forward::frozen(model, OPEN, Precision::F32);
        by_rows(
            1,
            |_| forward.features(&[wave]),
            |_, features| {
                let outputs = Outputs {
                    layers,
                    maps: &[],
                    encoder_output: false,
                    convention: Convention::Hf,
                };
                forward.encode(features, None, outputs).hiddens
            },
        );
    }

    /// Computes the last layer and all gradients, with dropout.
    fn run_trained(model: &Model, wave: &[f32], recompute: bool) {
        let pass = Forward {
            model,
            gates: &BTreeMap::new(),
            drops: DropoutKey(Some(3)),
            precision: Precision::F32,
            recompute,
            average_gradients: false,
            frozen_parts: 0,
            tape: Tape::default(),
        };
        let last = [model.architecture.num_hidden_layers];
        let mut states = pass.hiddens(&[wave], &last, Convention::Hf);
        drop(backward(mean_square(states.remove(0)), 1.0));
    }

    /// A row of 40 s, so that small buffers do not count.
    #[test]
    fn estimates_are_what_is_allocated() {
        const SAMPLES: usize = 640_000;
        // With a pool of this thread alone all its allocations are counted.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
        let pool = pool.use_current_thread().build().expect("no pool yet");
        let wave = compute::random::noise("wave", SAMPLES);
        let row = RowLength {
            name: "",
            samples: SAMPLES,
        };
        for (number, a) in architectures().iter().enumerate() {
            let model = Model::random(a, Key::new(1, &["weights"]));
            let layers: Vec<usize> = (0..=a.num_hidden_layers).collect();
            let check = |name: &str, estimate: u64, run: &dyn Fn()| {
                let ((), peak) = peak_bytes(run);
                let ratio = estimate as f64 / peak as f64;
                assert!(
                    (0.999..1.6).contains(&ratio),
                    "model {number}, {name}: {estimate} bytes estimated, {peak} allocated"
                );
            };
            check("frozen", frozen_bytes(a, layers.len(), &[row]), &|| {
                run_frozen(&model, &wave, &layers);
            });
            check("trained", trained_bytes(a, false, SAMPLES), &|| {
                run_trained(&model, &wave, false);
            });
            check("recomputed", trained_bytes(a, true, SAMPLES), &|| {
                run_trained(&model, &wave, true);
            });
        }
        drop(pool);
    }
}
