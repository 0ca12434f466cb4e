//! Softmax regression, p(class | x) ∝ exp(w_c · x' + b_c), of features x' that have zero mean and
//! unit variance.
//!
//! AdamW without decay on mini-batches, with a rate that falls linearly to 0. The weights begin at
//! zero, so the result depends on the frames and the key alone.
use compute::adamw::{AdamW, Form, Moments, step};
use compute::gemm::Precision;
use compute::op::{argmax, cross_entropy, linear};
use compute::random::Key;
use compute::tensor::{Number, Param, Spans, Tape, backward, hidden, param};

const UPDATES: usize = 1000;
const BATCH: usize = 1000;
const RATE: f64 = 3e-3;

/// A trained classifier.
pub(super) struct Classifier {
    scaler: Scaler,
    /// (classes, width)
    weight: Param,
    bias: Param,
}

impl Classifier {
    /// Trains on `frames`, (frames, width), and their classes.
    pub(super) fn train(
        mut frames: Vec<f32>,
        width: usize,
        targets: &[u32],
        classes: usize,
        key: Key,
    ) -> Classifier {
        let scaler = Scaler::fit(&frames, width);
        scaler.apply(&mut frames);
        let mut classifier = Classifier {
            scaler,
            weight: param(vec![0.0; classes * width]),
            bias: param(vec![0.0; classes]),
        };
        let mut weight_moments = Moments::zeros(classes * width);
        let mut bias_moments = Moments::zeros(classes);
        let frame_count = targets.len();
        let mut order: Vec<usize> = (0..frame_count).collect();
        for update in 0..UPDATES {
            let first = update % frame_count.div_ceil(BATCH) * BATCH;
            if first == 0 {
                key.shuffle(1 + update as u64, &mut order);
            }
            let batch = &order[first..frame_count.min(first + BATCH)];
            let loss = classifier.loss(batch, &frames, targets);
            let mut gradients = backward(loss, 1.0);
            let adamw = adamw(update);
            let gradient = gradients.of(&classifier.weight);
            let weight = &mut classifier.weight;
            step(&adamw, weight, &mut weight_moments, &gradient, 1.0);
            let gradient = gradients.of(&classifier.bias);
            let bias = &mut classifier.bias;
            step(&adamw, bias, &mut bias_moments, &gradient, 1.0);
        }
        classifier
    }

    /// Returns the loss of a batch, a list of frames' numbers.
    fn loss(&self, batch: &[usize], frames: &[f32], targets: &[u32]) -> Number<Tape> {
        let width = self.scaler.mean.len();
        let mut values = Vec::with_capacity(batch.len() * width);
        for t in batch {
            values.extend_from_slice(&frames[t * width..(t + 1) * width]);
        }
        let x = hidden(values, width, Spans::new([batch.len()])).on(&Tape::default());
        let logits = linear(x, &self.weight, &self.bias, Precision::F32);
        let targets: Vec<u32> = batch.iter().map(|t| targets[*t]).collect();
        cross_entropy(logits, &targets, None)
    }

    /// Returns the class of the largest logit of each of `frames`, (frames, width).
    pub(super) fn classes(&self, mut frames: Vec<f32>) -> Vec<usize> {
        self.scaler.apply(&mut frames);
        let width = self.scaler.mean.len();
        let spans = Spans::new([frames.len() / width]);
        let x = hidden(frames, width, spans);
        argmax(&linear(x, &self.weight, &self.bias, Precision::F32))
    }
}

fn adamw(update: usize) -> AdamW {
    AdamW {
        form: Form::Adamw,
        rate: RATE * (1.0 - update as f64 / UPDATES as f64),
        betas: [0.9, 0.999],
        eps: 1e-8,
        decay: 0.0,
        update: 1 + update as u64,
    }
}

/// Scales features to zero mean and unit variance.
struct Scaler {
    mean: Vec<f32>,
    /// 1 / standard deviation.
    scale: Vec<f32>,
}

impl Scaler {
    fn fit(frames: &[f32], width: usize) -> Scaler {
        let mean = column_means(frames, width, |_, x| x);
        let variance = column_means(frames, width, |i, x| (x - mean[i]).powi(2));
        let scale = variance.iter().map(|v| (1.0 / (v + 1e-10).sqrt()) as f32);
        Scaler {
            scale: scale.collect(),
            mean: mean.iter().map(|m| *m as f32).collect(),
        }
    }

    fn apply(&self, frames: &mut [f32]) {
        for frame in frames.chunks_exact_mut(self.mean.len()) {
            for ((x, mean), scale) in frame.iter_mut().zip(&self.mean).zip(&self.scale) {
                *x = (*x - mean) * scale;
            }
        }
    }
}

/// Returns the mean over frames of f(i, x) for the i-th feature x.
fn column_means(frames: &[f32], width: usize, f: impl Fn(usize, f64) -> f64) -> Vec<f64> {
    let mut sums = vec![0.0; width];
    for frame in frames.chunks_exact(width) {
        for (i, (sum, x)) in sums.iter_mut().zip(frame).enumerate() {
            *sum += f(i, *x as f64);
        }
    }
    let count = (frames.len() / width) as f64;
    sums.into_iter().map(|sum| sum / count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use compute::math::argmax;
    use compute::random::noise;

    /// Classes that are a linear function of the frame, far from the origin and on odd scales.
    #[test]
    fn a_linear_function_is_learned() {
        const FRAMES: usize = 4000;
        const SEEN: usize = 3000;
        const WIDTH: usize = 6;
        const CLASSES: usize = 5;
        let x = noise("x", FRAMES * WIDTH);
        let map = noise("map", CLASSES * WIDTH);
        let class = |x: &[f32]| {
            let scores = map
                .chunks(WIDTH)
                .map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>());
            argmax(&scores.collect::<Vec<_>>())
        };
        let targets: Vec<u32> = x.chunks(WIDTH).map(|x| class(x) as u32).collect();
        let moved = |(i, x): (usize, &f32)| 7.0 + x * 10f32.powi((i % WIDTH) as i32 - 3);
        let mut frames: Vec<f32> = x.iter().enumerate().map(moved).collect();
        let new_frames = frames.split_off(SEEN * WIDTH);
        let (seen_targets, new_targets) = targets.split_at(SEEN);
        let key = Key::new(0, &["test"]);
        let classifier = Classifier::train(frames, WIDTH, seen_targets, CLASSES, key);
        let found = classifier.classes(new_frames);
        let pairs = found.iter().zip(new_targets);
        let right = pairs.filter(|(c, t)| **c == **t as usize).count();
        let count = |class| new_targets.iter().filter(|t| **t == class).count();
        let commonest = (0..CLASSES as u32).map(count).max().unwrap_or(0);
        assert!(right > 900, "{right} of 1000");
        assert!(commonest < 500, "{commonest} by chance");
    }
}
