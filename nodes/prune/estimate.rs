//! The size that pruning aims at, before it is known which units will stay.
use super::{Finalize, Pruning, expected, vectors};
use crate::model::{Architecture, Unit};
use std::collections::BTreeMap;

impl Pruning {
    /// Estimates the architecture at the target sparsity.
    ///
    /// Every gate vector keeps the same share of its units, rounded down: the largest share whose
    /// parameters fit. A convolution keeps a channel at least. Of whole sub-layers the first ones
    /// stay.
    pub fn estimate(&self) -> Architecture {
        let a = &self.architecture;
        let share = self.largest_share();
        let mut pruned = a.clone();
        if self.units.contains(&Unit::Conv) {
            if self.finalize == Finalize::Exact && a.feat_proj_layer_norm {
                pruned.feature_norm_width.get_or_insert(a.channels());
            }
            pruned.feature_dummy_weight = true;
            for channels in &mut pruned.conv_dim {
                *channels = ((*channels as f64 * share) as usize).max(1);
            }
        }
        let heads = |layer| a.heads(layer);
        let heads_left = self.units_left(share, Unit::AttentionLayer, Unit::Head, heads);
        for (layer, n) in heads_left.into_iter().flatten().enumerate() {
            pruned.keep_heads(layer, &Vec::from_iter(0..n));
        }
        let inner = |layer| a.ffn(layer);
        let inner_left = self.units_left(share, Unit::FfnLayer, Unit::Ffn, inner);
        for (layer, n) in inner_left.into_iter().flatten().enumerate() {
            pruned.keep_ffn(layer, n);
        }
        pruned
    }

    /// Finds the largest share of open units whose parameters fit, by bisection.
    fn largest_share(&self) -> f64 {
        let a = &self.architecture;
        let full = expected::parameters(a, &BTreeMap::new()).count;
        let vectors = vectors(a, &self.units);
        let mut low = 0.0;
        let mut high = 1.0;
        for _ in 0..40 {
            let share = (low + high) / 2.0;
            let open = vectors
                .iter()
                .map(|(vector, &n)| (vector.clone(), n as f64 * share))
                .collect();
            if expected::parameters(a, &open).count > full * (1.0 - self.sparsity) {
                high = share;
            } else {
                low = share;
            }
        }
        low
    }

    /// Returns the units that stay in each layer, which has `units_of` them before; `None` if
    /// neither they nor the sub-layer as a whole have gates.
    fn units_left(
        &self,
        share: f64,
        sub_layer: Unit,
        unit: Unit,
        units_of: impl Fn(usize) -> usize,
    ) -> Option<Vec<usize>> {
        if !self.units.contains(&sub_layer) && !self.units.contains(&unit) {
            return None;
        }
        let kept = |gated: Unit, n: usize| {
            if self.units.contains(&gated) {
                (n as f64 * share) as usize
            } else {
                n
            }
        };
        let layers = 0..self.architecture.num_hidden_layers;
        let present = layers.clone().filter(|&layer| units_of(layer) > 0).count();
        let mut sub_layers_to_keep = kept(sub_layer, present);
        let mut left = vec![];
        for layer in layers {
            let n = if sub_layers_to_keep > 0 {
                units_of(layer)
            } else {
                0
            };
            sub_layers_to_keep -= n.min(1);
            left.push(kept(unit, n));
        }
        Some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::count;

    #[test]
    fn whole_layers_and_units_go_together() {
        for name in ["hubert-base", "wavlm-base"] {
            let architecture = Architecture::named(name).expect("known");
            let unpruned = count::parameters(&architecture) as f64;
            let estimate = |units: &[Unit], sparsity: f64| {
                let architecture = architecture.clone();
                Pruning {
                    architecture,
                    units: units.to_vec(),
                    sparsity,
                    finalize: Finalize::Exact,
                }
                .estimate()
            };
            let [conv, head, ffn] = [Unit::Conv, Unit::Head, Unit::Ffn];
            let five = estimate(
                &[Unit::FfnLayer, Unit::AttentionLayer, conv, head, ffn],
                0.75,
            );
            assert_eq!(
                five,
                estimate(
                    &[conv, head, ffn, Unit::AttentionLayer, Unit::FfnLayer],
                    0.75
                )
            );
            let share = count::parameters(&five) as f64 / unpruned;
            assert!((0.18..0.25).contains(&share), "{share}");
            assert!(
                five.heads(0) > 0 && five.heads(0) < 12 && five.heads(11) == 0 && five.ffn(11) == 0
            );

            let attention = estimate(&[Unit::AttentionLayer], 0.15);
            let heads: Vec<usize> = (0..12).map(|l| attention.heads(l)).collect();
            assert_eq!(heads, [12, 12, 12, 12, 12, 12, 0, 0, 0, 0, 0, 0]);
            assert_eq!(
                (0..12).map(|l| attention.ffn(l)).collect::<Vec<_>>(),
                [3072; 12]
            );
        }
    }
}
