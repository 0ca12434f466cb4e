//! Evaluates a graph in f64 by the definitions of ONNX's operators, to compare its outputs with the
//! model's own hidden states before it is written.
mod operators;

use super::array::Array;
use super::graph::{Constant, Element, Graph, Node, Value};
use compute::math::sigmoid_f64;
use half::f16;
use operators::{
    convolved, erf, instance_normalised, int, ints, lstm, over_last_axis, quantised, reshaped,
    softmax,
};
use std::collections::BTreeMap;

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
        "Sigmoid" => x.map(sigmoid_f64),
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
