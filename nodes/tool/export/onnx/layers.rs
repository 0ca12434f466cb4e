//! From the feature projection to the output of each layer.
use super::builder::Builder;
use super::front_end::Convolution;
use super::graph::{Attribute, Value};

/// What layers share.
#[derive(Default)]
pub(super) struct LayerContext {
    /// WavLM's biases by relative position, (heads, frames, frames).
    pub(super) position_bias: Option<Value>,
    /// The attention map of the nearest layer before that computed one.
    pub(super) latest_map: Option<Value>,
}

impl Builder<'_> {
    /// Returns all hidden states, layer 0 first, as transformers numbers them.
    pub(super) fn states(&mut self, projected: &str) -> Vec<Value> {
        let a = self.architecture();
        if a.is_lstm() {
            return self.recurrent_states(projected);
        }
        let mut x = self.positions(projected);
        if !a.do_stable_layer_norm {
            x = self.encoder_norm(&x);
        }
        let mut states = vec![x.clone()];
        if a.time_reduction > 1 {
            x = self.joined_frames(&x);
        }
        let mut context = LayerContext {
            position_bias: self.position_bias(&x),
            latest_map: None,
        };
        for layer in 0..a.num_hidden_layers {
            x = self.layer(layer, &x, &mut context);
            if layer + 1 == a.num_hidden_layers && a.do_stable_layer_norm {
                x = self.encoder_norm(&x);
            }
            states.push(x.clone());
        }
        states
    }

    fn encoder_norm(&mut self, x: &str) -> Value {
        let epsilon = self.architecture().layer_norm_eps as f32;
        self.norm(x, "encoder.layer_norm.", epsilon)
    }

    /// Adds the positional convolution, whose weight is written out.
    fn positions(&mut self, x: &str) -> Value {
        let a = self.architecture();
        let prefix = "encoder.pos_conv_embed.conv.";
        let norms = self.tensor(&format!("{prefix}weight_g"));
        let directions = self.tensor(&format!("{prefix}weight_v"));
        let bias = self.tensor(&format!("{prefix}bias"));
        let taps = a.num_conv_pos_embeddings;
        let groups = a.num_conv_pos_embedding_groups;
        let mut squares = vec![0.0f64; taps];
        for row in directions.chunks_exact(taps) {
            for (sum, x) in squares.iter_mut().zip(row) {
                *sum += (*x as f64).powi(2);
            }
        }
        let scales = norms.iter().zip(&squares);
        let scales: Vec<f64> = scales.map(|(g, sum)| *g as f64 / sum.sqrt()).collect();
        let weight: Vec<f32> = directions
            .iter()
            .enumerate()
            .map(|(i, x)| (*x as f64 * scales[i % taps]) as f32)
            .collect();
        let convolution = Convolution {
            shape: &[a.hidden_size, a.hidden_size / groups, taps],
            stride: 1,
            padding: taps / 2,
            groups,
        };
        let turned = self.transpose(x, &[0, 2, 1]);
        let mut y = self.convolution(&turned, &weight, Some(&bias), &convolution);
        if taps.is_multiple_of(2) {
            let start = self.graph.ints(&[0]);
            let end = self.graph.ints(&[-1]);
            let axis = self.graph.ints(&[2]);
            y = self.op("Slice", &[&y, &start, &end, &axis]);
        }
        let y = self.gelu(&y);
        let y = self.transpose(&y, &[0, 2, 1]);
        self.op("Add", &[x, &y])
    }

    /// Joins frames side by side, as many as there are whole groups of, and maps them linearly. Not a
    /// convolution, which ONNX Runtime refuses on fewer frames than its width.
    fn joined_frames(&mut self, x: &str) -> Value {
        let a = self.architecture();
        let joined = a.time_reduction as i64;
        let width = joined * a.hidden_size as i64;
        let shape = self.op("Shape", &[x]);
        let axis = self.graph.ints(&[1]);
        let frames = self.op("Gather", &[&shape, &axis]);
        let joined = self.graph.ints(&[joined]);
        let groups = self.op("Div", &[&frames, &joined]);
        let end = self.op("Mul", &[&groups, &joined]);
        let start = self.graph.ints(&[0]);
        let whole = self.op("Slice", &[x, &start, &end, &axis]);
        let width = self.graph.ints(&[width]);
        let axis = [("axis", Attribute::Int(0))];
        let sizes = self.graph.op("Concat", &[&start, &groups, &width], &axis);
        let groups = self.op("Reshape", &[&whole, &sizes]);
        self.linear(&groups, "encoder.time_reduction.")
    }

    fn layer(&mut self, layer: usize, x: &str, context: &mut LayerContext) -> Value {
        let a = self.architecture();
        let epsilon = a.layer_norm_eps as f32;
        let first_norm = format!("encoder.layers.{layer}.layer_norm.");
        let second_norm = format!("encoder.layers.{layer}.final_layer_norm.");
        if a.do_stable_layer_norm {
            let y = self.norm(x, &first_norm, epsilon);
            let y = self.attention(layer, &y, context);
            let x = self.sum(x, y);
            let y = self.norm(&x, &second_norm, epsilon);
            let y = self.feed_forward(layer, &y);
            self.sum(&x, y)
        } else {
            let y = self.attention(layer, x, context);
            let x = self.sum(x, y);
            let x = self.norm(&x, &first_norm, epsilon);
            let y = self.feed_forward(layer, &x);
            let x = self.sum(&x, y);
            self.norm(&x, &second_norm, epsilon)
        }
    }

    /// Adds what a sub-layer returned, if it is there.
    fn sum(&mut self, x: &str, y: Option<Value>) -> Value {
        match y {
            Some(y) => self.op("Add", &[x, &y]),
            None => x.to_owned(),
        }
    }

    /// Returns `None` if the feed-forward is gone and has left no bias.
    fn feed_forward(&mut self, layer: usize, x: &str) -> Option<Value> {
        let prefix = format!("encoder.layers.{layer}.feed_forward.");
        if self.architecture().ffn(layer) == 0 {
            return self.bias_alone(&format!("{prefix}output_dense.bias"));
        }
        let inner = self.linear(x, &format!("{prefix}intermediate_dense."));
        let inner = self.gelu(&inner);
        Some(self.linear(&inner, &format!("{prefix}output_dense.")))
    }

    /// Returns the output bias that a sub-layer without units has left, if the model has it.
    pub(super) fn bias_alone(&mut self, name: &str) -> Option<Value> {
        let bias = self.find(name)?;
        Some(self.graph.floats(&[bias.len()], &bias))
    }

    /// Returns the hidden states of recurrent layers.
    fn recurrent_states(&mut self, projected: &str) -> Vec<Value> {
        let mut states = vec![projected.to_owned()];
        let mut x = self.transpose(projected, &[1, 0, 2]);
        for layer in 0..self.architecture().num_hidden_layers {
            x = self.recurrent_layer(layer, &x);
            states.push(self.transpose(&x, &[1, 0, 2]));
        }
        states
    }

    /// Runs a recurrent layer on (frames, rows, width).
    fn recurrent_layer(&mut self, layer: usize, x: &str) -> Value {
        let a = self.architecture();
        let units = a.lstm_units();
        let directions = a.lstm_directions();
        let width = a.layer_width(layer);
        let mut input_weights = vec![];
        let mut state_weights = vec![];
        let mut biases = vec![];
        for suffix in &["", "_reverse"][..directions] {
            let tensor = |name: &str| format!("encoder.lstm.{name}_l{layer}{suffix}");
            input_weights.extend(onnx_gates(&self.tensor(&tensor("weight_ih"))));
            state_weights.extend(onnx_gates(&self.tensor(&tensor("weight_hh"))));
            biases.extend(onnx_gates(&self.tensor(&tensor("bias_ih"))));
            biases.extend(onnx_gates(&self.tensor(&tensor("bias_hh"))));
        }
        let input = self.weight(&[directions, 4 * units, width], &input_weights);
        let state = self.weight(&[directions, 4 * units, units], &state_weights);
        let bias = self.graph.floats(&[directions, 8 * units], &biases);
        let direction = if directions == 2 {
            "bidirectional"
        } else {
            "forward"
        };
        let y = self.graph.op(
            "LSTM",
            &[x, &input, &state, &bias],
            &[
                ("hidden_size", Attribute::Int(units as i64)),
                ("direction", Attribute::Text(direction)),
            ],
        );
        let y = self.transpose(&y, &[0, 2, 1, 3]); // (frames, rows, directions, units)
        self.reshape(&y, &[0, 0, (directions * units) as i64])
    }
}

/// Reorders PyTorch's gates (input, forget, cell, output) to ONNX's (input, output, forget, cell).
fn onnx_gates(values: &[f32]) -> Vec<f32> {
    let quarter = values.len() / 4;
    let gate = |i: usize| &values[i * quarter..(i + 1) * quarter];
    [gate(0), gate(3), gate(1), gate(2)].concat()
}
