//! What the end of a phase tells about the pruned student.
use super::node::Student;
use crate::data::audio::resample::RATE;
use crate::model::{Forward, Model, OPEN, count};
use crate::prune::Finalize;
use crate::prune::shrink::Fixed;
use compute::gemm::Precision;
use compute::tensor::{Hidden, Vector, param, read};
use std::collections::BTreeMap;

impl Student {
    /// Returns a sentence with the parameters before and after the cut, and how far it moved the
    /// hidden states of a second of noise.
    pub(super) fn describe_cut(&self, small: &Model, gates: &Fixed, finalize: Finalize) -> String {
        let moved = self.largest_move(small, gates);
        let before = count::parameters(&self.model.architecture);
        let after = count::parameters(&small.architecture);
        let sparsity = 1.0 - after as f64 / before as f64;
        let manner = match finalize {
            Finalize::Exact => "exactly",
            Finalize::Reference => "as the reference does",
        };
        format!(
            "cut {manner} from {before} to {after} parameters, sparsity {sparsity:.4}; hidden \
             states moved by at most {moved:.1e}"
        )
    }

    /// Returns the largest difference between the hidden states of the gated and of the small
    /// model, on a second of noise.
    fn largest_move(&self, small: &Model, gates: &Fixed) -> f32 {
        let noise: Vec<f32> = (0..RATE as u64)
            .map(|i| 0.1 * self.noise.normal(u64::MAX, i))
            .collect();
        let gates: BTreeMap<String, Vector> = gates
            .iter()
            .map(|(name, values)| (name.clone(), param(values.clone())))
            .collect();
        let layers: Vec<usize> = (0..=self.model.architecture.num_hidden_layers).collect();
        let gated = Forward::frozen(&self.model, &gates, Precision::F32);
        let gated_hiddens = gated.hiddens(&[&noise], &layers, self.convention);
        let small = Forward::frozen(small, OPEN, Precision::F32);
        let small_hiddens = small.hiddens(&[&noise], &layers, self.convention);
        gated_hiddens
            .iter()
            .zip(&small_hiddens)
            .map(|(gated, small)| largest_difference(gated, small))
            .fold(0.0, f32::max)
    }
}

fn largest_difference(a: &Hidden, b: &Hidden) -> f32 {
    let a = read(&a.values);
    let b = read(&b.values);
    let differences = a.iter().zip(b.iter()).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max)
}
