//! [`MapDivergenceDevice`] with a task for each row.
use super::{MapDivergenceDevice, MapShape};
use crate::math::{ln, sum};
use crate::op::attention_map::cpu::squares;
use crate::parallel::{Shared, for_each, map, wide};
use crate::tensor::cpu::{Cpu, Matrix, Number, Spans, Vector, read, tensor};

/// What S counts as at least.
const LEAST: f32 = 1e-30;

impl MapDivergenceDevice for Cpu {
    fn mean(p: &Vector, spans: &Spans, heads: usize) -> Matrix {
        let rows = squares(spans, 1);
        let p = read(p);
        let mut mean = vec![0.0; rows.total()];
        let shared = Shared::new(&mut mean);
        let share = 1.0 / heads as f32;
        for_each(rows.rows(), |row| {
            let square = rows.of(row);
            let numbers = square.len();
            let of_row = &p[square.start * heads..][..numbers * heads];
            // SAFETY: each task has its own square.
            let mean = unsafe { shared.part(square.start, numbers) };
            for head in of_row.chunks_exact(numbers.max(1)) {
                wide!((0..numbers).for_each(|i| mean[i] += head[i]));
            }
            wide!(mean.iter_mut().for_each(|s| *s *= share));
        });
        tensor(mean, (rows.total(), 1))
    }

    fn forward(mean: &Matrix, target: &Matrix, spans: &Spans, unit: f64) -> Number {
        let rows = squares(spans, 1);
        let divergences = map(rows.rows(), |row| {
            let square = rows.of(row);
            let n = spans.of(row).len();
            let s = &read(mean)[square.clone()];
            let t = &read(target)[square];
            // Sums of a query in f32, those of queries in f64.
            let queries = s.chunks_exact(n.max(1)).zip(t.chunks_exact(n.max(1)));
            queries
                .map(|(s, t)| wide!(sum(n, |i| term(t[i], s[i]))) as f64)
                .sum::<f64>()
        });
        let total: f64 = divergences.into_iter().sum();
        tensor(vec![(total * unit) as f32], ())
    }

    fn backward(
        dy: Vec<f32>,
        mean: &Matrix,
        target: &Matrix,
        shape: MapShape,
        unit: f64,
        dp: &mut Vec<f32>,
    ) {
        let factor = -(dy[0] as f64 * unit / shape.heads as f64) as f32;
        let rows = squares(shape.spans, 1);
        let s = read(mean);
        let t = read(target);
        let shared = Shared::new(dp);
        for_each(rows.rows() * shape.heads, |i| {
            let square = rows.of(i / shape.heads);
            let numbers = square.len();
            let start = square.start * shape.heads + i % shape.heads * numbers;
            let s = &s[square.clone()];
            let t = &t[square];
            // SAFETY: each task has the square of its own head.
            let dp = unsafe { shared.part(start, numbers) };
            wide!((0..numbers).for_each(|i| dp[i] += factor * t[i] / s[i].max(LEAST)));
        });
    }
}

/// Returns t ln(t / s), 0 for a t of 0.
#[inline(always)]
fn term(t: f32, s: f32) -> f32 {
    // `ln` wants normal numbers; a t this small counts nothing.
    if t < LEAST {
        0.0
    } else {
        t * (ln(t) - ln(s.max(LEAST)))
    }
}
