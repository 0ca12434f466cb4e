//! [`CrossEntropyDevice`] by parallel loops over frames. Both passes compute the softmax.
use super::{CrossEntropyDevice, WeightedLabels};
use crate::math::{exp, largest, sum};
use crate::parallel::{for_each_chunk, map, wide};
use crate::tensor::cpu::{Cpu, Matrix, Number, read, tensor};
use crate::tensor::dimensions;

impl CrossEntropyDevice for Cpu {
    type Saved = WeightedLabels;

    fn forward(x: &Matrix, labels: WeightedLabels) -> (Number, WeightedLabels) {
        let (frames, classes) = dimensions(x);
        let x = read(x);
        let values = map(frames, |t| match labels.weights[t] {
            0.0 => 0.0,
            weight => {
                let x = &x[t * classes..(t + 1) * classes];
                weight as f64 * Softmax::of(x).negative_log(x[labels.labels[t]]) as f64
            }
        });
        let y = (values.iter().sum::<f64>() * labels.unit) as f32;
        (tensor(vec![y], ()), labels)
    }

    fn backward(dy: Vec<f32>, x: &Matrix, labels: &WeightedLabels, dx: &mut Vec<f32>) {
        let classes = dimensions(x).1;
        let x = read(x);
        for_each_chunk(dx, classes, |t, dx| {
            let scale = dy[0] * labels.weights[t] * labels.unit as f32;
            if scale != 0.0 {
                let x = &x[t * classes..(t + 1) * classes];
                Softmax::of(x).add_to(dx, x, scale);
                dx[labels.labels[t]] -= scale;
            }
        });
    }
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

    /// Returns -ln of the probability of a class whose logit is `x`.
    fn negative_log(&self, x: f32) -> f32 {
        self.total.ln() + (self.max - x)
    }

    /// Adds scale · softmax(x) to `to`.
    fn add_to(&self, to: &mut [f32], x: &[f32], scale: f32) {
        let scale = scale / self.total;
        wide!(
            to.iter_mut()
                .zip(x)
                .for_each(|(to, x)| *to += scale * exp(x - self.max))
        );
    }
}
