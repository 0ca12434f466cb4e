//! [`MapSoftmaxDevice`] with a task for each head of each row.
use super::MapSoftmaxDevice;
use crate::math::{exp, largest, sum};
use crate::op::attention_map::cpu::squares;
use crate::parallel::{Shared, for_each, wide};
use crate::tensor::cpu::{Cpu, Spans, Vector, read, tensor};

impl MapSoftmaxDevice for Cpu {
    fn forward(p: &Vector, spans: &Spans, heads: usize) -> Vector {
        let mut y = read(p).to_vec();
        for_each_square(&mut y, spans, heads, |_, n, square| {
            wide!(for row in square.chunks_exact_mut(n) {
                let max = largest(row);
                row.iter_mut().for_each(|x| *x = exp(*x - max));
                let inverse = 1.0 / sum(n, |i| row[i]);
                row.iter_mut().for_each(|x| *x *= inverse);
            });
        });
        let numbers = y.len();
        tensor(y, (numbers,))
    }

    fn backward(dy: Vec<f32>, y: &Vector, spans: &Spans, heads: usize, dp: &mut Vec<f32>) {
        let y = read(y);
        for_each_square(dp, spans, heads, |start, n, dp| {
            let y = &y[start..][..dp.len()];
            let dy = &dy[start..][..dp.len()];
            wide!(for (row, dp) in dp.chunks_exact_mut(n).enumerate() {
                let y = &y[row * n..][..n];
                let dy = &dy[row * n..][..n];
                let mean = sum(n, |i| y[i] * dy[i]);
                (0..n).for_each(|i| dp[i] += y[i] * (dy[i] - mean));
            });
        });
    }
}

/// Calls `f` with the start, the frames and the numbers of the square of each head of each row.
fn for_each_square(
    map: &mut [f32],
    spans: &Spans,
    heads: usize,
    f: impl Fn(usize, usize, &mut [f32]) + Sync + Send,
) {
    let squares = squares(spans, heads);
    let shared = Shared::new(map);
    for_each(squares.rows(), |i| {
        let frames = spans.of(i / heads).len();
        let square = squares.of(i);
        if frames > 0 {
            // SAFETY: each task has its own square.
            let numbers = unsafe { shared.part(square.start, square.len()) };
            f(square.start, frames, numbers);
        }
    });
}
