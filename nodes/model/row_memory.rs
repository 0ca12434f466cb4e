//! Estimates the memory on the CPU that rows need beside weights and gradients of weights, and
//! refuses rows that cannot have it before they are computed. With N samples, f_i frames and C_i
//! channels of convolution i (f_0 C_0 only with a layer norm, else it is not stored), T frames,
//! width W, A = heads · d and F inner units of the largest layer, L layers that are sent, in
//! numbers of 4 bytes:
//!
//! ```text
//! extraction   2 N + max f_i C_i + max (f_i-1 C_i-1 + f_i C_i)   frozen; waveforms, and two
//!                        neighbours at a time; with layer norms 2 max f_i C_i
//! encoding     T (3 L W + max (4 W, 2 W + 7 A, 3 W + F))         frozen; the sent layers, their
//!                        copies, and a layer's largest step: attention holds x, its norm, q, k, v,
//!                        o, their packed forms and blocks of probabilities
//! trained      what a GPU retains of the row in f32 (activation_bytes.rs), whose activated
//!                        convolutions are gradients here, and T (4 W + 7 A + 2 F) for a layer's
//!                        gradients
//! ```
use super::{Architecture, activation_bytes};
use crate::Result;
use compute::gemm::Precision;
use compute::memory;
use compute::parallel::threads;
use compute::tensor::ON_GPU;

/// Samples of a second.
const RATE: f64 = 16000.0;
/// What a user of a graph can do.
const IN_A_GRAPH: &str = "split it, leave it out with `max_seconds`, or cut it with `crop` \
                          (options of `decode`)";

/// A row's name, for errors, and its samples.
#[derive(Clone, Copy)]
pub struct RowLength<'a> {
    pub name: &'a str,
    pub samples: usize,
}

/// Checks that memory for the hidden states of `layers` layers of these rows can be had, for a
/// model that is not trained.
///
/// # Errors
/// It cannot; the error names the longest row.
pub fn check_frozen(a: &Architecture, layers: usize, rows: &[RowLength]) -> Result<()> {
    check(rows, frozen_bytes(a, layers, rows), IN_A_GRAPH)
}

/// Checks as [`check_frozen`], for a model that is trained.
pub fn check_trained(a: &Architecture, recompute: bool, rows: &[RowLength]) -> Result<()> {
    let each = rows.iter().map(|row| trained(a, recompute, row.samples));
    check(rows, each.sum(), IN_A_GRAPH)
}

/// Checks that a file can be decoded, and its hidden states of `layers` layers be computed and
/// written. `frames` are its samples at its own rate.
///
/// # Errors
/// As [`check_frozen`].
pub fn check_file(a: &Architecture, layers: usize, row: RowLength, frames: u64) -> Result<()> {
    let decoded = decoded_bytes(frames, row.samples as u64);
    let computed = 4 * row.samples as u64 + frozen_bytes(a, layers, &[row]);
    check(&[row], decoded.max(computed), "split it")
}

/// Checks that the samples of a batch's rows can be decoded; `rows` have them at 16 kHz.
///
/// # Errors
/// As [`check_frozen`].
pub fn check_decoded(rows: &[RowLength]) -> Result<()> {
    let each = rows.iter().map(|row| row.samples as u64);
    let bytes = each.map(|samples| decoded_bytes(samples, samples)).sum();
    check(rows, bytes, IN_A_GRAPH)
}

/// Counts a waveform at its own rate, while the buffer grows, and at 16 kHz.
fn decoded_bytes(frames: u64, samples: u64) -> u64 {
    4 * (3 * frames).max(frames + 2 * samples)
}

fn check(rows: &[RowLength], bytes: u64, remedy: &str) -> Result<()> {
    let Some(longest) = rows.iter().max_by_key(|row| row.samples) else {
        return Ok(());
    };
    if ON_GPU {
        return Ok(());
    }
    let Err(shortage) = memory::reserve(usize::try_from(bytes).unwrap_or(usize::MAX)) else {
        return Ok(());
    };
    let name = longest.name;
    let seconds = longest.samples as f64 / RATE;
    let error = match rows.len() {
        1 => format!("`{name}`: {seconds:.1} s of audio need about {shortage}; {remedy}"),
        count => format!(
            "a batch of {count} rows, the longest `{name}` with {seconds:.1} s of audio, needs \
             about {shortage}; lower `seconds_per_batch`"
        ),
    };
    Err(error.into())
}

/// Estimates the bytes of rows of a model that is not trained, of which each thread extracts one.
fn frozen_bytes(a: &Architecture, layers: usize, rows: &[RowLength]) -> u64 {
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

/// Counts the numbers of each convolution's output that is stored.
fn convolutions(a: &Architecture, samples: usize) -> Vec<u64> {
    let frames = a.frames_by_conv(samples).into_iter();
    let first = match a.feat_extract_norm {
        super::ExtractNorm::Group => 1,
        super::ExtractNorm::Layer => 0,
    };
    frames
        .zip(&a.conv_dim)
        .skip(first)
        .map(|(frames, &channels)| (frames * channels) as u64)
        .collect()
}

fn extraction(a: &Architecture, samples: usize) -> u64 {
    let stored = convolutions(a, samples);
    let largest = stored.iter().copied().max().unwrap_or(0);
    let neighbours = match a.feat_extract_norm {
        super::ExtractNorm::Group => stored.windows(2).map(|pair| pair[0] + pair[1]).max(),
        super::ExtractNorm::Layer => Some(2 * largest),
    };
    4 * (2 * samples as u64 + neighbours.unwrap_or(0).max(largest))
}

fn encoding(a: &Architecture, layers: usize, samples: usize) -> u64 {
    let width = a.hidden_size;
    let steps = [
        4 * width,
        2 * a.channels() + width,
        2 * width + 7 * attention_width(a),
        3 * width + inner_units(a),
    ];
    let largest = steps.into_iter().max().unwrap_or(0);
    let numbers = a.frames(samples) * (3 * layers * width + largest);
    4 * numbers as u64
}

fn trained(a: &Architecture, recompute: bool, samples: usize) -> u64 {
    let retained = activation_bytes::per_row(a, Precision::F32, recompute, samples);
    let layer = 4 * a.hidden_size + 7 * attention_width(a) + 2 * inner_units(a);
    retained + 4 * (a.frames(samples) * layer + 2 * samples) as u64
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
    use crate::model::{Convention, DropoutKey, ExtractNorm, Forward, Model, OPEN};
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

    /// Runs `f` with a pool of the calling thread alone, whose allocations are counted.
    fn on_this_thread<R>(f: impl FnOnce() -> R) -> R {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .use_current_thread();
        pool.build().expect("no pool yet").install(f)
    }

    fn assert_close(name: &str, estimate: u64, peak: usize) {
        let ratio = estimate as f64 / peak as f64;
        assert!(
            (0.97..2.0).contains(&ratio),
            "{name}: {estimate} bytes estimated, {peak} allocated"
        );
    }

    /// The rows are so long that small buffers do not count: 40 and 90 s.
    #[test]
    fn estimates_are_what_is_allocated() {
        on_this_thread(|| {
            for (number, a) in architectures().iter().enumerate() {
                let model = Model::random(a, Key::new(1, &["weights"]));
                let layers: Vec<usize> = (0..=a.num_hidden_layers).collect();
                for samples in [640_000, 1_440_000] {
                    let wave = compute::random::noise("wave", samples);
                    let name = format!("model {number}, {samples} samples");

                    let forward = Forward::frozen(&model, OPEN, Precision::F32);
                    let (_, peak) = peak_bytes(|| {
                        by_rows(
                            1,
                            |_| forward.features(&[&wave]),
                            |_, x| forward.encode(x, None, &layers, Convention::Hf),
                        )
                    });
                    let rows = [RowLength { name: "", samples }];
                    let estimate = frozen_bytes(a, layers.len(), &rows);
                    assert_close(&format!("{name}, frozen"), estimate, peak);

                    for recompute in [false, true] {
                        let ((), peak) = peak_bytes(|| {
                            let pass = Forward {
                                model: &model,
                                gates: &BTreeMap::new(),
                                drops: DropoutKey(Some(3)),
                                precision: Precision::F32,
                                recompute,
                                tape: Tape::default(),
                            };
                            let last = [a.num_hidden_layers];
                            let mut states = pass.hiddens(&[&wave], &last, Convention::Hf);
                            let loss = mean_square(states.remove(0));
                            drop(backward(loss, 1.0));
                        });
                        let estimate = trained(a, recompute, samples);
                        let name = format!("{name}, trained, recompute {recompute}");
                        assert_close(&name, estimate, peak);
                    }
                }
            }
        });
    }
}
