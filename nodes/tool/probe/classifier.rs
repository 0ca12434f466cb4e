//! Softmax regression: p(class | x) ∝ exp(w_c · x' + b_c), x' the frame at zero mean and unit variance a number. AdamW
//! without decay on mini-batches, the rate going down to 0 in a line; it begins at zero, and nothing is left to chance.
use compute::adamw::{AdamW, Form, Moments, step};
use compute::gemm::Precision;
use compute::op::{argmax, cross_entropy, linear};
use compute::random::Key;
use compute::tensor::{Param, Spans, Tape, backward, hidden, param};

const UPDATES: usize = 1000;
const BATCH: usize = 1000;
const RATE: f64 = 3e-3;

pub struct Classifier {
    mean: Vec<f32>,
    /// 1 / standard deviation.
    scale: Vec<f32>,
    /// (classes, width)
    weight: Param,
    bias: Param,
}

impl Classifier {
    /// On `frames`, (frames, width), and their classes.
    pub fn train(
        mut frames: Vec<f32>,
        width: usize,
        targets: &[u32],
        classes: usize,
        key: Key,
    ) -> Classifier {
        let n = targets.len();
        let moment = |of: &dyn Fn(usize, f64) -> f64| {
            let mut sums = vec![0.0; width];
            for frame in frames.chunks_exact(width) {
                sums.iter_mut()
                    .zip(frame)
                    .enumerate()
                    .for_each(|(i, (sum, x))| *sum += of(i, *x as f64));
            }
            sums.into_iter()
                .map(|sum| sum / n as f64)
                .collect::<Vec<f64>>()
        };
        let mean = moment(&|_, x| x);
        let variance = moment(&|i, x| (x - mean[i]).powi(2));
        let mut own = Classifier {
            scale: variance
                .iter()
                .map(|v| (1.0 / (v + 1e-10).sqrt()) as f32)
                .collect(),
            mean: mean.iter().map(|m| *m as f32).collect(),
            weight: param(vec![0.0; classes * width]),
            bias: param(vec![0.0; classes]),
        };
        own.standardise(&mut frames);

        let mut moments = [Moments::zeros(classes * width), Moments::zeros(classes)];
        let mut order: Vec<usize> = (0..n).collect();
        for update in 0..UPDATES {
            let at = update % n.div_ceil(BATCH) * BATCH;
            if at == 0 {
                key.shuffle(1 + update as u64, &mut order);
            }
            let some = &order[at..n.min(at + BATCH)];
            let x = some
                .iter()
                .flat_map(|t| &frames[t * width..(t + 1) * width])
                .copied()
                .collect();
            let x = hidden(x, width, Spans::new([some.len()])).on(&Tape::default());
            let wanted: Vec<u32> = some.iter().map(|t| targets[*t]).collect();
            let loss = cross_entropy(
                linear(x, &own.weight, &own.bias, Precision::F32),
                &wanted,
                None,
            );
            let mut gradients = backward(loss, 1.0);
            let rate = RATE * (1.0 - update as f64 / UPDATES as f64);
            let adamw = AdamW {
                form: Form::Adamw,
                rate,
                betas: [0.9, 0.999],
                eps: 1e-8,
                decay: 0.0,
                update: 1 + update as u64,
            };
            for (weight, moments) in [&mut own.weight, &mut own.bias]
                .into_iter()
                .zip(&mut moments)
            {
                let gradient = gradients.of(&*weight);
                step(&adamw, weight, moments, &gradient, 1.0);
            }
        }
        own
    }

    /// Of each of `frames`, (frames, width), the class of the largest logit.
    pub fn classes(&self, mut frames: Vec<f32>) -> Vec<usize> {
        self.standardise(&mut frames);
        let (n, width) = (frames.len() / self.mean.len(), self.mean.len());
        let x = hidden(frames, width, Spans::new([n]));
        argmax(&linear(x, &self.weight, &self.bias, Precision::F32))
    }

    fn standardise(&self, frames: &mut [f32]) {
        for frame in frames.chunks_exact_mut(self.mean.len()) {
            frame
                .iter_mut()
                .zip(&self.mean)
                .zip(&self.scale)
                .for_each(|((x, m), s)| *x = (*x - m) * s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use compute::math::argmax;
    use compute::random::noise;

    /// Classes that a linear map of the frame tells, far from the origin and on odd scales.
    #[test]
    fn what_is_linear_is_learned() {
        let (n, width, classes) = (4000, 6, 5);
        let (x, map) = (noise("x", n * width), noise("map", classes * width));
        let class = |x: &[f32]| {
            argmax(
                &map.chunks(width)
                    .map(|w| w.iter().zip(x).map(|(w, x)| w * x).sum::<f32>())
                    .collect::<Vec<_>>(),
            )
        };
        let targets: Vec<u32> = x.chunks(width).map(|x| class(x) as u32).collect();
        let moved = |(i, x): (usize, &f32)| 7.0 + x * 10f32.powi((i % width) as i32 - 3);
        let frames: Vec<f32> = x.iter().enumerate().map(moved).collect();
        let (seen, new) = (3000, frames[3000 * width..].to_vec());
        let key = Key::new(0, &["test"]);
        let classifier = Classifier::train(
            frames[..seen * width].to_vec(),
            width,
            &targets[..seen],
            classes,
            key,
        );
        let right = classifier
            .classes(new)
            .iter()
            .zip(&targets[seen..])
            .filter(|(c, t)| **c == **t as usize)
            .count();
        let commonest = (0..5)
            .map(|c| targets[seen..].iter().filter(|t| **t == c).count())
            .max()
            .unwrap_or(0);
        assert!(
            right > 900 && commonest < 500,
            "{right} of 1000, {commonest} by chance"
        );
    }
}
