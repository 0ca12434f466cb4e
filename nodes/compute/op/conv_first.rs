//! z = γ (u - mean u) / sqrt(var u + 1e-5) + β with u = conv(waveform, w): a group norm with one channel a group, over
//! the frames of each row. Waveform (samples), w (out, k), γ, β (out), z (frames, out).
//!
//! With one input channel the statistics of u = w · window follow from those of the windows: mean u = w · m and
//! var u = wᵀ C w, where m and C are the mean and covariance of the windows (k and k × k numbers a row). So the norm is
//! a rescaled convolution, and z is written once. With G = Σ dz window and S = Σ dz all gradients are closed forms:
//!   dβ = S, dγ = r (w · G - mean S), dw = γ r (G - S m - r dγ C w), r = 1 / sqrt(var + eps).
//! Always in f32: these are small differences, and products so shallow are bound by what they write.
#[cfg(feature = "cuda")]
pub mod cuda;
use super::conv1d::frames_out;
use crate::gemm::{Epilogue, Out, Packed, Precision, Shape, View, product};
use crate::parallel::{column_sums, map, parts, wide};
use crate::tensor::cpu::{Grads, Hidden, Param, Spans, Track, read, record_hidden};
use std::ops::Range;

const EPS: f64 = 1e-5;
/// Frames of z in a task: what a piece of the next convolution sees is one.
const TASK: usize = 512;

/// The convolution and its norm, row by row: so wide a z need not be there whole.
pub struct First {
    waves: Vec<Vec<f32>>,
    weights: [Param; 3],
    k: usize,
    s: usize,
    stats: Vec<Windows>,
    taps: Vec<Taps>,
    pub spans: Spans,
}

impl First {
    /// Of these rows of samples, with w, γ and β, k taps and stride s.
    pub fn new(waves: Vec<Vec<f32>>, weights: [&Param; 3], k: usize, s: usize) -> First {
        let spans = Spans::new(waves.iter().map(|x| frames_out(x.len(), k, s)));
        let stats = map(waves.len(), |row| {
            Windows::of(&waves[row], spans.of(row).len(), k, s)
        });
        let taps = map(waves.len(), |row| {
            Taps::of(weights.map(read), &stats[row], k)
        });
        First {
            waves,
            weights: weights.map(Param::clone),
            k,
            s,
            stats,
            taps,
            spans,
        }
    }

    pub fn width(&self) -> usize {
        read(&self.weights[1]).len()
    }

    /// z of frames `at` of a row.
    pub fn frames(&self, row: usize, at: Range<usize>) -> Vec<f32> {
        let (k, out, Taps { scaled, shift }) = (self.k, self.width(), &self.taps[row]);
        let mut z = vec![0.0; at.len() * out];
        let packed = Packed::new(Precision::F32, out, k, View::rows(scaled, k).t());
        parts(&mut z, TASK * out, |i, z| {
            let windows = View::rows(&self.waves[row][(at.start + i * TASK) * self.s..], self.s);
            packed.multiply_then(
                z.len() / out,
                windows,
                Out::set(z, out),
                &Epilogue::Bias(shift),
            );
        });
        z
    }

    /// What dz of frames `at` of a row adds to the gradients.
    pub fn pull(&self, row: usize, at: Range<usize>, dz: &[f32], g: &mut Grads) {
        let ([w, gamma, beta], k, out) = (&self.weights, self.k, self.width());
        let [mut dw, mut dgamma, mut dbeta] = [w, gamma, beta].map(|p| g.take(p));
        let stats = &self.stats[row];
        let shape = Shape {
            m: out,
            n: k,
            k: at.len(),
        };
        let windows = View::rows(&self.waves[row][at.start * self.s..], self.s);
        let sums = product(
            Precision::F32,
            shape,
            View::rows(dz, out).t(),
            windows,
            Epilogue::None,
        );
        for (c, (total, sums)) in column_sums(dz, out)
            .iter()
            .zip(sums.chunks_exact(k))
            .enumerate()
        {
            let (w, total) = (&read(w)[c * k..][..k], *total as f64);
            let Channel { mean, rstd, along } = stats.seen_by(w);
            let product: f64 = w.iter().zip(sums).map(|(w, g)| *w as f64 * *g as f64).sum();
            let pull = rstd * (product - mean * total);
            dgamma[c] += pull as f32;
            dbeta[c] += total as f32;
            let factor = read(gamma)[c] as f64 * rstd;
            for (j, dw) in dw[c * k..][..k].iter_mut().enumerate() {
                *dw += (factor * (sums[j] as f64 - total * stats.mean[j] - rstd * pull * along[j]))
                    as f32;
            }
        }
        (*g.of(w), *g.of(gamma), *g.of(beta)) = (dw, dgamma, dbeta);
    }
}

/// z of all rows.
pub fn conv_first<T: Track>(first: First, tape: T) -> Hidden<T> {
    let (width, spans) = (first.width(), first.spans.clone());
    let z = (0..spans.rows())
        .flat_map(|row| first.frames(row, 0..spans.of(row).len()))
        .collect();
    record_hidden(z, width, spans.clone(), tape, move |dz, g| {
        for (row, at) in spans.iter().enumerate() {
            first.pull(row, 0..at.len(), &dz[at.start * width..at.end * width], g);
        }
    })
}

/// The convolution of one row with the norm in it: z = scaled · window + shift.
struct Taps {
    scaled: Vec<f32>,
    shift: Vec<f32>,
}

impl Taps {
    fn of([w, gamma, beta]: [&[f32]; 3], windows: &Windows, k: usize) -> Taps {
        let mut taps = Taps {
            scaled: w.to_vec(),
            shift: beta.to_vec(),
        };
        for (c, w) in w.chunks_exact(k).enumerate() {
            let channel = windows.seen_by(w);
            let factor = gamma[c] as f64 * channel.rstd;
            taps.shift[c] = (beta[c] as f64 - channel.mean * factor) as f32;
            taps.scaled[c * k..][..k]
                .iter_mut()
                .for_each(|w| *w = (*w as f64 * factor) as f32);
        }
        taps
    }
}

/// Mean and covariance of the windows of one row.
struct Windows {
    mean: Vec<f64>,
    covariance: Vec<f64>,
}

/// What a channel makes of them.
struct Channel {
    mean: f64,
    rstd: f64,
    /// C w
    along: Vec<f64>,
}

impl Windows {
    fn of(x: &[f32], frames: usize, k: usize, s: usize) -> Self {
        let (mut mean, mut covariance) = (vec![0.0; k], vec![0.0; k * k]);
        wide!(for window in (0..frames).map(|t| &x[t * s..][..k]) {
            for (i, mean) in mean.iter_mut().enumerate() {
                *mean += window[i] as f64;
                for (c, x) in covariance[i * k..][..k].iter_mut().zip(window) {
                    *c += window[i] as f64 * *x as f64;
                }
            }
        });
        let n = frames.max(1) as f64;
        mean.iter_mut().for_each(|m| *m /= n);
        covariance
            .iter_mut()
            .enumerate()
            .for_each(|(i, c)| *c = *c / n - mean[i / k] * mean[i % k]);
        Windows { mean, covariance }
    }

    fn seen_by(&self, w: &[f32]) -> Channel {
        let dot = |a: &[f64]| a.iter().zip(w).map(|(a, w)| a * *w as f64).sum::<f64>();
        let along: Vec<f64> = self.covariance.chunks_exact(w.len()).map(dot).collect();
        Channel {
            mean: dot(&self.mean),
            rstd: 1.0 / (dot(&along).max(0.0) + EPS).sqrt(),
            along,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, close, noise};
    use crate::tensor::cpu::NoneTape;

    const OUT: usize = 13;

    #[test]
    fn conv_first_is_its_formula_and_its_gradient() {
        for (k, s) in [(10, 5), (3, 1), (4, 7)] {
            let waves = [97, 3, 0, k, 60].map(|n| noise("wave", n)).to_vec();
            let case = Case::new(&[1], 1, &[OUT * k, OUT, OUT]);
            let [w, gamma, beta] = [0, 1, 2].map(|i| read(&case.p[i]));
            let mut reference = vec![];
            for x in &waves {
                let frames = frames_out(x.len(), k, s);
                let u = |t: usize, c: usize| {
                    (0..k)
                        .map(|j| w[c * k + j] as f64 * x[t * s + j] as f64)
                        .sum::<f64>()
                };
                let mean = |c: usize| (0..frames).map(|t| u(t, c)).sum::<f64>() / frames as f64;
                let variance = |c: usize| {
                    (0..frames)
                        .map(|t| (u(t, c) - mean(c)).powi(2))
                        .sum::<f64>()
                        / frames as f64
                };
                for (t, c) in (0..frames).flat_map(|t| (0..OUT).map(move |c| (t, c))) {
                    let hat = (u(t, c) - mean(c)) / (variance(c) + EPS).sqrt();
                    reference.push(hat * gamma[c] as f64 + beta[c] as f64);
                }
            }
            let z = conv_first(
                First::new(waves.clone(), [&case.p[0], &case.p[1], &case.p[2]], k, s),
                NoneTape,
            );
            // The row of one window has no variance: 1 / sqrt(eps) magnifies its rounding.
            close(z.read(), &reference, 1e-3);
            close(
                &z.read()[..z.spans.of(0).end * OUT],
                &reference[..z.spans.of(0).end * OUT],
                1e-5,
            );
            let long = [0, 1, 2, 4].map(|row| waves[row].clone()).to_vec();
            case.check(|_, p, tape| {
                conv_first(
                    First::new(long.clone(), [&p[0], &p[1], &p[2]], k, s),
                    tape.clone(),
                )
                .values
            });
        }
    }
}
