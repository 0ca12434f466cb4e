//! How unlikely a classifier finds the labels, a mean over frames with weights w, all 1 if none are given:
//!   y = Σ_t w_t (ln Σ_c exp x_tc - x_t,label) / Σ_t w_t      dx_tc = w_t (softmax(x_t)_c - [c = label]) / Σ_t w_t
//! x (frames, classes), labels and w (frames). Exponents are taken off the largest of a frame, so none overflows.
#[cfg(feature = "cuda")]
pub mod cuda;
use crate::math::{exp, largest, sum};
use crate::parallel::{map, parts, wide};
use crate::tensor::cpu::{Hidden, Number, Track, record};

/// A frame of weight 0 does not count, whatever its label. If no frame counts, y is 0.
///
/// # Panics
/// If labels or weights are not one a frame, or the label of a frame that counts is not below the number of classes.
pub fn cross_entropy<T: Track>(
    logits: Hidden<T>,
    labels: &[u32],
    weights: Option<&[f32]>,
) -> Number<T> {
    let (x, tape) = logits.split();
    let (frames, classes) = (x.spans.total(), x.width());
    let (labels, weights, unit) = counting(labels, weights, [frames, classes]);
    let frame = move |t: usize| t * classes..(t + 1) * classes;
    let values = map(frames, |t| match weights[t] {
        0.0 => 0.0,
        weight => {
            weight as f64
                * Softmax::of(&x.read()[frame(t)]).surprise(x.read()[frame(t)][labels[t]]) as f64
        }
    });
    record(
        vec![(values.iter().sum::<f64>() * unit) as f32],
        (),
        tape,
        move |dy, g| {
            parts(g.of(&x.values), classes, |t, d| {
                let scale = dy[0] * weights[t] * unit as f32;
                if scale != 0.0 {
                    Softmax::of(&x.read()[frame(t)]).pull(&x.read()[frame(t)], scale, d);
                    d[labels[t]] -= scale;
                }
            });
        },
    )
}

/// Labels, the weight of each frame, and 1 / Σ w, or 0 if no frame counts. Panics as [`cross_entropy`] says.
pub fn counting(
    labels: &[u32],
    weights: Option<&[f32]>,
    [frames, classes]: [usize; 2],
) -> (Vec<usize>, Vec<f32>, f64) {
    let weights = weights.map_or_else(|| vec![1.0; frames], <[f32]>::to_vec);
    assert_eq!(
        (labels.len(), weights.len()),
        (frames, frames),
        "labels and weights are one a frame"
    );
    let counting = labels.iter().zip(&weights).filter(|(_, w)| **w != 0.0);
    counting.for_each(|(label, _)| {
        assert!(
            (*label as usize) < classes,
            "label {label} of {classes} classes"
        )
    });
    let total: f64 = weights.iter().map(|w| *w as f64).sum();
    let unit = if total > 0.0 { 1.0 / total } else { 0.0 };
    (
        labels.iter().map(|label| *label as usize).collect(),
        weights,
        unit,
    )
}

/// softmax(x)_c = exp(x_c - max) / total
struct Softmax {
    max: f32,
    total: f32,
}

impl Softmax {
    fn of(x: &[f32]) -> Self {
        wide!({
            let max = largest(x);
            Softmax {
                max,
                total: sum(x.len(), |c| exp(x[c] - max)),
            }
        })
    }
    /// -ln of the probability of a class of logit `x`
    fn surprise(&self, x: f32) -> f32 {
        self.total.ln() + (self.max - x)
    }
    /// d += scale softmax(x)
    fn pull(&self, x: &[f32], scale: f32, d: &mut [f32]) {
        let scale = scale / self.total;
        wide!(
            d.iter_mut()
                .zip(x)
                .for_each(|(d, x)| *d += scale * exp(x - self.max))
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, WIDTHS, close, noise};
    use crate::tensor::cpu::{Spans, Tape, backward, hidden, read};

    #[test]
    fn cross_entropy_is_its_formula_and_its_gradient() {
        for width in WIDTHS.into_iter().chain([40]) {
            let case = Case::new(&ROWS, width, &[]);
            let frames = case.x.spans.total();
            let labels: Vec<u32> = (0..frames).map(|t| (t * 7 % width) as u32).collect();
            let weights: Vec<f32> = noise("w", frames).iter().map(|w| w.max(0.0)).collect();
            assert!(weights.contains(&0.0));
            for weights in [None, Some(&weights[..])] {
                let (mut surprise, mut total) = (0.0, 0.0);
                for (t, x) in case.frames().chunks(width).enumerate() {
                    let w = weights.map_or(1.0, |w| w[t] as f64);
                    surprise -= w
                        * (x[labels[t] as usize].exp() / x.iter().map(|x| x.exp()).sum::<f64>())
                            .ln();
                    total += w;
                }
                close(
                    read(&cross_entropy(case.x.clone(), &labels, weights)),
                    &[surprise / total],
                    1e-6,
                );
                case.check(|x, _, _| cross_entropy(x, &labels, weights));
            }
        }
    }

    #[test]
    fn large_logits_and_frames_that_do_not_count() {
        let x = hidden(
            vec![1e4, -1e4, 0.0, 0.0, 3.0, 3.0],
            2,
            Spans::new([1, 0, 2]),
        );
        assert_eq!(
            read(&cross_entropy(
                x.clone(),
                &[1, 0, 1],
                Some(&[1.0, 0.0, 0.0])
            )),
            [2e4]
        );
        let loss = cross_entropy(x.on(&Tape::default()), &[0, 9, 9], Some(&[1.0, 0.0, 0.0]));
        assert_eq!(read(&loss), [0.0]);
        assert!(
            backward(loss, 1.0)
                .take(&x.values)
                .iter()
                .all(|d| d.abs() < 1e-30)
        );
        assert_eq!(read(&cross_entropy(x, &[9; 3], Some(&[0.0; 3]))), [0.0]);
        let none = hidden(vec![], 2, Spans::new([0, 0]));
        assert_eq!(read(&cross_entropy(none, &[], None)), [0.0]);
    }

    #[test]
    #[should_panic(expected = "label 2 of 2 classes")]
    fn a_label_beyond_the_classes() {
        cross_entropy(hidden(vec![0.0; 2], 2, Spans::new([1])), &[2], None);
    }
}
