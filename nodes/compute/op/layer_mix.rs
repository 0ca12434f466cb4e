//! y = Σ_l p_l x_l with p = softmax(w): the weighted sum of a frozen model's layers, as SUPERB's
//! heads read them (Yang et al. 2021, arXiv:2105.01051). x_l, y (frames, width), w (layers).
//!   dw_l = p_l (g_l - Σ_k p_k g_k) with g_l = Σ x_l ∘ dy
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use crate::tensor::{DeviceStorage, Hidden, Matrix, NoneTape, Param, Track, len, record_hidden};

/// What a device must do for [`layer_mix`].
pub trait LayerMixDevice: DeviceStorage {
    /// Returns y and p.
    fn forward(
        layers: &[Matrix<NoneTape, Self>],
        w: &Param<Self>,
    ) -> (Matrix<NoneTape, Self>, Vec<f32>);

    /// Adds to the gradient of w.
    fn backward(
        dy: Self::Upstream,
        layers: &[Matrix<NoneTape, Self>],
        p: &[f32],
        dw: Self::Accumulator<'_>,
    );
}

/// Returns the sum of layers, each multiplied by its share of the softmax of `w`.
///
/// No gradient reaches the layers.
///
/// # Panics
/// If there is no layer, not one weight a layer, or if layers have other frames or another width.
pub fn layer_mix<T: Track<D>, D: LayerMixDevice>(
    layers: Vec<Hidden<NoneTape, D>>,
    w: &Param<D>,
    tape: T,
) -> Hidden<T, D> {
    assert_eq!(layers.len(), len(w), "one weight a layer");
    let spans = layers[0].spans.clone();
    let width = layers[0].width();
    let mut matrices = vec![];
    for layer in layers {
        assert_eq!(layer.spans, spans, "layers of other frames");
        assert_eq!(layer.width(), width, "layers of another width");
        matrices.push(layer.values);
    }
    let (y, p) = D::forward(&matrices, w);
    let w = w.clone();
    record_hidden(y, spans, tape, move |dy, g| {
        D::backward(dy, &matrices, &p, g.of(&w));
    })
}

/// Returns softmax(w) in f32, computed in f64.
fn softmax(w: &[f32]) -> Vec<f32> {
    let largest = w.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = w.iter().map(|w| f64::from(w - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|x| (x / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, check_op, close, noise};
    use crate::tensor::NoneTape;
    use crate::tensor::cpu::{hidden, read};

    #[test]
    fn layer_mix_is_its_formula_and_its_gradient() {
        for (rows, width, count) in [(&ROWS[..], 7, 3), (&[4000], 12, 2), (&[0], 5, 4)] {
            let case = Case::new(rows, width, &[count]);
            let spans = case.x.spans.clone();
            let numbers: Vec<Vec<f32>> = (0..count)
                .map(|l| noise(&format!("layer{l}"), spans.total() * width))
                .collect();
            let powers: Vec<f64> = read(&case.p[0])
                .iter()
                .map(|w| f64::from(*w).exp())
                .collect();
            let sum: f64 = powers.iter().sum();
            let mut reference = vec![0.0; spans.total() * width];
            for (layer, power) in numbers.iter().zip(&powers) {
                for (y, x) in reference.iter_mut().zip(layer) {
                    *y += power / sum * f64::from(*x);
                }
            }
            let layers = numbers.iter().cloned();
            let layers = layers.map(|x| hidden(x, width, spans.clone())).collect();
            let y = layer_mix(layers, &case.p[0], NoneTape);
            close(y.read(), &reference, 1e-6);
            check_op!(case, |_, p, tape, _| {
                let layers = numbers.iter().cloned();
                let layers = layers.map(|x| hidden(x, width, spans.clone())).collect();
                layer_mix(layers, &p[0], tape.clone()).values
            });
        }
    }
}
