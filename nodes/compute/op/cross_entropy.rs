//! Cross entropy of a classifier's logits and labels, a mean over frames with weights w, all 1 if
//! none are given:
//!   y = Σ_t w_t (ln Σ_c exp x_tc - x_t,label) / Σ_t w_t
//!   dx_tc = w_t (softmax(x_t)_c - [c = label]) / Σ_t w_t
//! x (frames, classes), labels and w (frames). The largest logit of a frame is subtracted before
//! exponents are taken, so none overflows.
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use crate::tensor::{DeviceStorage, Hidden, Matrix, NoneTape, Number, Track, record};

/// The label and weight of each frame.
pub struct WeightedLabels {
    labels: Vec<usize>,
    weights: Vec<f32>,
    /// 1 / Σ w, or 0 if all weights are 0
    unit: f64,
}

/// What a device must do for [`cross_entropy`].
pub trait CrossEntropyDevice: DeviceStorage {
    /// What the backward pass needs beside x.
    type Saved: 'static;

    /// Returns y. A frame of weight 0 may have any label.
    fn forward(
        x: &Matrix<NoneTape, Self>,
        labels: WeightedLabels,
    ) -> (Number<NoneTape, Self>, Self::Saved);

    /// Adds to the gradient of x.
    fn backward(
        dy: Self::Upstream,
        x: &Matrix<NoneTape, Self>,
        saved: &Self::Saved,
        dx: Self::Accumulator<'_>,
    );
}

/// Returns the weighted mean of -ln of the probability of each frame's label.
///
/// A frame of weight 0 is left out, whatever its label. If all are left out, y is 0.
///
/// # Panics
/// If there is not one label and one weight for each frame, or if the label of a frame with a
/// weight is not below the number of classes.
pub fn cross_entropy<T: Track<D>, D: CrossEntropyDevice>(
    logits: Hidden<T, D>,
    labels: &[u32],
    weights: Option<&[f32]>,
) -> Number<T, D> {
    let (x, tape) = logits.split();
    let labels = WeightedLabels::new(labels, weights, x.spans.total(), x.width());
    let x = x.values;
    let (y, saved) = D::forward(&x, labels);
    record(y, tape, move |dy, g| {
        D::backward(dy, &x, &saved, g.of(&x));
    })
}

impl WeightedLabels {
    /// Panics as [`cross_entropy`].
    fn new(labels: &[u32], weights: Option<&[f32]>, frames: usize, classes: usize) -> Self {
        let weights = weights.map_or_else(|| vec![1.0; frames], <[f32]>::to_vec);
        assert_eq!(
            (labels.len(), weights.len()),
            (frames, frames),
            "labels and weights are one a frame"
        );
        for (label, weight) in labels.iter().zip(&weights) {
            assert!(
                *weight == 0.0 || (*label as usize) < classes,
                "label {label} of {classes} classes"
            );
        }
        let total: f64 = weights.iter().map(|w| *w as f64).sum();
        WeightedLabels {
            labels: labels.iter().map(|label| *label as usize).collect(),
            weights,
            unit: if total > 0.0 { 1.0 / total } else { 0.0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, check_op, close, noise};
    use crate::tensor::Spans;
    use crate::tensor::cpu::{Tape, backward, hidden, read};

    #[test]
    fn cross_entropy_is_its_formula_and_its_gradient() {
        for width in [5, 7, 11, 40] {
            let case = Case::new(&ROWS, width, &[]);
            let frames = case.x.spans.total();
            let labels: Vec<u32> = (0..frames).map(|t| (t * 7 % width) as u32).collect();
            let random: Vec<f32> = noise("w", frames).iter().map(|w| w.max(0.0)).collect();
            assert!(random.contains(&0.0));
            let counts: Vec<f32> = (0..frames).map(|t| (t % 4) as f32).collect();
            for weights in [None, Some(&random[..]), Some(&counts)] {
                let mut sum = 0.0;
                let mut total = 0.0;
                for (t, x) in case.frames().chunks(width).enumerate() {
                    let weight = weights.map_or(1.0, |w| w[t] as f64);
                    let exponents = x.iter().map(|x| x.exp()).sum::<f64>();
                    sum -= weight * (x[labels[t] as usize].exp() / exponents).ln();
                    total += weight;
                }
                let y = cross_entropy(case.x.clone(), &labels, weights);
                close(read(&y), &[sum / total], 1e-6);
                check_op!(case, |x, _, _, _| cross_entropy(x, &labels, weights));
            }
            let none = vec![0.0; frames];
            check_op!(case, |x, _, _, _| cross_entropy(x, &labels, Some(&none)));
        }
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let x = hidden(
            vec![1e4, -1e4, 0.0, 0.0, 3.0, 3.0],
            2,
            Spans::new([1, 0, 2]),
        );
        let weights = Some(&[1.0, 0.0, 0.0][..]);
        let y = cross_entropy(x.clone(), &[1, 0, 1], weights);
        assert_eq!(read(&y), [2e4]);
        let loss = cross_entropy(x.on(&Tape::default()), &[0, 9, 9], weights);
        assert_eq!(read(&loss), [0.0]);
        let dx = backward(loss, 1.0).take(&x.values);
        assert!(dx.iter().all(|d| d.abs() < 1e-30));
    }

    #[test]
    fn without_weights_or_frames_it_is_zero() {
        let x = hidden(vec![0.0, 0.0, 3.0, 3.0], 2, Spans::new([1, 1]));
        assert_eq!(read(&cross_entropy(x, &[9; 2], Some(&[0.0; 2]))), [0.0]);
        let empty = hidden(vec![], 2, Spans::new([0, 0]));
        assert_eq!(read(&cross_entropy(empty, &[], None)), [0.0]);
    }

    #[test]
    #[should_panic(expected = "label 2 of 2 classes")]
    fn a_label_beyond_the_classes() {
        cross_entropy(hidden(vec![0.0; 2], 2, Spans::new([1])), &[2], None);
    }
}
