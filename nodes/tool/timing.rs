//! How long a model computes for a second of audio.
use crate::Result;
use crate::data::audio::resample::audio_seconds;
use crate::model::{Convention, Forward, Model, OPEN};
use crate::tool::model_options::ModelOptions;
use compute::gemm::Precision;
use compute::random::noise;
use compute::tensor::read;
use std::path::Path;
use std::time::Instant;

/// Rows of noise, and the samples of each: 15 s.
const NOISE_ROWS: usize = 4;
const NOISE_SAMPLES: usize = 240_000;

/// Returns the seconds that a model computes for a second of audio: one row at a time, in f32, after the
/// first row was computed once untimed; `None` without a row.
pub fn real_time_factor(mut model: Model, rows: &[Vec<f32>]) -> Option<f64> {
    let first = rows.first()?;
    model.pack(Precision::F32);
    let forward = Forward::frozen(&model, OPEN, Precision::F32);
    let deepest = [model.architecture.num_hidden_layers];
    let compute = |row: &[f32]| {
        for state in forward.hiddens(&[row], &deepest, Convention::Hf) {
            drop(read(&state.values)); // waits for a GPU
        }
    };
    compute(first);
    let begun = Instant::now();
    for row in rows {
        compute(row);
    }
    let samples: usize = rows.iter().map(Vec::len).sum();
    Some(begun.elapsed().as_secs_f64() / audio_seconds(samples as u64))
}

/// Returns the [`real_time_factor`] of a model on rows of 15 s of noise.
///
/// # Errors
/// The model cannot be read.
pub fn real_time_factor_on_noise(model: &Path) -> Result<Option<f64>> {
    let model = ModelOptions::default().load(model)?;
    let row = noise("real-time factor", NOISE_SAMPLES);
    Ok(real_time_factor(model, &vec![row; NOISE_ROWS]))
}
