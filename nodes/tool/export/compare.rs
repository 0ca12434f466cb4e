//! How far the hidden states of an exported model are from those of the model itself.
use crate::Result;
use crate::model::{Convention, Forward, Model, OPEN};
use compute::gemm::Precision;
use compute::random::Key;
use compute::tensor::read;

/// Lengths of the rows of noise, in samples.
const LENGTHS: [usize; 2] = [5_999, 16_000];

/// Returns the rows of noise on which models are compared.
pub(super) fn noise_rows() -> Vec<Vec<f32>> {
    let key = Key::new(0, &["export"]);
    let row = |length: usize| {
        let samples = 0..length as u64;
        samples
            .map(|i| 0.1 * key.normal(length as u64, i))
            .collect()
    };
    LENGTHS.into_iter().map(row).collect()
}

/// Returns a sentence with the greatest difference between all hidden states of two models.
pub(super) fn describe_difference(model: &Model, exported: &Model) -> Result<String> {
    Ok(sentence(model, greatest_difference(model, exported)?))
}

/// Returns the sentence with that difference.
pub(super) fn sentence(model: &Model, greatest: f32) -> String {
    let layers = model.architecture.num_hidden_layers + 1;
    let rows = LENGTHS.len();
    format!("read back; {layers} layers of {rows} rows of noise differ by at most {greatest:.1e}")
}

/// Returns the greatest difference between all hidden states of two models on rows of noise.
///
/// # Errors
/// A difference is not a number: the model's own states overflow.
pub(super) fn greatest_difference(model: &Model, exported: &Model) -> Result<f32> {
    let layers: Vec<usize> = (0..=model.architecture.num_hidden_layers).collect();
    let mut greatest: f32 = 0.0;
    for row in noise_rows() {
        let expected = states(model, &row, &layers);
        let found = states(exported, &row, &layers);
        for (expected, found) in expected.iter().zip(&found) {
            assert_eq!(expected.len(), found.len(), "the same frames and width");
            let differences = expected.iter().zip(found).map(|(a, b)| (a - b).abs());
            greatest = differences.fold(greatest, nan_or_greater);
        }
    }
    if greatest.is_nan() {
        return Err("hidden states of noise are not finite, so nothing can be compared".into());
    }
    Ok(greatest)
}

/// Returns the hidden states of one row.
pub(super) fn states(model: &Model, row: &[f32], layers: &[usize]) -> Vec<Vec<f32>> {
    let forward = Forward::frozen(model, OPEN, Precision::F32);
    let hiddens = forward.hiddens(&[row], layers, Convention::Hf);
    hiddens.iter().map(|h| read(&h.values).into()).collect()
}

/// Returns the greater number, or NaN once there is one.
fn nan_or_greater(a: f32, b: f32) -> f32 {
    if a.is_nan() || b <= a { a } else { b }
}
