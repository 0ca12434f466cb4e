//! [`ConvFirstDevice`] row by row, so that z need not be in memory as a whole.
use super::{ConvFirstDevice, First};
use crate::gemm::{Epilogue, Out, Packed, Precision, Shape, View, product};
use crate::parallel::{Shared, column_sums, for_each, map, wide};
use crate::tensor::Spans;
use crate::tensor::cpu::{Cpu, Grads, Matrix, Param, read, tensor};
use std::ops::Range;

const EPS: f64 = 1e-5;
/// Frames of z in a task: what a piece of the next convolution reads is one.
const TASK: usize = 512;

pub struct NormedFirst {
    waves: Vec<Vec<f32>>,
    weights: [Param; 3],
    k: usize,
    s: usize,
    moments: Vec<WindowMoments>,
    taps: Vec<NormedTaps>,
    pub spans: Spans,
}

impl ConvFirstDevice for Cpu {
    type Normed = NormedFirst;

    fn prepare(first: First<Cpu>) -> NormedFirst {
        let spans = first.spans();
        let First {
            waves,
            weights,
            k,
            s,
        } = first;
        let moments = map(waves.len(), |row| {
            WindowMoments::of(&waves[row], spans.of(row).len(), k, s)
        });
        let parameters = weights.each_ref().map(read);
        let taps = map(waves.len(), |row| {
            NormedTaps::of(parameters, &moments[row], k)
        });
        NormedFirst {
            waves,
            weights,
            k,
            s,
            moments,
            taps,
            spans,
        }
    }

    fn values(normed: &NormedFirst) -> Matrix {
        let spans = &normed.spans;
        let z = (0..spans.rows())
            .flat_map(|row| normed.frames(row, 0..spans.of(row).len()))
            .collect();
        tensor(z, (spans.total(), normed.width()))
    }

    fn add_gradients(normed: &NormedFirst, dz: Vec<f32>, g: &mut Grads) {
        let width = normed.width();
        for (row, frames) in normed.spans.iter().enumerate() {
            let dz = &dz[frames.start * width..frames.end * width];
            normed.accumulate(row, 0..frames.len(), dz, g);
        }
    }
}

impl NormedFirst {
    /// Returns the channels of z.
    pub fn width(&self) -> usize {
        read(&self.weights[1]).len()
    }

    /// Returns z of these frames of a row.
    pub fn frames(&self, row: usize, frames: Range<usize>) -> Vec<f32> {
        let NormedTaps { scaled, shift } = &self.taps[row];
        let k = self.k;
        let out = self.width();
        let packed = Packed::new(Precision::F32, out, k, View::rows(scaled, k).t());
        let then = Epilogue::Bias(shift);
        let n = frames.len();
        let convolve = |z: Shared| {
            for_each(n.div_ceil(TASK), |i| {
                let first = i * TASK;
                let sample = (frames.start + first) * self.s;
                let windows = View::rows(&self.waves[row][sample..], self.s);
                // SAFETY: each task has its own frames.
                let to = unsafe { Out::columns(z.tail(first * out), out, false) };
                packed.multiply_then(TASK.min(n - first), windows, to, &then);
            })
        };
        // SAFETY: the tasks are all frames, and a product that does not accumulate writes each
        // number before it reads any.
        unsafe { Shared::collect(n * out, convolve) }
    }

    /// Adds to the gradients of w, γ and β from dz of these frames of a row.
    pub fn accumulate(&self, row: usize, frames: Range<usize>, dz: &[f32], g: &mut Grads) {
        let [w, gamma, beta] = &self.weights;
        let k = self.k;
        let out = self.width();
        let mut dw = g.take(w);
        let mut dgamma = g.take(gamma);
        let mut dbeta = g.take(beta);
        let moments = &self.moments[row];
        let shape = Shape {
            m: out,
            n: k,
            k: frames.len(),
        };
        let windows = View::rows(&self.waves[row][frames.start * self.s..], self.s);
        let dz_by_channel = View::rows(dz, out).t();
        let sums = product(
            Precision::F32,
            shape,
            dz_by_channel,
            windows,
            Epilogue::None,
        );
        let totals = column_sums(dz, out);
        for (c, (total, sums)) in totals.iter().zip(sums.chunks_exact(k)).enumerate() {
            let w = &read(w)[c * k..][..k];
            let total = *total as f64;
            let ChannelMoments { mean, rstd, along } = moments.of_channel(w);
            let product: f64 = w.iter().zip(sums).map(|(w, g)| *w as f64 * *g as f64).sum();
            let own_dgamma = rstd * (product - mean * total);
            dgamma[c] += own_dgamma as f32;
            dbeta[c] += total as f32;
            let factor = read(gamma)[c] as f64 * rstd;
            for (j, dw) in dw[c * k..][..k].iter_mut().enumerate() {
                let centred = sums[j] as f64 - total * moments.mean[j];
                *dw += (factor * (centred - rstd * own_dgamma * along[j])) as f32;
            }
        }
        *g.of(w) = dw;
        *g.of(gamma) = dgamma;
        *g.of(beta) = dbeta;
    }
}

/// The convolution of one row with the norm in it: z = scaled · window + shift.
struct NormedTaps {
    scaled: Vec<f32>,
    shift: Vec<f32>,
}

impl NormedTaps {
    fn of([w, gamma, beta]: [&[f32]; 3], moments: &WindowMoments, k: usize) -> NormedTaps {
        let mut scaled = w.to_vec();
        let mut shift = beta.to_vec();
        for (c, w) in w.chunks_exact(k).enumerate() {
            let channel = moments.of_channel(w);
            let factor = gamma[c] as f64 * channel.rstd;
            shift[c] = (beta[c] as f64 - channel.mean * factor) as f32;
            for w in &mut scaled[c * k..][..k] {
                *w = (*w as f64 * factor) as f32;
            }
        }
        NormedTaps { scaled, shift }
    }
}

/// Mean and covariance of the windows of one row.
struct WindowMoments {
    /// (k)
    mean: Vec<f64>,
    /// (k, k)
    covariance: Vec<f64>,
}

/// Moments of one channel of u over a row.
struct ChannelMoments {
    mean: f64,
    rstd: f64,
    /// C w, (k)
    along: Vec<f64>,
}

impl WindowMoments {
    fn of(x: &[f32], frames: usize, k: usize, s: usize) -> Self {
        let mut mean = vec![0.0; k];
        let mut covariance = vec![0.0; k * k];
        wide!(for window in (0..frames).map(|t| &x[t * s..][..k]) {
            for (i, mean) in mean.iter_mut().enumerate() {
                *mean += window[i] as f64;
                for (c, x) in covariance[i * k..][..k].iter_mut().zip(window) {
                    *c += window[i] as f64 * *x as f64;
                }
            }
        });
        let n = frames.max(1) as f64;
        for mean in &mut mean {
            *mean /= n;
        }
        for (i, c) in covariance.iter_mut().enumerate() {
            *c = *c / n - mean[i / k] * mean[i % k];
        }
        WindowMoments { mean, covariance }
    }

    /// Returns the moments of the channel with taps `w`.
    fn of_channel(&self, w: &[f32]) -> ChannelMoments {
        let dot = |a: &[f64]| a.iter().zip(w).map(|(a, w)| a * *w as f64).sum::<f64>();
        let along: Vec<f64> = self.covariance.chunks_exact(w.len()).map(dot).collect();
        ChannelMoments {
            mean: dot(&self.mean),
            rstd: 1.0 / (dot(&along).max(0.0) + EPS).sqrt(),
            along,
        }
    }
}
