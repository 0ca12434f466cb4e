//! Self-attention, maps that layers reuse, and WavLM's gated bias by relative position.
use super::builder::Builder;
use super::graph::{Attribute, Value};
use super::layers::LayerContext;
use compute::op::bucket;

/// The table of biases of all layers, (buckets, heads).
const POSITION_TABLE: &str = "encoder.layers.0.attention.rel_attn_embed.weight";

impl Builder<'_> {
    /// Returns `None` if the attention is gone and has left no bias.
    pub(super) fn attention(
        &mut self,
        layer: usize,
        x: &str,
        context: &mut LayerContext,
    ) -> Option<Value> {
        let a = self.architecture();
        let prefix = format!("encoder.layers.{layer}.attention.");
        if a.heads(layer) == 0 {
            return self.bias_alone(&format!("{prefix}out_proj.bias"));
        }
        let reused = context
            .latest_map
            .clone()
            .filter(|_| a.reuses_attention(layer));
        let map = match reused {
            Some(map) if a.reuse_as_released => self.softmax(&map),
            Some(map) => map,
            None => {
                let map = self.attention_map(layer, x, context);
                context.latest_map = Some(map.clone());
                map
            }
        };
        let values = self.linear(x, &format!("{prefix}v_proj."));
        let values = self.split_heads(&values, layer, &[0, 2, 1, 3]);
        let mixed = self.op("MatMul", &[&map, &values]);
        let mixed = self.transpose(&mixed, &[0, 2, 1, 3]);
        let width = (a.heads(layer) * a.head_dim()) as i64;
        let mixed = self.reshape(&mixed, &[0, 0, width]);
        Some(self.linear(&mixed, &format!("{prefix}out_proj.")))
    }

    /// Returns the map of a layer's own queries and keys, (rows, heads, frames, frames).
    fn attention_map(&mut self, layer: usize, x: &str, context: &LayerContext) -> Value {
        let a = self.architecture();
        let prefix = format!("encoder.layers.{layer}.attention.");
        let queries = self.linear(x, &format!("{prefix}q_proj."));
        let scale = self.graph.float((a.head_dim() as f32).powf(-0.5));
        let queries = self.op("Mul", &[&queries, &scale]);
        let queries = self.split_heads(&queries, layer, &[0, 2, 1, 3]);
        let keys = self.linear(x, &format!("{prefix}k_proj."));
        let keys = self.split_heads(&keys, layer, &[0, 2, 3, 1]);
        let mut scores = self.op("MatMul", &[&queries, &keys]);
        if let Some(bias) = &context.position_bias {
            let bias = self.gated_bias(layer, x, bias);
            scores = self.op("Add", &[&scores, &bias]);
        }
        self.softmax(&scores)
    }

    /// Splits channels to heads, and orders (rows, frames, heads, channels).
    fn split_heads(&mut self, x: &str, layer: usize, order: &[usize]) -> Value {
        let a = self.architecture();
        let heads = a.heads(layer) as i64;
        let x = self.reshape(x, &[0, 0, heads, a.head_dim() as i64]);
        self.transpose(&x, order)
    }

    fn softmax(&mut self, x: &str) -> Value {
        self.graph
            .op("Softmax", &[x], &[("axis", Attribute::Int(-1))])
    }

    /// Returns the biases of all heads by relative position, if the model has them, for as many
    /// frames as x has.
    ///
    /// Distances beyond the farthest have its bucket, so a table by distance up to it is enough.
    pub(super) fn position_bias(&mut self, x: &str) -> Option<Value> {
        let a = self.architecture();
        if !a.has_position_bias() {
            return None;
        }
        let table = self.find(POSITION_TABLE)?;
        let heads = a.num_attention_heads;
        let farthest = a.max_bucket_distance as isize;
        let mut by_distance = vec![];
        for distance in -farthest..=farthest {
            let bucket = bucket(distance, a.num_buckets, a.max_bucket_distance);
            by_distance.extend_from_slice(&table[bucket * heads..][..heads]);
        }
        let distances = by_distance.len() / heads;
        let by_distance = self.weight(&[distances, heads], &by_distance);

        let shape = self.op("Shape", &[x]);
        let one = self.graph.int(1);
        let zero = self.graph.int(0);
        let frames = self.op("Gather", &[&shape, &one]);
        let places = self.op("Range", &[&zero, &frames, &one]);
        let axis = self.graph.ints(&[1]);
        let queries = self.op("Unsqueeze", &[&places, &axis]);
        let distance = self.op("Sub", &[&places, &queries]);
        let least = self.graph.int(-(farthest as i64));
        let most = self.graph.int(farthest as i64);
        let distance = self.op("Clip", &[&distance, &least, &most]);
        let place = self.op("Add", &[&distance, &most]);
        let biases = self.op("Gather", &[&by_distance, &place]);
        Some(self.transpose(&biases, &[2, 0, 1]))
    }

    /// Scales the bias of a layer's heads by their gates: a (b c - 1) + 2, where a and b are the
    /// sigmoids of two maps of a head's channels of x.
    fn gated_bias(&mut self, layer: usize, x: &str, bias: &str) -> Value {
        let a = self.architecture();
        let prefix = format!("encoder.layers.{layer}.attention.");
        let width = a.head_dim();
        let total_heads = a.num_attention_heads;
        let weight = self.tensor(&format!("{prefix}gru_rel_pos_linear.weight"));
        let offset = self.tensor(&format!("{prefix}gru_rel_pos_linear.bias"));
        let per_head = self.reshape(x, &[0, 0, total_heads as i64, width as i64]);
        let per_head = self.transpose(&per_head, &[0, 2, 1, 3]);
        let [a_gate, b_gate] = [0, 4].map(|first| {
            let rows = first..first + 4;
            let sum = |i: usize| rows.clone().map(|row| weight[row * width + i]).sum::<f32>();
            let summed: Vec<f32> = (0..width).map(sum).collect();
            let offset = rows.clone().map(|row| offset[row]).sum::<f32>();
            let summed = self.graph.floats(&[width, 1], &summed);
            let offset = self.graph.float(offset);
            let mapped = self.op("MatMul", &[&per_head, &summed]);
            let mapped = self.op("Add", &[&mapped, &offset]);
            self.op("Sigmoid", &[&mapped])
        });
        let constant = self.tensor(&format!("{prefix}gru_rel_pos_const"));
        let constant = self.graph.floats(&[1, total_heads, 1, 1], &constant);
        let one = self.graph.float(1.0);
        let two = self.graph.float(2.0);
        let gate = self.op("Mul", &[&b_gate, &constant]);
        let gate = self.op("Sub", &[&gate, &one]);
        let gate = self.op("Mul", &[&a_gate, &gate]);
        let gate = self.op("Add", &[&gate, &two]);
        let heads = a.remaining_heads(layer);
        if heads.len() == total_heads {
            return self.op("Mul", &[&gate, bias]);
        }
        let heads: Vec<i64> = heads.into_iter().map(|head| head as i64).collect();
        let heads = self.graph.ints(&heads);
        let axis = [("axis", Attribute::Int(1))];
        let gate = self.graph.op("Gather", &[&gate, &heads], &axis);
        let bias = self.op("Gather", &[bias, &heads]);
        self.op("Mul", &[&gate, &bias])
    }
}
