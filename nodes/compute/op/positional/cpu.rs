//! [`PositionalDevice`] by a GEMM for each group of each row.
//!
//! A group's channels, copied side by side with the zero frames, make every window a row of a
//! matrix whose rows overlap, as in [`crate::op::conv1d()`].
use super::{PositionalConv, PositionalDevice};
use crate::gemm::{Out, Shape, View, gemm_serial};
use crate::math::{gelu, gelu_both};
use crate::op::conv1d::cpu::taps_first;
use crate::parallel::{
    Shared, add, column_sums, copy, for_each, for_each_chunk, for_each_chunk_pair, map, wide, zip,
};
use crate::tensor::cpu::{Cpu, Grads, Matrix, Param, read, tensor};
use std::ops::Range;

pub struct Saved {
    /// ‖v[:, :, t]‖ of each tap t.
    norms: Vec<f64>,
    /// W as (width, k, channels of a group)
    taps: Vec<f32>,
    u: Vec<f32>,
}

impl PositionalDevice for Cpu {
    type Saved = Saved;

    fn forward(conv: &PositionalConv, x: &Matrix, [gain, v, b]: [&Param; 3]) -> (Matrix, Saved) {
        let spans = &conv.spans;
        let width = conv.width;
        let k = conv.k;
        let c = conv.channels();
        let norms = norms(read(v), k);
        let factor = factors(read(gain), &norms);
        let taps = taps_first(read(v), c, k, Some(&factor));
        let mut u = vec![0.0; read(x).len()];
        let out = Shared::new(&mut u);
        for_each(spans.rows() * conv.groups, |task| {
            let row = spans.of(task / conv.groups);
            if row.is_empty() {
                return;
            }
            let columns = conv.columns(task % conv.groups);
            let at = row.start * width + columns.start;
            let shape = Shape {
                m: row.len(),
                n: c,
                k: k * c,
            };
            let taps = View::rows(&taps[columns.start * k * c..], k * c).t();
            let padded = conv.gather(read(x), &row, columns, [conv.before(), conv.after()]);
            // SAFETY: each task has its own columns of its own frames.
            let to = unsafe { Out::columns(out.tail(at), width, false) };
            gemm_serial(conv.precision, shape, View::rows(&padded, c), taps, to);
        });
        let mut y = copy(read(x));
        let bias = read(b);
        for_each_chunk_pair((&mut y, width), (&mut u, width), |_, y, u| {
            wide!({
                for ((y, u), b) in y.iter_mut().zip(u.iter_mut()).zip(bias) {
                    *u += b;
                    *y += gelu(*u);
                }
            })
        });
        (tensor(y, conv.shape()), Saved { norms, taps, u })
    }

    fn backward(
        conv: &PositionalConv,
        dy: Vec<f32>,
        x: &Matrix,
        [gain, v, b]: [&Param; 3],
        Saved { norms, taps, u }: Saved,
        g: &mut Grads,
    ) {
        add(g.of(x), &dy);
        let mut du = dy;
        zip(&mut du, &u, |d, u| *d *= gelu_both(u).1);
        add(g.of(b), &column_sums(&du, conv.width));
        let dtaps = conv.gradients(read(x), &du, &taps, g.of(x));
        let dgain = conv.gain_gradient(&dtaps, read(v), &norms);
        let factor = factors(read(gain), &norms);
        let along = factors(&dgain, &norms);
        let k = conv.k;
        let c = conv.channels();
        for_each_chunk(g.of(v), c * k, |o, dv| {
            for (i, (dv, v)) in dv.iter_mut().zip(&read(v)[o * c * k..]).enumerate() {
                let t = i % k;
                *dv += factor[t] * (dtaps[(o * k + t) * c + i / k] - v * along[t]);
            }
        });
        add(g.of(gain), &dgain);
    }
}

impl PositionalConv {
    /// Returns the zero frames after a row.
    fn after(&self) -> usize {
        self.k - 1 - self.k / 2
    }

    /// Returns the channels of one group.
    fn columns(&self, group: usize) -> Range<usize> {
        let c = self.channels();
        group * c..group * c + c
    }

    /// Copies these columns of a row's frames, with zero frames before and after.
    fn gather(
        &self,
        x: &[f32],
        row: &Range<usize>,
        columns: Range<usize>,
        [before, after]: [usize; 2],
    ) -> Vec<f32> {
        let c = columns.len();
        let mut padded = vec![0.0; (before + row.len() + after) * c];
        for (frame, to) in row.clone().zip(padded[before * c..].chunks_exact_mut(c)) {
            to.copy_from_slice(&x[frame * self.width..][columns.clone()]);
        }
        padded
    }

    /// Returns the gradient of `taps`, and adds the convolution's to dx.
    fn gradients(&self, x: &[f32], du: &[f32], taps: &[f32], dx: &mut [f32]) -> Vec<f32> {
        let width = self.width;
        let k = self.k;
        let c = self.channels();
        let before = self.before();
        let after = self.after();
        let mut dtaps = vec![0.0; taps.len()];
        let dx = Shared::new(dx);
        for_each_chunk(&mut dtaps, c * k * c, |group, dtaps| {
            let columns = self.columns(group);
            let mut reversed = vec![0.0; dtaps.len()]; // (k from the last, out, in)
            for (i, to) in reversed.chunks_exact_mut(c).enumerate() {
                let o = columns.start + i % c;
                let tap = k - 1 - i / c;
                to.copy_from_slice(&taps[(o * k + tap) * c..][..c]);
            }
            for row in self.spans.iter().filter(|row| !row.is_empty()) {
                let frames = row.len();
                let seen = self.gather(x, &row, columns.clone(), [before, after]);
                let du = self.gather(du, &row, columns.clone(), [after, before]);
                let shape = Shape {
                    m: c,
                    n: k * c,
                    k: frames,
                };
                let du_rows = View::rows(&du[after * c..], c).t();
                let to = Out::accumulate(dtaps, k * c);
                gemm_serial(self.precision, shape, du_rows, View::rows(&seen, c), to);
                let at = row.start * width + columns.start;
                // SAFETY: each task has its own columns.
                let to = unsafe { Out::columns(dx.tail(at), width, true) };
                let shape = Shape {
                    m: frames,
                    n: c,
                    k: k * c,
                };
                let reversed = View::rows(&reversed, c);
                gemm_serial(self.precision, shape, View::rows(&du, c), reversed, to);
            }
        });
        dtaps
    }

    /// Returns Σ dW ∘ v / ‖v‖ for each tap.
    fn gain_gradient(&self, dtaps: &[f32], v: &[f32], norms: &[f64]) -> Vec<f32> {
        let k = self.k;
        let c = self.channels();
        let sums = per_tap(self.width, k, |o, sums| {
            for (i, v) in v[o * c * k..][..c * k].iter().enumerate() {
                sums[i % k] += dtaps[(o * k + i % k) * c + i / k] as f64 * *v as f64;
            }
        });
        let sums = sums.iter().zip(norms);
        sums.map(|(sum, norm)| (sum / norm) as f32).collect()
    }
}

/// Returns x / ‖v‖ for each tap.
fn factors(x: &[f32], norms: &[f64]) -> Vec<f32> {
    let pairs = x.iter().zip(norms);
    pairs.map(|(x, norm)| (*x as f64 / norm) as f32).collect()
}

/// Returns ‖v[:, :, t]‖ for each tap t.
fn norms(v: &[f32], k: usize) -> Vec<f64> {
    const ROWS: usize = 1 << 10;
    let squares = per_tap((v.len() / k).div_ceil(ROWS), k, |part, sums| {
        wide!(for row in v[part * ROWS * k..].chunks_exact(k).take(ROWS) {
            sums.iter_mut()
                .zip(row)
                .for_each(|(s, v)| *s += *v as f64 * *v as f64);
        })
    });
    squares.into_iter().map(f64::sqrt).collect()
}

/// Returns the sums of each tap over `n` parts, which `f` computes in parallel, added in order.
fn per_tap(n: usize, k: usize, f: impl Fn(usize, &mut [f64]) + Sync + Send) -> Vec<f64> {
    let parts = map(n, |part| {
        let mut sums = vec![0.0; k];
        f(part, &mut sums);
        sums
    });
    let mut totals = vec![0.0; k];
    for part in parts {
        for (total, sum) in totals.iter_mut().zip(part) {
            *total += sum;
        }
    }
    totals
}
