//! The attention of a layer, and the maps that layers hand on.
use super::Forward;
use crate::model::Unit;
use crate::model::components::{ComponentKind, POSITION_TABLE};
use compute::math::Dropout;
use compute::op::{
    Branch, Map, PositionBias, attend, attention_map, linear, map_softmax, position_gate,
    self_attention,
};
use compute::tensor::{Device, Hidden, Track, param};
use std::collections::BTreeMap;

/// The attention map of a layer, before dropout.
pub type LayerMap<T> = Map<T, Device>;

/// The attention maps of a pass.
pub(super) struct AttentionMaps<'a, T: Track> {
    /// Layers whose maps are returned, from 1.
    wanted: &'a [usize],
    found: BTreeMap<usize, LayerMap<T>>,
    /// The map of the nearest layer before that computed one to hand on.
    latest: Option<LayerMap<T>>,
}

impl<'a, T: Track> AttentionMaps<'a, T> {
    pub(super) fn new(wanted: &'a [usize]) -> Self {
        AttentionMaps {
            wanted,
            found: BTreeMap::new(),
            latest: None,
        }
    }

    /// Whether the map of layer `l`, from 0, is returned.
    pub(super) fn wants(&self, l: usize) -> bool {
        self.wanted.contains(&(l + 1))
    }

    /// Keeps the map with which layer `l`, from 0, attends, if it is returned.
    fn keep(&mut self, l: usize, map: &LayerMap<T>) {
        if self.wants(l) {
            self.found.insert(l + 1, map.clone());
        }
    }

    /// Returns the wanted maps, without those of layers that have no attention.
    pub(super) fn take(mut self) -> Vec<LayerMap<T>> {
        let layers = self.wanted.iter();
        layers
            .filter_map(|layer| self.found.remove(layer))
            .collect()
    }
}

impl<T: Track> Forward<'_, T> {
    /// Returns `None` if the attention is gone and has left no bias.
    pub(super) fn attention(
        &self,
        l: usize,
        x: Hidden<T>,
        maps: &mut AttentionMaps<T>,
    ) -> Option<Branch<T>> {
        let a = &self.model.architecture;
        let prefix = ComponentKind::Attention(l).prefix();
        if a.heads(l) == 0 {
            return self.bias_alone(&x, &format!("{prefix}out_proj.bias"));
        }
        let branch = if a.reuses_attention(l) {
            let map = maps.latest.clone();
            let map = map.unwrap_or_else(|| unreachable!("a layer before it computed a map"));
            let map = if a.reuse_as_released {
                map_softmax(map)
            } else {
                map
            };
            maps.keep(l, &map);
            self.attention_by_map(l, x, map, Dropout::NONE)
        } else if a.hands_on_attention(l) || maps.wants(l) {
            let map = self.attention_map(l, x.clone());
            maps.keep(l, &map);
            maps.latest = Some(map.clone());
            let drop = self.drops.at(a.attention_dropout, 4 + 4 * l);
            self.attention_by_map(l, x, map, drop)
        } else {
            self.whole_attention(l, x)
        };
        Some(self.scaled_by_gate(branch, Unit::AttentionLayer, l))
    }

    /// Attends without a map in memory.
    fn whole_attention(&self, l: usize, x: Hidden<T>) -> Branch<T> {
        let a = &self.model.architecture;
        let names = [
            "q_proj.weight",
            "q_proj.bias",
            "k_proj.weight",
            "k_proj.bias",
            "v_proj.weight",
            "v_proj.bias",
            "out_proj.weight",
            "out_proj.bias",
        ];
        let prefix = ComponentKind::Attention(l).prefix();
        let no_bias = param(vec![0.0; a.hidden_size]);
        let weights = names.map(|name| {
            let found = self.model.weights.find(&format!("{prefix}{name}"));
            // Whisper's keys have none.
            found.unwrap_or(&no_bias)
        });
        let gate = self.gate(Unit::Head, l);
        let bias = self.position_bias(l, &x);
        let drop = self.drops.at(a.attention_dropout, 4 + 4 * l);
        self_attention(x, weights, a.heads(l), gate, bias, drop, self.precision)
    }

    /// Returns the map of a layer's own queries and keys.
    fn attention_map(&self, l: usize, x: Hidden<T>) -> LayerMap<T> {
        let prefix = ComponentKind::Attention(l).prefix();
        let names = [
            "q_proj.weight",
            "q_proj.bias",
            "k_proj.weight",
            "k_proj.bias",
        ];
        let [wq, bq, wk, bk] = self.model.weights.all(&prefix, names);
        let q = linear(x.clone(), wq, bq, self.precision);
        let k = linear(x.clone(), wk, bk, self.precision);
        let heads = self.model.architecture.heads(l);
        attention_map([q, k], heads, self.position_bias(l, &x), self.precision)
    }

    /// Attends to a layer's values with a map.
    fn attention_by_map(
        &self,
        l: usize,
        x: Hidden<T>,
        map: LayerMap<T>,
        drop: Dropout,
    ) -> Branch<T> {
        let prefix = ComponentKind::Attention(l).prefix();
        let names = [
            "v_proj.weight",
            "v_proj.bias",
            "out_proj.weight",
            "out_proj.bias",
        ];
        let [wv, bv, wo, bo] = self.model.weights.all(&prefix, names);
        let v = linear(x, wv, bv, self.precision);
        let o = attend(map, v, self.gate(Unit::Head, l), drop, self.precision);
        Branch::of(linear(o, wo, bo, self.precision))
    }

    /// Returns WavLM's bias, if the model has it: every layer gates the shared table by its own
    /// input.
    fn position_bias(&self, l: usize, x: &Hidden<T>) -> Option<PositionBias<'_, T>> {
        let a = &self.model.architecture;
        if !a.has_position_bias() {
            return None;
        }
        let weights = &self.model.weights;
        let columns = a.remaining_heads(l);
        let names = [
            "gru_rel_pos_linear.weight",
            "gru_rel_pos_linear.bias",
            "gru_rel_pos_const",
        ];
        let prefix = ComponentKind::Attention(l).prefix();
        let gate = position_gate(x.clone(), weights.all(&prefix, names), &columns);
        Some(PositionBias {
            table: weights.get(POSITION_TABLE),
            columns,
            buckets: a.num_buckets,
            farthest: a.max_bucket_distance,
            gate,
        })
    }
}
