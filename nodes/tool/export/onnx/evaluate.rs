//! Evaluates a graph in f64 by the definitions of ONNX's operators, to compare its outputs with the
//! model's own hidden states before it is written.
use super::array::{Array, multiply};
use super::graph::{Attribute, Constant, Element, Graph, Node, Value};
use half::f16;
use std::collections::BTreeMap;

/// The epsilon of `InstanceNormalization` where none is said.
const EPSILON: f64 = 1e-5;

/// Returns the outputs of a graph for one input.
pub(super) fn evaluate(graph: &Graph, input: Array) -> Vec<Array> {
    let constants: BTreeMap<&str, &Constant> = graph
        .constants
        .iter()
        .map(|constant| (constant.name.as_str(), constant))
        .collect();
    let mut last_use: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, node) in graph.nodes.iter().enumerate() {
        last_use.extend(node.inputs.iter().map(|name| (name.as_str(), i)));
    }
    let mut values: BTreeMap<Value, Array> = BTreeMap::new();
    values.insert(graph.inputs[0].name.clone(), input);
    for (i, node) in graph.nodes.iter().enumerate() {
        let inputs = node.inputs.iter().map(|name| match values.get(name) {
            Some(array) => array.clone(),
            None => constant_array(constants[name.as_str()]),
        });
        let outputs = apply(node, &inputs.collect::<Vec<_>>());
        values.extend(node.outputs.iter().cloned().zip(outputs));
        for name in &node.inputs {
            if last_use[name.as_str()] == i {
                values.remove(name);
            }
        }
    }
    let outputs = graph.outputs.iter();
    outputs
        .filter_map(|port| values.remove(&port.name))
        .collect()
}

fn constant_array(constant: &Constant) -> Array {
    let bytes = &constant.bytes;
    let shape = constant.shape.clone();
    let values = match constant.element {
        Element::U8 => bytes.iter().map(|x| *x as f64).collect(),
        Element::F16 => numbers(bytes, |b| f16::from_le_bytes(b).to_f64()),
        Element::F32 => numbers(bytes, |b| f32::from_le_bytes(b) as f64),
        Element::F64 => numbers(bytes, f64::from_le_bytes),
        Element::I64 => {
            return Array::whole(shape, numbers(bytes, |b| i64::from_le_bytes(b) as f64));
        }
    };
    Array::new(shape, values)
}

fn numbers<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    let (numbers, _) = bytes.as_chunks();
    numbers.iter().map(|bytes| number(*bytes)).collect()
}

/// Applies one operation.
fn apply(node: &Node, inputs: &[Array]) -> Vec<Array> {
    let x = &inputs[0];
    let other = || &inputs[1];
    let one = match node.op {
        "Identity" | "Cast" => x.clone(),
        "Add" => x.zip(other(), |a, b| a + b),
        "Sub" => x.zip(other(), |a, b| a - b),
        "Mul" => x.zip(other(), |a, b| a * b),
        "Div" if x.whole => x.zip(other(), |a, b| (a / b).trunc()),
        "Div" => x.zip(other(), |a, b| a / b),
        "Max" => x.zip(other(), f64::max),
        "Clip" => x.zip(other(), f64::max).zip(&inputs[2], f64::min),
        "Erf" => x.map(erf),
        "Sqrt" => x.map(f64::sqrt),
        "Log" => x.map(f64::ln),
        "Sigmoid" => x.map(sigmoid),
        "MatMul" => x.product(other()),
        "MatMulInteger" => {
            let left = x.zip(&inputs[2], |a, zero| a - zero);
            left.product(&other().zip(&inputs[3], |a, zero| a - zero))
        }
        "Transpose" => x.transposed(&ints(node, "perm")),
        "Reshape" => reshaped(x, &other().ints()),
        "Unsqueeze" => {
            let mut shape = x.shape.clone();
            shape.insert(other().ints()[0] as usize, 1);
            Array { shape, ..x.clone() }
        }
        "Shape" => {
            let sizes = x.shape.iter().map(|size| *size as f64);
            Array::whole(vec![x.shape.len()], sizes.collect())
        }
        "Concat" => {
            let values: Vec<f64> = inputs.iter().flat_map(|x| x.values.clone()).collect();
            Array::whole(vec![values.len()], values)
        }
        "Range" => {
            let end = other().values[0];
            let numbers = (0..end as usize).map(|i| i as f64);
            Array::whole(vec![end as usize], numbers.collect())
        }
        "Gather" => {
            let places: Vec<usize> = other().ints().into_iter().map(|i| i as usize).collect();
            x.taken(
                int(node, "axis").unwrap_or(0) as usize,
                &places,
                &other().shape,
            )
        }
        "Slice" => {
            let axis = inputs[3].ints()[0] as usize;
            let size = x.shape[axis] as i64;
            let end = inputs[2].ints()[0];
            let end = if end < 0 { size + end } else { end.min(size) };
            let places: Vec<usize> = (other().ints()[0] as usize..end as usize).collect();
            x.taken(axis, &places, &[places.len()])
        }
        "ReduceMean" => over_last_axis(x, |row| vec![row.iter().sum::<f64>() / row.len() as f64]),
        "Softmax" => over_last_axis(x, softmax),
        "Conv" => convolved(node, inputs),
        "InstanceNormalization" => instance_normalised(inputs),
        "LSTM" => lstm(node, inputs),
        "Split" => {
            let axis = int(node, "axis").unwrap_or(0) as usize;
            let size = x.shape[axis] / node.outputs.len();
            let part = |i: usize| {
                let places: Vec<usize> = (i * size..(i + 1) * size).collect();
                x.taken(axis, &places, &[size])
            };
            return (0..node.outputs.len()).map(part).collect();
        }
        "DynamicQuantizeLinear" => return quantised(x),
        op => unreachable!("no part of a graph is a {op}"),
    };
    vec![one]
}

fn ints(node: &Node, name: &str) -> Vec<usize> {
    match node.attribute(name) {
        Some(Attribute::Ints(values)) => values.clone(),
        _ => vec![],
    }
}

fn int(node: &Node, name: &str) -> Option<i64> {
    match node.attribute(name) {
        Some(Attribute::Int(value)) => Some(*value),
        _ => None,
    }
}

fn reshaped(x: &Array, sizes: &[i64]) -> Array {
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

fn over_last_axis(x: &Array, f: impl Fn(&[f64]) -> Vec<f64>) -> Array {
    let last = x.shape.len() - 1;
    let values: Vec<f64> = x.values.chunks_exact(x.shape[last]).flat_map(f).collect();
    let rows: usize = x.shape[..last].iter().product();
    let mut shape = x.shape.clone();
    shape[last] = values.len() / rows.max(1);
    Array::new(shape, values)
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = row.iter().map(|x| (x - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|x| x / sum).collect()
}

/// Convolves (rows, channels, frames): for each row and group one product of the weight with the
/// frames under its taps.
fn convolved(node: &Node, inputs: &[Array]) -> Array {
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

fn instance_normalised(inputs: &[Array]) -> Array {
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
fn lstm(node: &Node, inputs: &[Array]) -> Array {
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
                    let kept = sigmoid(gate(2)) * cell[unit];
                    cell[unit] = kept + sigmoid(gate(0)) * gate(3).tanh();
                    state[unit] = sigmoid(gate(1)) * cell[unit].tanh();
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
fn quantised(x: &Array) -> Vec<Array> {
    let least = x.values.iter().copied().fold(0.0, f64::min);
    let most = x.values.iter().copied().fold(0.0, f64::max);
    let scale = (most - least) / 255.0;
    let zero = (-least / scale).round_ties_even().clamp(0.0, 255.0);
    let integers = x.map(|x| ((x / scale).round_ties_even() + zero).clamp(0.0, 255.0));
    let number = |value: f64| Array::new(vec![], vec![value]);
    vec![integers, number(scale), number(zero)]
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Returns 2/√π ∫ exp(-t²) from 0 to x: by its series up to 3, beyond by its continued fraction.
fn erf(x: f64) -> f64 {
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
