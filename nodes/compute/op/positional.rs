//! y = x + GELU(conv(x, W) + b), row by row: groups of channels, k taps, k / 2 zero frames around, an even k's last
//! frame dropped. Weight norm: `W[:, :, t] = g[t] v[:, :, t] / ‖v[:, :, t]‖`.
//! x, y (frames, width), v (width, width / groups, k), g (k), b (width).
//!
//! A group's channels, copied side by side with the zero frames, make every window a row of a view that overlaps
//! itself, as in [`super::conv1d`]. Kept: x and u = conv + b. With dW: dg = Σ dW ∘ v / ‖v‖, dv = g / ‖v‖ (dW - v dg / ‖v‖).
#[cfg(feature = "cuda")]
pub mod cuda;
use super::conv1d::taps_first;
use crate::gemm::{Out, Precision, Shape, View, gemm_here};
use crate::math::{gelu, gelu_both};
use crate::parallel::{Shared, add, column_sums, copied, each, map, parts, parts2, wide, zip};
use crate::tensor::cpu::{Hidden, Param, Track, read, record_hidden};
use std::ops::Range;

pub fn positional<T: Track>(
    x: Hidden<T>,
    [g, v, b]: [&Param; 3],
    groups: usize,
    precision: Precision,
) -> Hidden<T> {
    let (x, tape) = x.split();
    let (width, k, spans) = (x.width(), read(g).len(), x.spans.clone());
    let c = width / groups;
    let (before, after) = (k / 2, k - 1 - k / 2);

    let norms = norms(read(v), k);
    let factor: Vec<f32> = read(g)
        .iter()
        .zip(&norms)
        .map(|(g, n)| (*g as f64 / n) as f32)
        .collect();
    let taps = taps_first(read(v), c, k, Some(&factor)); // W as (width, k, c)
    let mut u = vec![0.0; x.read().len()];
    let out = Shared::new(&mut u);
    each(spans.rows() * groups, |t| {
        let (row, group) = (spans.of(t / groups), t % groups);
        if row.is_empty() {
            return;
        }
        let padded = gather(
            x.read(),
            &row,
            width,
            group * c..group * c + c,
            [before, after],
        );
        let taps = View::rows(&taps[group * c * k * c..], k * c).t();
        // SAFETY: each task has its own columns of its own frames.
        let to = unsafe { Out::columns(out.tail(row.start * width + group * c), width, false) };
        gemm_here(
            precision,
            Shape {
                m: row.len(),
                n: c,
                k: k * c,
            },
            View::rows(&padded, c),
            taps,
            to,
        );
    });
    let (mut y, bias) = (copied(x.read()), read(b));
    parts2((&mut y, width), (&mut u, width), |_, y, u| {
        wide!({
            for ((y, u), b) in y.iter_mut().zip(u.iter_mut()).zip(bias) {
                *u += b;
                *y += gelu(*u);
            }
        })
    });

    let ([g_, v_, b_], rows) = ([g, v, b].map(Param::clone), spans.clone());
    record_hidden(y, width, spans, tape, move |dy, g| {
        add(g.of(&x.values), &dy);
        let mut du = dy;
        zip(&mut du, &u, |d, u| *d *= gelu_both(u).1);
        add(g.of(&b_), &column_sums(&du, width));
        let mut dtaps = vec![0.0; taps.len()]; // as taps
        let dx = Shared::new(g.of(&x.values));
        parts(&mut dtaps, c * k * c, |group, dtaps| {
            let columns = group * c..group * c + c;
            let mut turned = vec![0.0; dtaps.len()]; // (k backward, out, in)
            for (i, to) in turned.chunks_exact_mut(c).enumerate() {
                let (o, tap) = (columns.start + i % c, k - 1 - i / c);
                to.copy_from_slice(&taps[(o * k + tap) * c..][..c]);
            }
            for row in rows.iter().filter(|row| !row.is_empty()) {
                let frames = row.len();
                let seen = gather(x.read(), &row, width, columns.clone(), [before, after]);
                let at = row.start * width + columns.start;
                let windows = Shape {
                    m: c,
                    n: k * c,
                    k: frames,
                };
                let du_group = gather(&du, &row, width, columns.clone(), [after, before]);
                let dy = View::rows(&du_group[after * c..], c).t();
                gemm_here(
                    precision,
                    windows,
                    dy,
                    View::rows(&seen, c),
                    Out::add(dtaps, k * c),
                );
                // SAFETY: each task has its own columns.
                let to = unsafe { Out::columns(dx.tail(at), width, true) };
                let shape = Shape {
                    m: frames,
                    n: c,
                    k: k * c,
                };
                gemm_here(
                    precision,
                    shape,
                    View::rows(&du_group, c),
                    View::rows(&turned, c),
                    to,
                );
            }
        });
        let (gs, v) = (read(&g_), read(&v_));
        let along = per_tap(width, k, |o, sums| {
            for (i, v) in v[o * c * k..][..c * k].iter().enumerate() {
                sums[i % k] += dtaps[(o * k + i % k) * c + i / k] as f64 * *v as f64;
            }
        });
        let dg: Vec<f32> = along
            .iter()
            .zip(&norms)
            .map(|(a, n)| (a / n) as f32)
            .collect();
        let back: Vec<f32> = dg
            .iter()
            .zip(&norms)
            .map(|(d, n)| (*d as f64 / n) as f32)
            .collect();
        let factor: Vec<f32> = gs
            .iter()
            .zip(&norms)
            .map(|(g, n)| (*g as f64 / n) as f32)
            .collect();
        parts(g.of(&v_), c * k, |o, dv| {
            for (i, (dv, v)) in dv.iter_mut().zip(&v[o * c * k..]).enumerate() {
                let t = i % k;
                *dv += factor[t] * (dtaps[(o * k + t) * c + i / k] - v * back[t]);
            }
        });
        add(g.of(&g_), &dg);
    })
}

/// ‖v[:, :, t]‖ for each tap t.
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

/// Sums of each tap over `n` parts, added in their order.
fn per_tap(n: usize, k: usize, f: impl Fn(usize, &mut [f64]) + Sync + Send) -> Vec<f64> {
    let parts = map(n, |part| {
        let mut sums = vec![0.0; k];
        f(part, &mut sums);
        sums
    });
    parts.into_iter().fold(vec![0.0; k], |mut all, part| {
        all.iter_mut().zip(part).for_each(|(a, p)| *a += p);
        all
    })
}

/// These columns of a row's frames, with zero frames before and after.
fn gather(
    x: &[f32],
    row: &Range<usize>,
    width: usize,
    columns: Range<usize>,
    [before, after]: [usize; 2],
) -> Vec<f32> {
    let c = columns.len();
    let mut padded = vec![0.0; (before + row.len() + after) * c];
    for (frame, to) in row.clone().zip(padded[before * c..].chunks_exact_mut(c)) {
        to.copy_from_slice(&x[frame * width..][columns.clone()]);
    }
    padded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check;
    use crate::op::check::{Case, ROWS, close};

    #[test]
    fn positional_is_its_formula_and_its_gradient() {
        for (width, groups, k) in [(6, 2, 4), (10, 5, 8), (6, 3, 3), (7, 1, 5), (4, 2, 1)] {
            let c = width / groups;
            let case = Case::new(&ROWS, width, &[k, width * c * k, width]);
            let [g, v, b] = [0, 1, 2].map(|i| read(&case.p[i]));
            let norm = |t: usize| {
                (t..v.len())
                    .step_by(k)
                    .map(|i| (v[i] as f64).powi(2))
                    .sum::<f64>()
                    .sqrt()
            };
            let norms: Vec<f64> = (0..k).map(norm).collect();
            let (x, mut reference) = (case.frames(), vec![]);
            for row in case.x.spans.iter() {
                for (t, o) in row.clone().flat_map(|t| (0..width).map(move |o| (t, o))) {
                    let mut u = b[o] as f64;
                    for (i, j) in (0..c).flat_map(|i| (0..k).map(move |j| (i, j))) {
                        let frame = (t + j).wrapping_sub(k / 2);
                        if row.contains(&frame) {
                            let weight = v[(o * c + i) * k + j] as f64 * g[j] as f64 / norms[j];
                            u += weight * x[frame * width + o / c * c + i];
                        }
                    }
                    reference.push(x[t * width + o] + check::gelu(u));
                }
            }
            let y = positional(
                case.x.clone(),
                [&case.p[0], &case.p[1], &case.p[2]],
                groups,
                Precision::F32,
            );
            close(y.read(), &reference, 1e-5);
            case.check(|x, p, _| {
                positional(x, [&p[0], &p[1], &p[2]], groups, Precision::F32).values
            });
        }
    }
}
