//! [`LstmDevice`]: each thread runs rows of its own, with w_hh packed once.
use super::{Direction, LstmDevice};
use crate::gemm::{Out, Packed, Precision, Shape, View};
use crate::math::{sigmoid, tanh};
use crate::op::passes::cpu::{Operand, affine};
use crate::op::passes::{Affine, Passes};
use crate::parallel::{Shared, add, column_sums, for_each, map, threads, wide};
use crate::tensor::cpu::{Cpu, Grads, Matrix, Param, Spans, read, tensor};
use std::mem::take;
use std::ops::Range;

pub struct Saved {
    /// (directions)
    states: Vec<States>,
    /// (directions)(threads that share one)
    groups: Vec<Vec<RowGroup>>,
}

impl LstmDevice for Cpu {
    type Saved = Saved;

    fn forward(
        precision: Precision,
        x: &Operand,
        directions: &[Direction<Cpu>],
        spans: &Spans,
        s: Affine,
    ) -> (Matrix, Saved) {
        let units = s.out / 4;
        let width = directions.len() * units;
        let shape = Shape {
            m: s.frames,
            n: s.out,
            k: s.width,
        };
        let mut y = vec![0.0; s.frames * width];
        let mut states = map(directions.len(), |d| {
            let direction = &directions[d];
            let b_ih = read(&direction.b_ih);
            let b_hh = read(&direction.b_hh);
            let bias: Vec<f32> = b_ih.iter().zip(b_hh).map(|(a, b)| a + b).collect();
            let weight = direction.input_weight.read();
            States::new(affine(precision, x.read(), weight, &bias, shape), units)
        });
        let groups = row_groups(spans, directions.len());
        let packed = map(directions.len(), |d| {
            let w_hh = View::rows(read(&directions[d].w_hh), units);
            Packed::new(Precision::F32, 4 * units, units, w_hh.t())
        });
        let out = Shared::new(&mut y);
        for_groups(&mut states, &groups, |d, group, states| {
            states.forward(group, &packed[d], |frame, h| {
                // SAFETY: each direction has its own columns, each group its own frames.
                unsafe { out.part(frame * width + d * units, units) }.copy_from_slice(h);
            })
        });
        (tensor(y, (s.frames, width)), Saved { states, groups })
    }

    fn backward(dy: Vec<f32>, directions: &[Direction<Cpu>], saved: &mut Saved) {
        let units = read(&directions[0].b_hh).len() / 4;
        let width = directions.len() * units;
        let packed = map(directions.len(), |d| {
            let w_hh = View::rows(read(&directions[d].w_hh), units);
            Packed::new(Precision::F32, units, 4 * units, w_hh)
        });
        for_groups(&mut saved.states, &saved.groups, |d, group, states| {
            states.backward(group, &packed[d], |frame| {
                &dy[frame * width + d * units..][..units]
            });
        });
    }

    fn take_factors(precision: Precision, saved: &mut Saved, direction: usize) -> [Operand; 2] {
        let states = &mut saved.states[direction];
        let dz = take(&mut states.gates);
        let h = take(&mut states.h);
        [dz, h].map(|x| {
            let numbers = x.len();
            Cpu::gradient(precision, x, numbers)
        })
    }

    fn add_bias_gradients(dz: &Operand, s: Affine, biases: [&Param; 2], g: &mut Grads) {
        let sums = column_sums(dz.read(), s.out);
        for b in biases {
            add(g.of(b), &sums);
        }
    }
}

/// Rows that one thread runs side by side, the longest first.
struct RowGroup {
    rows: Vec<Range<usize>>,
    reversed: bool,
}

/// Returns (directions)(threads that share one): the longest row goes to the first thread, the next
/// to the second, and so on.
fn row_groups(spans: &Spans, directions: usize) -> Vec<Vec<RowGroup>> {
    let mut rows: Vec<_> = spans.iter().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.len()));
    let share = threads().div_ceil(directions).clamp(1, rows.len().max(1));
    let group = |d: usize, first: usize| RowGroup {
        rows: rows.iter().skip(first).step_by(share).cloned().collect(),
        reversed: d == 1,
    };
    (0..directions)
        .map(|d| (0..share).map(|first| group(d, first)).collect())
        .collect()
}

/// Runs `task` on each direction and group in parallel.
fn for_groups(
    states: &mut [States],
    groups: &[Vec<RowGroup>],
    task: impl Fn(usize, &RowGroup, &SharedStates) + Sync + Send,
) {
    let share = groups.first().map_or(0, Vec::len);
    let states: Vec<SharedStates> = states.iter_mut().map(States::share).collect();
    for_each(states.len() * share, |i| {
        task(i / share, &groups[i / share][i % share], &states[i / share])
    });
}

impl RowGroup {
    fn steps(&self) -> usize {
        self.rows.first().map_or(0, Range::len)
    }

    /// Returns the frame of each row that still runs at step `t`.
    fn frames_at(&self, t: usize) -> Vec<usize> {
        let running = self.rows.iter().take_while(|row| t < row.len());
        let frame = |row: &Range<usize>| {
            if self.reversed {
                row.end - 1 - t
            } else {
                row.start + t
            }
        };
        running.map(frame).collect()
    }
}

/// What a direction saves: i, f, g, o of each frame, and h and c of the frame before.
struct States {
    units: usize,
    gates: Vec<f32>,
    h: Vec<f32>,
    c: Vec<f32>,
}

impl States {
    /// `gates` are w_ih x + b_ih + b_hh of all frames.
    fn new(gates: Vec<f32>, units: usize) -> States {
        let numbers = gates.len() / 4;
        States {
            units,
            gates,
            h: vec![0.0; numbers],
            c: vec![0.0; numbers],
        }
    }

    fn share(&mut self) -> SharedStates<'_> {
        SharedStates {
            units: self.units,
            gates: Shared::new(&mut self.gates),
            h: Shared::new(&mut self.h),
            c: Shared::new(&mut self.c),
        }
    }
}

/// [`States`] that groups write at once, each its own frames.
struct SharedStates<'a> {
    units: usize,
    gates: Shared<'a>,
    h: Shared<'a>,
    c: Shared<'a>,
}

impl<'a> SharedStates<'a> {
    /// Returns gates, h and c of a frame.
    fn of(&self, frame: usize) -> [&'a mut [f32]; 3] {
        // SAFETY: a frame belongs to one group, and that to one task.
        [(self.gates, 4), (self.h, 1), (self.c, 1)]
            .map(|(x, n)| unsafe { x.part(frame * n * self.units, n * self.units) })
    }

    /// Runs the steps of a group and hands each h out, as `emit(frame, h)`.
    fn forward(&self, group: &RowGroup, w_hh: &Packed, emit: impl Fn(usize, &[f32])) {
        let units = self.units;
        let rows = group.rows.len();
        let mut h = vec![0.0; rows * units];
        let mut c = vec![0.0; rows * units];
        let mut product = vec![0.0; 4 * rows * units];
        for t in 0..group.steps() {
            let frames = group.frames_at(t);
            let to = Out::set(&mut product, 4 * units);
            w_hh.multiply(frames.len(), View::rows(&h, units), to);
            for (r, frame) in frames.into_iter().enumerate() {
                let h = &mut h[r * units..][..units];
                let c = &mut c[r * units..][..units];
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

    /// Replaces the gates of a group's frames by dz.
    fn backward<'d>(&self, group: &RowGroup, w_hh: &Packed, dy: impl Fn(usize) -> &'d [f32]) {
        let units = self.units;
        let rows = group.rows.len();
        let mut dh = vec![0.0; rows * units];
        let mut dc = vec![0.0; rows * units];
        let mut dz = vec![0.0; 4 * rows * units];
        let mut tanhs = vec![0.0; units];
        for t in (0..group.steps()).rev() {
            let frames = group.frames_at(t);
            for (r, &frame) in frames.iter().enumerate() {
                let dh = &mut dh[r * units..][..units];
                let dc = &mut dc[r * units..][..units];
                let dy = dy(frame);
                let [z, _, c] = self.of(frame);
                let tanhs = &mut tanhs[..units];
                wide!({
                    let [i, f, g, o] = quarters(z, units);
                    dh.iter_mut().zip(dy).for_each(|(dh, dy)| *dh += dy);
                    (0..units).for_each(|k| tanhs[k] = tanh(f[k] * c[k] + i[k] * g[k]));
                    (0..units).for_each(|k| dc[k] += dh[k] * o[k] * (1.0 - tanhs[k] * tanhs[k]));
                    (0..units).for_each(|k| o[k] *= dh[k] * tanhs[k] * (1.0 - o[k]));
                    for k in 0..units {
                        let input = i[k];
                        let candidate = g[k];
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
            let to = Out::set(&mut dh, units);
            w_hh.multiply(frames.len(), View::rows(&dz, 4 * units), to);
        }
    }
}

/// Returns i, f, g and o of a frame's gates.
fn quarters(z: &mut [f32], units: usize) -> [&mut [f32]; 4] {
    let mut quarter = z.chunks_exact_mut(units);
    std::array::from_fn(|_| quarter.next().expect("four gates"))
}
