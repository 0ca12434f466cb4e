//! The size that pruning aims at, before it is known which units will stay.
use super::{Finalize, Pruning, Unit, expected, vectors};
use crate::model::Architecture;
use std::collections::BTreeMap;

impl Pruning {
    /// The architecture at the target: of each vector the same share, rounded down (at least one channel), the largest
    /// share whose parameters fit. Of whole sub-layers that share of the layers, the first ones.
    pub fn estimate(&self) -> Architecture {
        let (a, share) = (&self.architecture, self.share());
        let mut to = a.clone();
        if self.units.contains(&Unit::Conv) {
            if self.finalize == Finalize::Exact && a.feat_proj_layer_norm {
                to.feature_norm_width.get_or_insert(a.channels());
            }
            to.feature_dummy_weight = true;
            to.conv_dim
                .iter_mut()
                .for_each(|n| *n = ((*n as f64 * share) as usize).max(1));
        }
        if let Some(heads) = self.left(share, [Unit::AttentionLayer, Unit::Head], |l| a.heads(l)) {
            heads
                .iter()
                .enumerate()
                .for_each(|(l, &n)| to.keep_heads(l, &(0..n).collect::<Vec<_>>()));
        }
        to.encoder_ff_interm_features = self
            .left(share, [Unit::FfnLayer, Unit::Ffn], |l| a.ffn(l))
            .or(to.encoder_ff_interm_features);
        to
    }

    fn share(&self) -> f64 {
        let a = &self.architecture;
        let full = expected::parameters(a, &BTreeMap::new()).count;
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..40 {
            let share = (low + high) / 2.0;
            let open = vectors(a, &self.units)
                .into_iter()
                .map(|(v, n)| (v, n as f64 * share))
                .collect();
            let left = expected::parameters(a, &open).count;
            *(if left > full * (1.0 - self.sparsity) {
                &mut high
            } else {
                &mut low
            }) = share;
        }
        low
    }

    /// Of `n` units in each layer those that stay, where they or the sub-layer as a whole may go.
    fn left(
        &self,
        share: f64,
        [whole, each]: [Unit; 2],
        n: impl Fn(usize) -> usize,
    ) -> Option<Vec<usize>> {
        let of = |unit, n: usize| {
            if self.units.contains(&unit) {
                (n as f64 * share) as usize
            } else {
                n
            }
        };
        let layers = 0..self.architecture.num_hidden_layers;
        let mut stay = of(whole, layers.clone().filter(|&l| n(l) > 0).count());
        let left = |l| {
            let here = if stay > 0 { n(l) } else { 0 };
            stay -= here.min(1);
            of(each, here)
        };
        [whole, each]
            .iter()
            .any(|u| self.units.contains(u))
            .then(|| layers.map(left).collect())
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
            let all = count::parameters(&architecture) as f64;
            let of = |units: &[Unit], sparsity: f64| {
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
            let five = of(
                &[Unit::FfnLayer, Unit::AttentionLayer, conv, head, ffn],
                0.75,
            );
            assert_eq!(
                five,
                of(
                    &[conv, head, ffn, Unit::AttentionLayer, Unit::FfnLayer],
                    0.75
                )
            );
            let share = count::parameters(&five) as f64 / all;
            assert!((0.18..0.25).contains(&share), "{share}");
            assert!(
                five.heads(0) > 0 && five.heads(0) < 12 && five.heads(11) == 0 && five.ffn(11) == 0
            );

            let attention = of(&[Unit::AttentionLayer], 0.15);
            let heads: Vec<usize> = (0..12).map(|l| attention.heads(l)).collect();
            assert_eq!(heads, [12, 12, 12, 12, 12, 12, 0, 0, 0, 0, 0, 0]);
            assert_eq!(
                (0..12).map(|l| attention.ffn(l)).collect::<Vec<_>>(),
                [3072; 12]
            );
        }
    }
}
