//! z = γ (u - mean u) / sqrt(var u + 1e-5) + β with u = conv(waveform, w): a group norm with one channel a group, over
//! the frames of each row. Waveform (samples), w (out, k), γ, β (out), z (frames, out).
//!
//! With one input channel the statistics of u = w · window follow from those of the windows: mean u = w · m and
//! var u = wᵀ C w, where m and C are the mean and covariance of the windows (k and k × k numbers a row). So the norm is
//! a rescaled convolution, and z is written once. With G = Σ dz window and S = Σ dz all gradients are closed forms:
//!   dβ = S, dγ = r (w · G - mean S), dw = γ r (G - S m - r dγ C w), r = 1 / sqrt(var + eps).
//! Always in f32: these are small differences, and products so shallow are bound by what they write.
use super::conv1d::frames_out;
use crate::gemm::{Epilogue, Out, Precision, Shape, View, gemm, gemm_then};
use crate::par::{column_sums, map, wide};
use crate::tensor::{Hidden, Param, Spans, Track, read, record_hidden};

const EPS: f64 = 1e-5;

pub fn conv_first<T: Track>(rows: &[&[f32]], [w, gamma, beta]: [&Param; 3], k: usize, s: usize, tape: T) -> Hidden<T> {
    let out = read(gamma).len();
    let spans = Spans::new(rows.iter().map(|x| frames_out(x.len(), k, s)));
    let stats = map(rows.len(), |row| Windows::of(rows[row], spans.of(row).len(), k, s));
    let mut z = vec![0.0; spans.total() * out];
    for ((x, stats), span) in rows.iter().zip(&stats).zip(spans.iter()) {
        let (mut scaled, mut shift) = (vec![0.0; out * k], vec![0.0; out]);
        for (c, w) in read(w).chunks_exact(k).enumerate() {
            let channel = stats.seen_by(w);
            let factor = read(gamma)[c] as f64 * channel.rstd;
            shift[c] = (read(beta)[c] as f64 - channel.mean * factor) as f32;
            scaled[c * k..][..k].iter_mut().zip(w).for_each(|(to, w)| *to = (*w as f64 * factor) as f32);
        }
        let (shape, to) = (Shape { m: span.len(), n: out, k }, Out::set(&mut z[span.start * out..], out));
        gemm_then(Precision::F32, shape, View::rows(x, s), View::rows(&scaled, k).t(), to, Epilogue::Bias(&shift));
    }

    let ([w, gamma, beta], each) = ([w, gamma, beta].map(Param::clone), spans.clone());
    let rows: Vec<Vec<f32>> = if T::OWNS_TAPE { rows.iter().map(|x| x.to_vec()).collect() } else { vec![] };
    record_hidden(z, out, spans, tape, move |dz, g| {
        let [mut dw, mut dgamma, mut dbeta] = [&w, &gamma, &beta].map(|p| g.take(p));
        for ((x, stats), span) in rows.iter().zip(&stats).zip(each.iter()) {
            let (dz, mut sums) = (&dz[span.start * out..span.end * out], vec![0.0; out * k]);
            let shape = Shape { m: out, n: k, k: span.len() };
            gemm(Precision::F32, shape, View::rows(dz, out).t(), View::rows(x, s), Out::set(&mut sums, k));
            for (c, (total, sums)) in column_sums(dz, out).iter().zip(sums.chunks_exact(k)).enumerate() {
                let (w, total) = (&read(&w)[c * k..][..k], *total as f64);
                let Channel { mean, rstd, along } = stats.seen_by(w);
                let product: f64 = w.iter().zip(sums).map(|(w, g)| *w as f64 * *g as f64).sum();
                let pull = rstd * (product - mean * total);
                dgamma[c] += pull as f32;
                dbeta[c] += total as f32;
                let factor = read(&gamma)[c] as f64 * rstd;
                for (j, dw) in dw[c * k..][..k].iter_mut().enumerate() {
                    *dw += (factor * (sums[j] as f64 - total * stats.mean[j] - rstd * pull * along[j])) as f32;
                }
            }
        }
        (*g.of(&w), *g.of(&gamma), *g.of(&beta)) = (dw, dgamma, dbeta);
    })
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
        covariance.iter_mut().enumerate().for_each(|(i, c)| *c = *c / n - mean[i / k] * mean[i % k]);
        Windows { mean, covariance }
    }

    fn seen_by(&self, w: &[f32]) -> Channel {
        let dot = |a: &[f64]| a.iter().zip(w).map(|(a, w)| a * *w as f64).sum::<f64>();
        let along: Vec<f64> = self.covariance.chunks_exact(w.len()).map(dot).collect();
        Channel { mean: dot(&self.mean), rstd: 1.0 / (dot(&along).max(0.0) + EPS).sqrt(), along }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, close, noise};
    use crate::tensor::NoneTape;

    const OUT: usize = 13;

    #[test]
    fn conv_first_is_its_formula_and_its_gradient() {
        for (k, s) in [(10, 5), (3, 1), (4, 7)] {
            let waves = [97, 3, 0, k, 60].map(|n| noise("wave", n));
            let rows = waves.each_ref().map(|w| &w[..]);
            let case = Case::new(&[1], 1, &[OUT * k, OUT, OUT]);
            let [w, gamma, beta] = [0, 1, 2].map(|i| read(&case.p[i]));
            let mut reference = vec![];
            for x in rows {
                let frames = frames_out(x.len(), k, s);
                let u = |t: usize, c: usize| (0..k).map(|j| w[c * k + j] as f64 * x[t * s + j] as f64).sum::<f64>();
                let mean = |c: usize| (0..frames).map(|t| u(t, c)).sum::<f64>() / frames as f64;
                let variance = |c: usize| (0..frames).map(|t| (u(t, c) - mean(c)).powi(2)).sum::<f64>() / frames as f64;
                for (t, c) in (0..frames).flat_map(|t| (0..OUT).map(move |c| (t, c))) {
                    let hat = (u(t, c) - mean(c)) / (variance(c) + EPS).sqrt();
                    reference.push(hat * gamma[c] as f64 + beta[c] as f64);
                }
            }
            let z = conv_first(&rows, [&case.p[0], &case.p[1], &case.p[2]], k, s, NoneTape);
            // The row of one window has no variance: 1 / sqrt(eps) magnifies its rounding.
            close(z.read(), &reference, 1e-3);
            close(&z.read()[..z.spans.of(0).end * OUT], &reference[..z.spans.of(0).end * OUT], 1e-5);
            let long = [rows[0], rows[1], rows[2], rows[4]];
            case.check(|_, p, tape| conv_first(&long, [&p[0], &p[1], &p[2]], k, s, tape.clone()).values);
        }
    }
}
