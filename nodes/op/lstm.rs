//! A layer of long short-term memory (Hochreiter and Schmidhuber 1997, forget gate by Gers et al. 2000), as PyTorch's.
//! In each row, from h = c = 0:
//!   i, f, g, o = σ, σ, tanh, σ of the quarters of w_ih x_t + b_ih + w_hh h_{t-1} + b_hh
//!   c_t = f ∘ c_{t-1} + i ∘ g,   h_t = o ∘ tanh(c_t)
//! A second direction goes from the last frame of a row to its first, with weights of its own.
//! x (frames, in), w_ih (4 H, in), w_hh (4 H, H), b_ih, b_hh (4 H), y (frames, directions · H): h, side by side.
//!
//! w_ih x is one product over all frames, in `precision` as those at the end are; the recurrence is f32. Then the rows go
//! side by side, the longest first, so that those which still run are the first n: a step is one product w_hh hᵀ,
//! (4 H, n), which reads w_hh where it lies. Gates, h_{t-1} and c_{t-1} are kept. Backward goes through the steps from the
//! last, with dh, dc from the step after:
//!   dh += dy, dc += dh ∘ o ∘ (1 - tanh²(c_t)), do = dh ∘ tanh(c_t), di = dc ∘ g, dg = dc ∘ i, df = dc ∘ c_{t-1}
//! and, with dz these four times the slopes of σ and tanh, dh = w_hhᵀ dz and dc = dc ∘ f for the step before. At the end
//!   dw_ih = dzᵀ x, dw_hh = dzᵀ h_{t-1}, db_ih = db_hh = Σ dz, dx = dz w_ih.
use super::linear::{affine, weight_gradient};
use crate::gemm::{Out, Precision, Shape, View, gemm};
use crate::math::{sigmoid, tanh};
use crate::par::{Shared, add, column_sums, map, wide};
use crate::tensor::cpu::{Hidden, Param, Spans, Track, read, record_hidden};
use rayon::prelude::*;
use std::ops::Range;

/// `directions`: w_ih, w_hh, b_ih, b_hh of the one that goes forward and, if there are two, of the one that goes back.
pub fn lstm<T: Track>(x: Hidden<T>, directions: &[[&Param; 4]], precision: Precision) -> Hidden<T> {
    let (x, tape) = x.split();
    let (frames, input, spans) = (x.spans.total(), x.width(), x.spans.clone());
    let units = read(directions[0][3]).len() / 4;
    let (width, product) = (directions.len() * units, Shape { m: frames, n: 4 * units, k: input });
    let mut y = vec![0.0; frames * width];
    let out = Shared::new(&mut y);
    let mut walks = map(directions.len(), |d| {
        let [w_ih, w_hh, b_ih, b_hh] = directions[d].map(read);
        let bias: Vec<f32> = b_ih.iter().zip(b_hh).map(|(a, b)| a + b).collect();
        let z = affine(precision, x.read(), w_ih, &bias, product);
        Walk::forward(Order::new(&spans, d == 1), units, w_hh, z, |frame, h| {
            // SAFETY: each direction has its own columns.
            unsafe { out.part(frame * width + d * units, units) }.copy_from_slice(h);
        })
    });

    let directions: Vec<[Param; 4]> = directions.iter().map(|d| d.map(Param::clone)).collect();
    record_hidden(y, width, spans, tape, move |dy, g| {
        let each = walks.par_iter_mut().zip(&directions).enumerate();
        each.for_each(|(d, (walk, [_, w_hh, _, _]))| {
            walk.backward(read(w_hh), |frame| &dy[frame * width + d * units..][..units]);
        });
        for (Walk { gates: dz, h, .. }, [w_ih, w_hh, b_ih, b_hh]) in walks.into_iter().zip(&directions) {
            for (w, from, width) in [(w_ih, x.read(), input), (w_hh, &h, units)] {
                let shape = Shape { m: 4 * units, n: width, k: frames };
                weight_gradient(precision, &dz, from, Out::add(g.of(w), width), shape);
            }
            let sums = column_sums(&dz, 4 * units);
            for b in [b_ih, b_hh] {
                add(g.of(b), &sums);
            }
            let shape = Shape { m: frames, n: input, k: 4 * units };
            let (rows, weight) = (View::rows(&dz, 4 * units), View::rows(read(w_ih), input));
            gemm(precision, shape, rows, weight, Out::add(g.of(&x.values), input));
        }
    })
}

/// The rows of a batch side by side, the longest first.
struct Order {
    rows: Vec<Range<usize>>,
    back: bool,
}

impl Order {
    fn new(spans: &Spans, back: bool) -> Self {
        let mut rows: Vec<_> = spans.iter().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.len()));
        Order { rows, back }
    }
    fn steps(&self) -> usize {
        self.rows.first().map_or(0, Range::len)
    }
    /// The frame of each row that still runs.
    fn step(&self, t: usize) -> Vec<usize> {
        let running = self.rows.iter().take_while(|row| t < row.len());
        running.map(|row| if self.back { row.end - 1 - t } else { row.start + t }).collect()
    }
}

/// One direction and what it keeps: i, f, g, o of each frame, and h and c of the frame before.
struct Walk {
    order: Order,
    units: usize,
    gates: Vec<f32>,
    h: Vec<f32>,
    c: Vec<f32>,
}

impl Walk {
    /// `gates` come as w_ih x + b_ih + b_hh; `emit(frame, h)`.
    fn forward(order: Order, units: usize, w_hh: &[f32], gates: Vec<f32>, emit: impl Fn(usize, &[f32])) -> Self {
        let zeros = |n: usize| vec![0.0; n * units];
        let frames = gates.len() / (4 * units);
        let mut walk = Walk { units, gates, h: zeros(frames), c: zeros(frames), order };
        let [mut h, mut c, mut product] = [1, 1, 4].map(|n| zeros(n * walk.order.rows.len()));
        for t in 0..walk.order.steps() {
            let frames = walk.order.step(t);
            let (n, state) = (frames.len(), View::rows(&h, units).t());
            let recurrent = Shape { m: 4 * units, n, k: units };
            gemm(Precision::F32, recurrent, View::rows(w_hh, units), state, Out::set(&mut product, n));
            for (r, frame) in frames.into_iter().enumerate() {
                let [h, c] = [&mut h, &mut c].map(|x| &mut x[r * units..][..units]);
                walk.h[frame * units..][..units].copy_from_slice(h);
                walk.c[frame * units..][..units].copy_from_slice(c);
                let z = &mut walk.gates[frame * 4 * units..][..4 * units];
                wide!({
                    z.iter_mut().zip(product[r..].iter().step_by(n)).for_each(|(z, p)| *z += p);
                    let [i, f, g, o] = quarters(z, units);
                    for gate in [&mut *i, &mut *f, &mut *o] {
                        gate.iter_mut().for_each(|z| *z = sigmoid(*z));
                    }
                    g.iter_mut().for_each(|z| *z = tanh(*z));
                    (0..units).for_each(|k| c[k] = f[k] * c[k] + i[k] * g[k]);
                    (0..units).for_each(|k| h[k] = o[k] * tanh(c[k]));
                });
                emit(frame, h);
            }
        }
        walk
    }

    /// The gates become dz.
    fn backward<'a>(&mut self, w_hh: &[f32], dy: impl Fn(usize) -> &'a [f32]) {
        let (units, rows) = (self.units, self.order.rows.len());
        let turned: Vec<f32> = (0..units).flat_map(|k| w_hh[k..].iter().step_by(units).copied()).collect();
        let [mut dh, mut dc, mut dz, mut product] = [1, 1, 4, 1].map(|n| vec![0.0; n * rows * units]);
        let mut tanhs = vec![0.0; units];
        for t in (0..self.order.steps()).rev() {
            let frames = self.order.step(t);
            let n = frames.len();
            for (r, &frame) in frames.iter().enumerate() {
                let [dh, dc] = [&mut dh, &mut dc].map(|x| &mut x[r * units..][..units]);
                let (dy, c) = (dy(frame), &self.c[frame * units..][..units]);
                let (z, tanhs) = (&mut self.gates[frame * 4 * units..][..4 * units], &mut tanhs[..units]);
                wide!({
                    let [i, f, g, o] = quarters(z, units);
                    dh.iter_mut().zip(dy).for_each(|(dh, dy)| *dh += dy);
                    (0..units).for_each(|k| tanhs[k] = tanh(f[k] * c[k] + i[k] * g[k]));
                    (0..units).for_each(|k| dc[k] += dh[k] * o[k] * (1.0 - tanhs[k] * tanhs[k]));
                    (0..units).for_each(|k| o[k] *= dh[k] * tanhs[k] * (1.0 - o[k]));
                    for k in 0..units {
                        let (input, candidate) = (i[k], g[k]);
                        i[k] = dc[k] * candidate * input * (1.0 - input);
                        g[k] = dc[k] * input * (1.0 - candidate * candidate);
                    }
                    for k in 0..units {
                        let forget = f[k];
                        f[k] = dc[k] * c[k] * forget * (1.0 - forget);
                        dc[k] *= forget;
                    }
                });
                dz[r * 4 * units..][..4 * units].copy_from_slice(z);
            }
            let recurrent = Shape { m: units, n, k: 4 * units };
            let (weight, step) = (View::rows(&turned, 4 * units), View::rows(&dz, 4 * units).t());
            gemm(Precision::F32, recurrent, weight, step, Out::set(&mut product, n));
            for (r, dh) in dh.chunks_exact_mut(units).enumerate().take(n) {
                dh.iter_mut().zip(product[r..].iter().step_by(n)).for_each(|(dh, p)| *dh = *p);
            }
        }
    }
}

fn quarters(z: &mut [f32], units: usize) -> [&mut [f32]; 4] {
    let mut quarter = z.chunks_exact_mut(units);
    std::array::from_fn(|_| quarter.next().expect("four gates"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, WIDTHS, affine, close};
    use crate::tensor::cpu::Tape;

    /// Input and two directions of `units`, with weights of the size that they begin with in training.
    fn case(width: usize, units: usize) -> Case {
        let one = [4 * units * width, 4 * units * units, 4 * units, 4 * units];
        Case::new(&ROWS, width, &[one, one].concat()).scaled(0.6 / (units as f32).sqrt())
    }

    fn directions(p: &[Param]) -> Vec<[&Param; 4]> {
        p.chunks_exact(4).map(|p| [&p[0], &p[1], &p[2], &p[3]]).collect()
    }

    fn definition(case: &Case, directions: &[[&Param; 4]]) -> Vec<f64> {
        let (input, units) = (case.x.width(), read(directions[0][2]).len() / 4);
        let (x, width, sigmoid) = (case.frames(), directions.len() * units, |z: f64| 1.0 / (1.0 + (-z).exp()));
        let mut y = vec![0.0; case.x.spans.total() * width];
        for (d, [w_ih, w_hh, b_ih, b_hh]) in directions.iter().enumerate() {
            for row in case.x.spans.iter() {
                let (mut h, mut c) = (vec![0.0; units], vec![0.0; units]);
                for t in 0..row.len() {
                    let frame = if d == 1 { row.end - 1 - t } else { row.start + t };
                    let own = affine(&x[frame * input..][..input], input, w_ih, b_ih);
                    let z: Vec<f64> = own.iter().zip(affine(&h, units, w_hh, b_hh)).map(|(a, b)| a + b).collect();
                    for k in 0..units {
                        let gate = |q: usize| z[q * units + k];
                        c[k] = sigmoid(gate(1)) * c[k] + sigmoid(gate(0)) * gate(2).tanh();
                        h[k] = sigmoid(gate(3)) * c[k].tanh();
                    }
                    y[frame * width + d * units..][..units].copy_from_slice(&h);
                }
            }
        }
        y
    }

    #[test]
    fn lstm_is_its_formula_and_its_gradient() {
        for (width, units) in WIDTHS.into_iter().zip([3, 17, 6]) {
            let case = case(width, units);
            for count in [1, 2] {
                let own = |p| -> Vec<[&Param; 4]> { directions(p).into_iter().take(count).collect() };
                let of = |precision| move |x, p: &[Param], _: &Tape| lstm(x, &directions(p)[..count], precision).values;
                let y = lstm(case.x.clone(), &own(&case.p), Precision::F32);
                close(y.read(), &definition(&case, &own(&case.p)), 1e-5);
                case.check(of(Precision::F32));
                let [all, narrow] = [Precision::F32, Precision::Bf16].map(|precision| case.run(of(precision)));
                for (narrow, all) in narrow.iter().zip(&all) {
                    close(narrow, &all.iter().map(|x| *x as f64).collect::<Vec<_>>(), 2e-2);
                }
            }
        }
    }
}
