//! [`crate::op::lstm`]: a step is a product, and a kernel for all that follows it.
use crate::cuda::elementwise::add_row;
use crate::cuda::gpu::{Address, Memory, for_each, gpu};
use crate::cuda::kernels::{self, LstmStep};
use crate::cuda::product::{Factor, Out, View, product};
use crate::cuda::sums::add_column_sums;
use crate::gemm::Precision;
use crate::gemm::Precision::F32;
use crate::tensor::cuda::{Cuda, Param, address, len, record_hidden, zeros};
use crate::tensor::{Hidden, Spans, Track};

/// `directions`: w_ih, w_hh, b_ih, b_hh of the one that goes forward and, if there are two, of the one that goes back.
pub fn lstm<T: Track<Cuda>>(
    x: Hidden<T, Cuda>,
    directions: &[[&Param; 4]],
    precision: Precision,
) -> Hidden<T, Cuda> {
    let (x, tape) = x.split();
    let (frames, input, spans, units) = (
        x.spans.total(),
        x.width(),
        x.spans.clone(),
        len(directions[0][3]) / 4,
    );
    let (width, from) = (directions.len() * units, Factor::of(precision, &x.values));
    let y = zeros((frames, width));
    let walk = |(d, [w_ih, w_hh, b_ih, b_hh]): (usize, &[&Param; 4])| {
        let (gates, weight) = (
            gpu().memory(F32, frames * 4 * units),
            Factor::weight(precision, w_ih),
        );
        let (shape, to) = (
            [frames, 4 * units, input],
            Out::Wide(View::of(&gates, 4 * units)),
        );
        product(
            precision,
            shape,
            from.rows(input),
            weight.rows(input).t(),
            to,
        );
        for b in [b_ih, b_hh] {
            add_row(gates.at(), address(b), frames, len(b));
        }
        let walk = Walk::new(&spans, d == 1, units, width, gates);
        walk.forward(
            address(w_hh),
            address(&y) + (d * units * size_of::<f32>()) as u64,
        );
        walk
    };
    let walks: Vec<Walk> = directions.iter().enumerate().map(walk).collect();

    let directions: Vec<[Param; 4]> = directions.iter().map(|d| d.map(Param::clone)).collect();
    record_hidden(y, spans, tape, move |dy, g| {
        for (d, (walk, [w_ih, w_hh, b_ih, b_hh])) in walks.iter().zip(&directions).enumerate() {
            walk.backward(address(w_hh), dy + (d * units * size_of::<f32>()) as u64);
            let [dz, h] = [(&walk.gates, 4 * units), (&walk.h, units)]
                .map(|(of, width)| Factor::at(precision, of.at(), frames * width));
            let dz = dz.rows(4 * units);
            for (w, from, width) in [(w_ih, &from, input), (w_hh, &h, units)] {
                let to = Out::Add(View::rows(g.to(w), width));
                product(
                    precision,
                    [4 * units, width, frames],
                    dz.t(),
                    from.rows(width),
                    to,
                );
            }
            for b in [b_ih, b_hh] {
                add_column_sums(walk.gates.at(), g.to(b), frames, 4 * units);
            }
            let (weight, dx) = (
                Factor::weight(precision, w_ih),
                Out::Add(View::rows(g.to(&x.values), input)),
            );
            product(
                precision,
                [frames, input, 4 * units],
                dz,
                weight.rows(input),
                dx,
            );
        }
    })
}

/// One direction and what it keeps: i, f, g, o of each frame, and h and c of the frame before.
struct Walk {
    gates: Memory,
    h: Memory,
    c: Memory,
    /// The frames of a step's rows, one step behind the other, and how many they are.
    order: Memory,
    running: Vec<usize>,
    units: usize,
    /// Of y.
    width: usize,
}

impl Walk {
    fn new(spans: &Spans, back: bool, units: usize, width: usize, gates: Memory) -> Walk {
        let mut rows: Vec<_> = spans.iter().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.len()));
        let steps = 0..rows.first().map_or(0, |row| row.len());
        let running: Vec<usize> = steps
            .map(|t| rows.partition_point(|row| t < row.len()))
            .collect();
        let frame = |t: usize, r: usize| {
            if back {
                rows[r].end - 1 - t
            } else {
                rows[r].start + t
            }
        };
        let order = running
            .iter()
            .enumerate()
            .flat_map(|(t, n)| (0..*n).map(move |r| (t, r)));
        let order = gpu().upload(order.map(|(t, r)| frame(t, r)));
        let [h, c] = [(); 2].map(|_| gpu().memory(F32, spans.total() * units));
        Walk {
            gates,
            h,
            c,
            order,
            running,
            units,
            width,
        }
    }

    fn steps(&self) -> impl DoubleEndedIterator<Item = LstmStep> {
        let starts = self
            .running
            .iter()
            .scan(0, |next, n| Some((std::mem::replace(next, *next + n), *n)));
        let step = |(first, n)| LstmStep {
            frames: self.order.at() + 8 * first as u64,
            n,
            units: self.units,
        };
        starts.map(step).collect::<Vec<_>>().into_iter()
    }

    /// Memory for `n` numbers of every unit of the rows.
    fn states<const N: usize>(&self, numbers: [usize; N]) -> [Memory; N] {
        let rows = self.running.first().copied().unwrap_or(0);
        numbers.map(|n| gpu().zeros(n * rows * self.units))
    }

    fn forward(&self, w_hh: Address, y: Address) {
        let (units, [h, c, recurrent]) = (self.units, self.states([1, 1, 4]));
        for step in self.steps() {
            let (weight, to) = (
                View::rows(w_hh, units).t(),
                Out::Wide(View::of(&recurrent, 4 * units)),
            );
            product(
                F32,
                [step.n, 4 * units, units],
                View::of(&h, units),
                weight,
                to,
            );
            let (grid, gates, width) = (for_each(step.n * units, 1), self.gates.at(), self.width);
            let (h, c, before) = (h.at(), c.at(), [self.h.at(), self.c.at()]);
            kernels::lstm_step(
                grid,
                gates,
                recurrent.at(),
                h,
                c,
                before[0],
                before[1],
                y,
                width,
                step,
            );
        }
    }

    /// The gates become dz.
    fn backward(&self, w_hh: Address, dy: Address) {
        let (units, [dh, dc, dz]) = (self.units, self.states([1, 1, 4]));
        for step in self.steps().rev() {
            let (grid, gates, width) = (for_each(step.n * units, 1), self.gates.at(), self.width);
            let c = self.c.at();
            kernels::lstm_step_backward(grid, gates, dy, dh.at(), dc.at(), c, dz.at(), width, step);
            let to = Out::Wide(View::of(&dh, units));
            product(
                F32,
                [step.n, units, 4 * units],
                View::of(&dz, 4 * units),
                View::rows(w_hh, units),
                to,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, ROWS};

    #[test]
    fn lstm_is_that_of_the_cpu() {
        for (width, units) in [(5, 3), (8, 12)] {
            let one = [4 * units * width, 4 * units * units, 4 * units, 4 * units];
            let case =
                Case::new(&ROWS, width, &[one, one].concat()).scaled(0.6 / (units as f32).sqrt());
            for count in [1, 2] {
                both!(&case, |x, p, _tape, precision| {
                    let directions: Vec<_> = p
                        .chunks_exact(4)
                        .map(|p| [&p[0], &p[1], &p[2], &p[3]])
                        .collect();
                    lstm(x, &directions[..count], precision).values
                });
            }
        }
    }
}
