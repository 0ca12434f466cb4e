//! Operators of ONNX that are more than a line.
use crate::tool::export::onnx::array::{Array, multiply};
use crate::tool::export::onnx::graph::{Attribute, Node};
use compute::math::sigmoid_f64;

/// The epsilon of `InstanceNormalization` where none is said.
const EPSILON: f64 = 1e-5;

pub(super) fn softmax(row: &[f64]) -> Vec<f64> {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = row.iter().map(|x| (x - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|x| x / sum).collect()
}

pub(super) fn over_last_axis(x: &Array, f: impl Fn(&[f64]) -> Vec<f64>) -> Array {
    let last = x.shape.len() - 1;
    let values: Vec<f64> = x.values.chunks_exact(x.shape[last]).flat_map(f).collect();
    let rows: usize = x.shape[..last].iter().product();
    let mut shape = x.shape.clone();
    shape[last] = values.len() / rows.max(1);
    Array::new(shape, values)
}

pub(super) fn reshaped(x: &Array, sizes: &[i64]) -> Array {
    let sizes = sizes.iter().enumerate();
    let shape = sizes.map(|(d, size)| {
        if *size == 0 {
            x.shape[d]
        } else {
            *size as usize
        }
    });
    Array::new(shape.collect(), x.values.clone())
}

/// Convolves (rows, channels, frames): for each row and group one product of the weight with the
/// frames under its taps.
pub(super) fn convolved(node: &Node, inputs: &[Array]) -> Array {
    let [rows, channels, frames] = three(&inputs[0].shape);
    let [outputs, channels_of_group, taps] = three(&inputs[1].shape);
    let stride = ints(node, "strides")[0];
    let padding = ints(node, "pads")[0];
    let groups = channels / channels_of_group;
    let windows = (frames + 2 * padding - taps) / stride + 1;
    let outputs_of_group = outputs / groups;
    let mut values = vec![0.0; rows * outputs * windows];
    let mut columns = vec![0.0; channels_of_group * taps * windows];
    let weight_of_group = outputs_of_group * channels_of_group * taps;
    for (block, result) in values
        .chunks_exact_mut(outputs_of_group * windows)
        .enumerate()
    {
        let first = block * channels_of_group;
        for (place, column) in columns.chunks_exact_mut(windows).enumerate() {
            let channel = first + place / taps;
            let signal = &inputs[0].values[channel * frames..(channel + 1) * frames];
            for (window, x) in column.iter_mut().enumerate() {
                let at = (window * stride + place % taps).checked_sub(padding);
                *x = at.and_then(|at| signal.get(at)).copied().unwrap_or(0.0);
            }
        }
        let group = block % groups;
        let weight = &inputs[1].values[group * weight_of_group..(group + 1) * weight_of_group];
        multiply(weight, &columns, result, channels_of_group * taps, windows);
    }
    let y = Array::new(vec![rows, outputs, windows], values);
    match inputs.get(2) {
        Some(bias) => y.zip(&reshaped(bias, &[outputs as i64, 1]), |a, b| a + b),
        None => y,
    }
}

fn three(shape: &[usize]) -> [usize; 3] {
    [shape[0], shape[1], shape[2]]
}

pub(super) fn instance_normalised(inputs: &[Array]) -> Array {
    let normalised = over_last_axis(&inputs[0], |row| {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        let squares = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        let deviation = (squares / row.len() as f64 + EPSILON).sqrt();
        row.iter().map(|x| (x - mean) / deviation).collect()
    });
    let [scale, bias] = [1, 2].map(|i| reshaped(&inputs[i], &[inputs[i].values.len() as i64, 1]));
    normalised
        .zip(&scale, |a, b| a * b)
        .zip(&bias, |a, b| a + b)
}

/// Runs an LSTM over (frames, rows, width), with the gates in the order input, output, forget, cell.
pub(super) fn lstm(node: &Node, inputs: &[Array]) -> Array {
    let [frames, rows, width] = three(&inputs[0].shape);
    let [directions, _, units] = three(&inputs[2].shape);
    assert_eq!(int(node, "hidden_size"), Some(units as i64));
    let mut y = vec![0.0; frames * directions * rows * units];
    for direction in 0..directions {
        let own = |i: usize, size: usize| &inputs[i].values[direction * size..][..size];
        let input_weight = own(1, 4 * units * width);
        let state_weight = own(2, 4 * units * units);
        let biases = own(3, 8 * units);
        for row in 0..rows {
            let mut state = vec![0.0; units];
            let mut cell = vec![0.0; units];
            for step in 0..frames {
                let t = if direction == 0 {
                    step
                } else {
                    frames - 1 - step
                };
                let x = &inputs[0].values[(t * rows + row) * width..][..width];
                let gate = |place: usize| {
                    let of_input = scalar_product(&input_weight[place * width..], x);
                    let of_state = scalar_product(&state_weight[place * units..], &state);
                    of_input + of_state + biases[place] + biases[4 * units + place]
                };
                let gates: Vec<f64> = (0..4 * units).map(gate).collect();
                for unit in 0..units {
                    let gate = |i: usize| gates[i * units + unit];
                    let kept = sigmoid_f64(gate(2)) * cell[unit];
                    cell[unit] = kept + sigmoid_f64(gate(0)) * gate(3).tanh();
                    state[unit] = sigmoid_f64(gate(1)) * cell[unit].tanh();
                }
                let place = ((t * directions + direction) * rows + row) * units;
                y[place..place + units].copy_from_slice(&state);
            }
        }
    }
    Array::new(vec![frames, directions, rows, units], y)
}

fn scalar_product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Returns x as integers from 0 to 255, their scale and their zero.
pub(super) fn quantised(x: &Array) -> Vec<Array> {
    let least = x.values.iter().copied().fold(0.0, f64::min);
    let most = x.values.iter().copied().fold(0.0, f64::max);
    let scale = (most - least) / 255.0;
    let zero = (-least / scale).round_ties_even().clamp(0.0, 255.0);
    let integers = x.map(|x| ((x / scale).round_ties_even() + zero).clamp(0.0, 255.0));
    let number = |value: f64| Array::new(vec![], vec![value]);
    vec![integers, number(scale), number(zero)]
}

/// Returns 2/√π ∫ exp(-t²) from 0 to x: by its series up to 3, beyond by its continued fraction.
pub(super) fn erf(x: f64) -> f64 {
    const SERIES_TO: f64 = 3.0;
    const TERMS: usize = 60;
    let far = x.abs();
    let scale = std::f64::consts::FRAC_2_SQRT_PI;
    if far < SERIES_TO {
        let mut term = x;
        let mut sum = x;
        for n in 1..TERMS {
            term *= -x * x / n as f64;
            sum += term / (2 * n + 1) as f64;
        }
        return scale * sum;
    }
    let mut fraction = 0.0;
    for n in (1..TERMS).rev() {
        fraction = n as f64 / 2.0 / (far + fraction);
    }
    let beyond = (-far * far).exp() / (far + fraction) * scale / 2.0;
    (1.0 - beyond).copysign(x)
}

pub(super) fn ints(node: &Node, name: &str) -> Vec<usize> {
    match node.attribute(name) {
        Some(Attribute::Ints(values)) => values.clone(),
        _ => vec![],
    }
}

pub(super) fn int(node: &Node, name: &str) -> Option<i64> {
    match node.attribute(name) {
        Some(Attribute::Int(value)) => Some(*value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_is_that_of_tables() {
        for (x, expected) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (-2.0, -0.995_322_265_018_952_7),
            (2.9, 0.999_958_902_121_900_5),
            (3.1, 0.999_988_351_342_632_6),
            (5.0, 0.999_999_999_998_462_5),
        ] {
            assert!((erf(x) - expected).abs() < 1e-12, "{x}: {}", erf(x));
        }
    }
}
