//! A layer of long short-term memory (Hochreiter and Schmidhuber 1997, forget gate by Gers et al. 2000), as PyTorch's.
//! In each row, from h = c = 0:
//!   i, f, g, o = σ, σ, tanh, σ of the quarters of w_ih x_t + b_ih + w_hh h_{t-1} + b_hh
//!   c_t = f ∘ c_{t-1} + i ∘ g,   h_t = o ∘ tanh(c_t)
//! A second direction goes from the last frame of a row to its first, with weights of its own.
//! x (frames, in), w_ih (4 H, in), w_hh (4 H, H), b_ih, b_hh (4 H), y (frames, directions · H): h, side by side.
//!
//! w_ih x is one product over all frames, in `precision` as those at the end are; the recurrence is f32. Then the rows go
//! side by side, each thread with its own, the longest first, so that those which still run are the first n: a step is one
//! product h w_hhᵀ, (n, 4 H), with w_hh packed once. Gates, h_{t-1} and c_{t-1} are kept. Backward goes through the steps
//! from the last, with dh, dc from the step after:
//!   dh += dy, dc += dh ∘ o ∘ (1 - tanh²(c_t)), do = dh ∘ tanh(c_t), di = dc ∘ g, dg = dc ∘ i, df = dc ∘ c_{t-1}
//! and, with dz these four times the slopes of σ and tanh, dh = dz w_hh and dc = dc ∘ f for the step before. At the end
//!   dw_ih = dzᵀ x, dw_hh = dzᵀ h_{t-1}, db_ih = db_hh = Σ dz, dx = dz w_ih.
#[cfg(feature = "cuda")]
pub mod cuda;
use super::passes::cpu::{affine, weight_gradient};
use crate::gemm::{Out, Packed, Precision, Shape, View, gemm};
use crate::math::{sigmoid, tanh};
use crate::parallel::{Shared, add, column_sums, each, map, threads, wide};
use crate::tensor::cpu::{Hidden, Param, Spans, Track, read, record_hidden};
use std::ops::Range;

/// `directions`: w_ih, w_hh, b_ih, b_hh of the one that goes forward and, if there are two, of the one that goes back.
pub fn lstm<T: Track>(x: Hidden<T>, directions: &[[&Param; 4]], precision: Precision) -> Hidden<T> {
    let (x, tape) = x.split();
    let (frames, input, spans) = (x.spans.total(), x.width(), x.spans.clone());
    let units = read(directions[0][3]).len() / 4;
    let (width, product) = (
        directions.len() * units,
        Shape {
            m: frames,
            n: 4 * units,
            k: input,
        },
    );
    let mut y = vec![0.0; frames * width];
    let mut walks = map(directions.len(), |d| {
        let [w_ih, _, b_ih, b_hh] = directions[d].map(read);
        let bias: Vec<f32> = b_ih.iter().zip(b_hh).map(|(a, b)| a + b).collect();
        Walk::new(affine(precision, x.read(), w_ih, &bias, product), units)
    });
    let orders = orders(&spans, directions.len());
    let out = Shared::new(&mut y);
    let recurrent = |d: usize| View::rows(read(directions[d][1]), units).t();
    let packed = map(directions.len(), |d| {
        Packed::new(Precision::F32, 4 * units, units, recurrent(d))
    });
    walk(&mut walks, &orders, |d, order, places| {
        places.forward(order, &packed[d], |frame, h| {
            // SAFETY: each direction has its own columns, each order its own frames.
            unsafe { out.part(frame * width + d * units, units) }.copy_from_slice(h);
        })
    });

    let directions: Vec<[Param; 4]> = directions.iter().map(|d| d.map(Param::clone)).collect();
    record_hidden(y, width, spans, tape, move |dy, g| {
        let recurrent = |d: usize| View::rows(read(&directions[d][1]), units);
        let packed = map(directions.len(), |d| {
            Packed::new(Precision::F32, units, 4 * units, recurrent(d))
        });
        walk(&mut walks, &orders, |d, order, places| {
            places.backward(order, &packed[d], |frame| {
                &dy[frame * width + d * units..][..units]
            });
        });
        for (Walk { gates: dz, h, .. }, [w_ih, w_hh, b_ih, b_hh]) in
            walks.into_iter().zip(&directions)
        {
            for (w, from, width) in [(w_ih, x.read(), input), (w_hh, &h, units)] {
                let shape = Shape {
                    m: 4 * units,
                    n: width,
                    k: frames,
                };
                weight_gradient(precision, &dz, from, Out::add(g.of(w), width), shape);
            }
            let sums = column_sums(&dz, 4 * units);
            for b in [b_ih, b_hh] {
                add(g.of(b), &sums);
            }
            let shape = Shape {
                m: frames,
                n: input,
                k: 4 * units,
            };
            let (rows, weight) = (View::rows(&dz, 4 * units), View::rows(read(w_ih), input));
            gemm(
                precision,
                shape,
                rows,
                weight,
                Out::add(g.of(&x.values), input),
            );
        }
    })
}

/// Rows of a batch side by side, the longest first.
struct Order {
    rows: Vec<Range<usize>>,
    back: bool,
}

/// (directions)(threads that share one): the longest row to the first, the next to the second, and so on.
fn orders(spans: &Spans, directions: usize) -> Vec<Vec<Order>> {
    let mut rows: Vec<_> = spans.iter().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.len()));
    let share = threads().div_ceil(directions).clamp(1, rows.len().max(1));
    let of = |d: usize, first: usize| Order {
        rows: rows.iter().skip(first).step_by(share).cloned().collect(),
        back: d == 1,
    };
    (0..directions)
        .map(|d| (0..share).map(|first| of(d, first)).collect())
        .collect()
}

/// `task` on each direction and order, side by side.
fn walk(
    walks: &mut [Walk],
    orders: &[Vec<Order>],
    task: impl Fn(usize, &Order, &Places) + Sync + Send,
) {
    let share = orders.first().map_or(0, Vec::len);
    let places: Vec<Places> = walks.iter_mut().map(Walk::places).collect();
    each(places.len() * share, |i| {
        task(i / share, &orders[i / share][i % share], &places[i / share])
    });
}

impl Order {
    fn steps(&self) -> usize {
        self.rows.first().map_or(0, Range::len)
    }
    /// The frame of each row that still runs.
    fn step(&self, t: usize) -> Vec<usize> {
        let running = self.rows.iter().take_while(|row| t < row.len());
        running
            .map(|row| {
                if self.back {
                    row.end - 1 - t
                } else {
                    row.start + t
                }
            })
            .collect()
    }
}

/// What a direction keeps: i, f, g, o of each frame, and h and c of the frame before.
struct Walk {
    units: usize,
    gates: Vec<f32>,
    h: Vec<f32>,
    c: Vec<f32>,
}

impl Walk {
    /// `gates` come as w_ih x + b_ih + b_hh.
    fn new(gates: Vec<f32>, units: usize) -> Walk {
        let [h, c] = [(); 2].map(|()| vec![0.0; gates.len() / 4]);
        Walk { units, gates, h, c }
    }
    fn places(&mut self) -> Places<'_> {
        let [gates, h, c] = [&mut self.gates, &mut self.h, &mut self.c].map(|x| Shared::new(x));
        Places {
            units: self.units,
            gates,
            h,
            c,
        }
    }
}

/// Where the frames of a [`Walk`] lie, each of which belongs to one order.
struct Places<'a> {
    units: usize,
    gates: Shared<'a>,
    h: Shared<'a>,
    c: Shared<'a>,
}

impl<'a> Places<'a> {
    /// Gates, h and c of a frame.
    fn of(&self, frame: usize) -> [&'a mut [f32]; 3] {
        // SAFETY: a frame belongs to one order, and that to one task.
        [(self.gates, 4), (self.h, 1), (self.c, 1)]
            .map(|(x, n)| unsafe { x.part(frame * n * self.units, n * self.units) })
    }

    /// `emit(frame, h)`.
    fn forward(&self, order: &Order, w_hh: &Packed, emit: impl Fn(usize, &[f32])) {
        let (units, rows) = (self.units, order.rows.len());
        let [mut h, mut c, mut product] = [1, 1, 4].map(|n| vec![0.0; n * rows * units]);
        for t in 0..order.steps() {
            let frames = order.step(t);
            w_hh.multiply(
                frames.len(),
                View::rows(&h, units),
                Out::set(&mut product, 4 * units),
            );
            for (r, frame) in frames.into_iter().enumerate() {
                let [h, c] = [&mut h, &mut c].map(|x| &mut x[r * units..][..units]);
                let [z, h_before, c_before] = self.of(frame);
                h_before.copy_from_slice(h);
                c_before.copy_from_slice(c);
                wide!({
                    z.iter_mut()
                        .zip(&product[r * 4 * units..])
                        .for_each(|(z, p)| *z += p);
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
    }

    /// The gates become dz.
    fn backward<'d>(&self, order: &Order, w_hh: &Packed, dy: impl Fn(usize) -> &'d [f32]) {
        let (units, rows) = (self.units, order.rows.len());
        let [mut dh, mut dc, mut dz] = [1, 1, 4].map(|n| vec![0.0; n * rows * units]);
        let mut tanhs = vec![0.0; units];
        for t in (0..order.steps()).rev() {
            let frames = order.step(t);
            for (r, &frame) in frames.iter().enumerate() {
                let [dh, dc] = [&mut dh, &mut dc].map(|x| &mut x[r * units..][..units]);
                let (dy, [z, _, c], tanhs) = (dy(frame), self.of(frame), &mut tanhs[..units]);
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
            w_hh.multiply(
                frames.len(),
                View::rows(&dz, 4 * units),
                Out::set(&mut dh, units),
            );
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
        p.chunks_exact(4)
            .map(|p| [&p[0], &p[1], &p[2], &p[3]])
            .collect()
    }

    fn definition(case: &Case, directions: &[[&Param; 4]]) -> Vec<f64> {
        let (input, units) = (case.x.width(), read(directions[0][2]).len() / 4);
        let (x, width, sigmoid) = (case.frames(), directions.len() * units, |z: f64| {
            1.0 / (1.0 + (-z).exp())
        });
        let mut y = vec![0.0; case.x.spans.total() * width];
        for (d, [w_ih, w_hh, b_ih, b_hh]) in directions.iter().enumerate() {
            for row in case.x.spans.iter() {
                let (mut h, mut c) = (vec![0.0; units], vec![0.0; units]);
                for t in 0..row.len() {
                    let frame = if d == 1 {
                        row.end - 1 - t
                    } else {
                        row.start + t
                    };
                    let own = affine(&x[frame * input..][..input], input, w_ih, b_ih);
                    let z: Vec<f64> = own
                        .iter()
                        .zip(affine(&h, units, w_hh, b_hh))
                        .map(|(a, b)| a + b)
                        .collect();
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
                let own =
                    |p| -> Vec<[&Param; 4]> { directions(p).into_iter().take(count).collect() };
                let of = |precision| {
                    move |x, p: &[Param], _: &Tape| {
                        lstm(x, &directions(p)[..count], precision).values
                    }
                };
                let y = lstm(case.x.clone(), &own(&case.p), Precision::F32);
                close(y.read(), &definition(&case, &own(&case.p)), 1e-5);
                case.check(of(Precision::F32));
                let [all, narrow] =
                    [Precision::F32, Precision::Bf16].map(|precision| case.run(of(precision)));
                for (narrow, all) in narrow.iter().zip(&all) {
                    close(
                        narrow,
                        &all.iter().map(|x| *x as f64).collect::<Vec<_>>(),
                        2e-2,
                    );
                }
            }
        }
    }
}
