//! [`LstmDevice`]: a step is a GEMM, and a kernel for all that follows it.
use super::{Direction, LstmDevice};
use crate::cuda::elementwise::add_row;
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels::{self, LstmStep};
use crate::cuda::product::{Out, View, product};
use crate::gemm::Precision;
use crate::gemm::Precision::F32;
use crate::op::passes::cuda::Operand;
use crate::op::passes::{Affine, Passes};
use crate::tensor::cuda::{Cuda, Matrix, Param, address, len, zeros};
use crate::tensor::{Grads, Spans};

impl LstmDevice for Cuda {
    type Saved = Vec<States>;

    fn forward(
        precision: Precision,
        x: &Operand,
        directions: &[Direction<Cuda>],
        spans: &Spans,
        s: Affine,
    ) -> (Matrix, Vec<States>) {
        let units = s.out / 4;
        let width = directions.len() * units;
        let y = zeros((s.frames, width));
        let mut saved = Vec::with_capacity(directions.len());
        for (d, direction) in directions.iter().enumerate() {
            let gates = gpu().memory(F32, s.frames * s.out);
            let weight = direction.input_weight.rows(s.width).t();
            let to = Out::Wide(View::of(&gates, s.out));
            let shape = [s.frames, s.out, s.width];
            product(precision, shape, x.rows(s.width), weight, to);
            for b in [&direction.b_ih, &direction.b_hh] {
                add_row(gates.at(), address(b), s.frames, len(b));
            }
            let states = States::new(spans, d == 1, units, width, gates);
            states.forward(address(&direction.w_hh), column(address(&y), d * units));
            saved.push(states);
        }
        (y, saved)
    }

    fn backward(dy: Address, directions: &[Direction<Cuda>], saved: &mut Vec<States>) {
        for (d, (states, direction)) in saved.iter().zip(directions).enumerate() {
            states.backward(address(&direction.w_hh), column(dy, d * states.units));
        }
    }

    fn take_factors(
        precision: Precision,
        saved: &mut Vec<States>,
        direction: usize,
    ) -> [Operand; 2] {
        let states = &saved[direction];
        let numbers = states.frames * states.units;
        [
            Cuda::gradient(precision, states.gates.at(), 4 * numbers),
            Cuda::gradient(precision, states.h.at(), numbers),
        ]
    }

    fn add_bias_gradients(dz: &Operand, shape: Affine, biases: [&Param; 2], g: &mut Grads<Cuda>) {
        for b in biases {
            Cuda::add_bias_gradient(dz, shape, g.of(b));
        }
    }
}

/// Returns where this column of the first row of a matrix lies.
fn column(matrix: Address, column: usize) -> Address {
    matrix + (column * size_of::<f32>()) as u64
}

/// What a direction saves: i, f, g, o of each frame, and h and c of the frame before.
pub struct States {
    gates: Memory,
    h: Memory,
    c: Memory,
    /// The frames of the rows that run at a step, one step behind the other.
    order: Memory,
    /// How many rows run at each step.
    running: Vec<usize>,
    frames: usize,
    units: usize,
    /// The width of y.
    width: usize,
}

impl States {
    fn new(spans: &Spans, reversed: bool, units: usize, width: usize, gates: Memory) -> States {
        let mut rows: Vec<_> = spans.iter().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.len()));
        let steps = rows.first().map_or(0, |row| row.len());
        let mut running = Vec::with_capacity(steps);
        let mut order = Vec::with_capacity(spans.total());
        for t in 0..steps {
            running.push(rows.partition_point(|row| t < row.len()));
            for row in &rows[..running[t]] {
                order.push(if reversed {
                    row.end - 1 - t
                } else {
                    row.start + t
                });
            }
        }
        let numbers = spans.total() * units;
        States {
            gates,
            order: gpu().upload(order),
            running,
            h: gpu().memory(F32, numbers),
            c: gpu().memory(F32, numbers),
            frames: spans.total(),
            units,
            width,
        }
    }

    fn steps(&self) -> Vec<LstmStep> {
        let mut first = 0;
        let mut steps = Vec::with_capacity(self.running.len());
        for &n in &self.running {
            steps.push(LstmStep {
                frames: self.order.at() + 8 * first as u64,
                n,
                units: self.units,
            });
            first += n;
        }
        steps
    }

    /// Allocates zeros, `n` for each unit of each row.
    fn zeros(&self, n: usize) -> Memory {
        let rows = self.running.first().copied().unwrap_or(0);
        gpu().zeros(n * rows * self.units)
    }

    fn forward(&self, w_hh: Address, y: Address) {
        let units = self.units;
        let h = self.zeros(1);
        let c = self.zeros(1);
        let recurrent = self.zeros(4);
        for step in self.steps() {
            let weight = View::rows(w_hh, units).t();
            let to = Out::Wide(View::of(&recurrent, 4 * units));
            let shape = [step.n, 4 * units, units];
            product(F32, shape, View::of(&h, units), weight, to);
            kernels::lstm_step(
                for_each(step.n * units, 1),
                self.gates.at(),
                recurrent.at(),
                h.at(),
                c.at(),
                self.h.at(),
                self.c.at(),
                y,
                self.width,
                step,
            );
        }
    }

    /// Replaces the gates by dz.
    fn backward(&self, w_hh: Address, dy: Address) {
        let units = self.units;
        let dh = self.zeros(1);
        let dc = self.zeros(1);
        let dz = self.zeros(4);
        for step in self.steps().into_iter().rev() {
            kernels::lstm_step_backward(
                for_each(step.n * units, 1),
                self.gates.at(),
                dy,
                dh.at(),
                dc.at(),
                self.c.at(),
                dz.at(),
                self.width,
                step,
            );
            let weight = View::rows(w_hh, units);
            let to = Out::Wide(View::of(&dh, units));
            let shape = [step.n, units, 4 * units];
            product(F32, shape, View::of(&dz, 4 * units), weight, to);
        }
    }
}
