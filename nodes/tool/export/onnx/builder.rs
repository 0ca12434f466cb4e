//! The pieces that all parts of an encoder are made of: products, norms, GELU.
use super::graph::{Attribute, Element, Graph, Value};
use crate::model::{Architecture, Model};
use compute::tensor::read;
use half::f16;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What weights are stored as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnnxPrecision {
    #[default]
    F32,
    /// All large weights as f16, which are brought to f32 when the model is loaded.
    F16,
    /// Weights of linear maps as 8-bit integers with a scale for each output; their products are
    /// of integers, all else is f32.
    Int8,
}

pub(super) struct Builder<'a> {
    pub(super) model: &'a Model,
    pub(super) graph: Graph,
    precision: OnnxPrecision,
    /// Activations as 8-bit integers with their scale and zero, by the value that they are of.
    quantised: BTreeMap<Value, [Value; 3]>,
}

/// Weights from this size on are stored in fewer bits.
const LARGE: usize = 64;

impl<'a> Builder<'a> {
    pub(super) fn new(model: &'a Model, precision: OnnxPrecision) -> Builder<'a> {
        Builder {
            model,
            graph: Graph::default(),
            precision,
            quantised: BTreeMap::new(),
        }
    }

    pub(super) fn architecture(&self) -> &'a Architecture {
        &self.model.architecture
    }

    /// Returns the values of a tensor of the model.
    pub(super) fn tensor(&self, name: &str) -> Cow<'a, [f32]> {
        let model = self.model;
        read(model.weights.get(name))
    }

    /// Returns the values of a tensor that the model may not have.
    pub(super) fn find(&self, name: &str) -> Option<Cow<'a, [f32]>> {
        let model = self.model;
        model.weights.find(name).map(read)
    }

    pub(super) fn op(&mut self, op: &'static str, inputs: &[&str]) -> Value {
        self.graph.op(op, inputs, &[])
    }

    /// Adds a weight, in f16 and a cast if weights are stored so.
    pub(super) fn weight(&mut self, shape: &[usize], values: &[f32]) -> Value {
        if self.precision != OnnxPrecision::F16 || values.len() < LARGE {
            return self.graph.floats(shape, values);
        }
        let bytes = values
            .iter()
            .flat_map(|x| f16::from_f32(*x).to_le_bytes())
            .collect();
        let stored = self.graph.constant(Element::F16, shape, bytes);
        self.cast(&stored, Element::F32)
    }

    pub(super) fn cast(&mut self, x: &str, element: Element) -> Value {
        let element = Attribute::Int(element as i64);
        self.graph.op("Cast", &[x], &[("to", element)])
    }

    /// Adds a vector of the model's.
    pub(super) fn vector(&mut self, name: &str) -> Value {
        let values = self.tensor(name);
        self.graph.floats(&[values.len()], &values)
    }

    /// Applies the linear map whose weight (out, in) and bias are at `prefix`.
    pub(super) fn linear(&mut self, x: &str, prefix: &str) -> Value {
        let weight = self.tensor(&format!("{prefix}weight"));
        let bias = self.tensor(&format!("{prefix}bias"));
        let product = self.product(x, &weight, bias.len());
        let bias = self.graph.floats(&[bias.len()], &bias);
        self.op("Add", &[&product, &bias])
    }

    /// Multiplies by the transpose of a weight, (out, in).
    fn product(&mut self, x: &str, weight: &[f32], out: usize) -> Value {
        let inputs = weight.len() / out;
        let mut transposed = vec![0.0; weight.len()];
        for (o, row) in weight.chunks_exact(inputs.max(1)).enumerate() {
            for (i, value) in row.iter().enumerate() {
                transposed[i * out + o] = *value;
            }
        }
        if self.precision == OnnxPrecision::Int8 {
            return self.integer_product(x, &transposed, out);
        }
        let weight = self.weight(&[inputs, out], &transposed);
        self.op("MatMul", &[x, &weight])
    }

    /// Multiplies integers: x by a scale for all of it, the weight (in, out) by one a column.
    ///
    /// The weight is unsigned with zero at 128: kernels for signed ones may overflow 16 bits.
    fn integer_product(&mut self, x: &str, weight: &[f32], out: usize) -> Value {
        const ZERO: f32 = 128.0;
        const LARGEST: f32 = 127.0;
        let mut scales = vec![f32::MIN_POSITIVE; out];
        for row in weight.chunks_exact(out) {
            for (scale, x) in scales.iter_mut().zip(row) {
                *scale = scale.max(x.abs() / LARGEST);
            }
        }
        let mut integers: Vec<u8> = vec![];
        for row in weight.chunks_exact(out) {
            let row = row.iter().zip(&scales);
            integers.extend(row.map(|(x, scale)| ((x / scale).round() + ZERO) as u8));
        }
        let inputs = weight.len() / out;
        let weight = self.graph.constant(Element::U8, &[inputs, out], integers);
        let weight_zero = self.graph.constant(Element::U8, &[], vec![ZERO as u8]);
        let scales = self.graph.floats(&[out], &scales);
        let [integers, scale, zero] = self.quantise(x);
        let sums = self.op("MatMulInteger", &[&integers, &weight, &zero, &weight_zero]);
        let sums = self.cast(&sums, Element::F32);
        let scales = self.op("Mul", &[&scale, &scales]);
        self.op("Mul", &[&sums, &scales])
    }

    /// Returns x as integers, their scale and their zero; products of one x share them.
    fn quantise(&mut self, x: &str) -> [Value; 3] {
        if let Some(known) = self.quantised.get(x) {
            return known.clone();
        }
        let made = self
            .graph
            .op_with_outputs("DynamicQuantizeLinear", &[x], &[], 3);
        let made: [Value; 3] = made.try_into().unwrap_or_default();
        self.quantised.insert(x.to_owned(), made.clone());
        made
    }

    /// Returns the mean over the last axis.
    pub(super) fn mean(&mut self, x: &str) -> Value {
        // The last axis of three.
        self.graph
            .op("ReduceMean", &[x], &[("axes", Attribute::Ints(vec![2]))])
    }

    /// Normalises the last of three axes, with the weight and the bias at `prefix`.
    pub(super) fn norm(&mut self, x: &str, prefix: &str, epsilon: f32) -> Value {
        let mean = self.mean(x);
        let centred = self.op("Sub", &[x, &mean]);
        let squares = self.op("Mul", &[&centred, &centred]);
        let variance = self.mean(&squares);
        let epsilon = self.graph.float(epsilon);
        let variance = self.op("Add", &[&variance, &epsilon]);
        let deviation = self.op("Sqrt", &[&variance]);
        let normalised = self.op("Div", &[&centred, &deviation]);
        self.scaled(&normalised, prefix)
    }

    /// Multiplies by the weight at `prefix`, and adds the bias.
    pub(super) fn scaled(&mut self, x: &str, prefix: &str) -> Value {
        let gamma = self.vector(&format!("{prefix}weight"));
        let beta = self.vector(&format!("{prefix}bias"));
        let scaled = self.op("Mul", &[x, &gamma]);
        self.op("Add", &[&scaled, &beta])
    }

    /// Returns x (1 + erf(x / √2)) / 2.
    pub(super) fn gelu(&mut self, x: &str) -> Value {
        let root = self.graph.float(std::f32::consts::SQRT_2);
        let one = self.graph.float(1.0);
        let half = self.graph.float(0.5);
        let scaled = self.op("Div", &[x, &root]);
        let erf = self.op("Erf", &[&scaled]);
        let share = self.op("Add", &[&erf, &one]);
        let product = self.op("Mul", &[x, &share]);
        self.op("Mul", &[&product, &half])
    }

    pub(super) fn transpose(&mut self, x: &str, order: &[usize]) -> Value {
        self.graph.op(
            "Transpose",
            &[x],
            &[("perm", Attribute::Ints(order.to_vec()))],
        )
    }

    /// Reshapes; a size of 0 stays as it is, and one may be -1.
    pub(super) fn reshape(&mut self, x: &str, sizes: &[i64]) -> Value {
        let sizes = self.graph.ints(sizes);
        self.op("Reshape", &[x, &sizes])
    }
}
