//! [`LayerNormDevice`] by parallel loops over frames.
use super::LayerNormDevice;
use crate::gemm::Precision;
use crate::math::sum;
use crate::parallel::{FRAMES_PER_TASK, add, column_sums, for_each_chunk_pair, wide};
use crate::tensor::cpu::{Cpu, Grads, Matrix, Param, read, tensor};
use crate::tensor::dimensions;

impl LayerNormDevice for Cpu {
    /// (m, r) of each frame.
    type Saved = Vec<f32>;

    fn forward(
        x: &Matrix,
        [gamma, beta]: [&Param; 2],
        eps: f32,
        _: Precision,
    ) -> (Matrix, Vec<f32>) {
        let (y, stats) = forward(read(x), [read(gamma), read(beta)], eps, dimensions(x).1);
        (tensor(y, dimensions(x)), stats)
    }

    fn backward(
        dy: Vec<f32>,
        x: &Matrix,
        [gamma, beta]: [&Param; 2],
        stats: &Vec<f32>,
        g: &mut Grads,
    ) {
        let width = dimensions(x).1;
        let sums = backward(&dy, read(x), stats, read(gamma), width, None, g.of(x));
        add(g.of(gamma), &sums[..width]);
        add(g.of(beta), &sums[width..]);
    }
}

/// Returns y, and (m, r) of each frame: norms over `over` channels, of which those beyond the
/// width of γ are zero.
pub(crate) fn forward(
    x: &[f32],
    [gamma, beta]: [&[f32]; 2],
    eps: f32,
    over: usize,
) -> (Vec<f32>, Vec<f32>) {
    let width = gamma.len();
    let (mut y, mut stats) = (vec![0.0; x.len()], vec![0.0; x.len() / width * 2]);
    for_each_chunk_pair((&mut y, width), (&mut stats, 2), |frame, y, stats| {
        wide!({
            let x = &x[frame * width..][..width];
            let mean = sum(width, |i| x[i]) / over as f32;
            let absent = (over - width) as f32 * mean * mean;
            let variance = (sum(width, |i| (x[i] - mean) * (x[i] - mean)) + absent) / over as f32;
            let rstd = 1.0 / (variance + eps).sqrt();
            stats.copy_from_slice(&[mean, rstd]);
            for (((y, x), gamma), beta) in y.iter_mut().zip(x).zip(gamma).zip(beta) {
                *y = (x - mean) * rstd * gamma + beta;
            }
        })
    });
    (y, stats)
}

/// Adds to dx and returns dγ and dβ, one behind the other. `dp` is the gradient of -m r.
pub(crate) fn backward(
    dy: &[f32],
    x: &[f32],
    stats: &[f32],
    gamma: &[f32],
    over: usize,
    dp: Option<&[f32]>,
    dx: &mut [f32],
) -> Vec<f32> {
    let width = gamma.len();
    let mut sums = vec![0.0; x.len().div_ceil(FRAMES_PER_TASK * width) * 2 * width];
    for_each_chunk_pair(
        (dx, FRAMES_PER_TASK * width),
        (&mut sums, 2 * width),
        |part, dx, sums| {
            wide!({
                let (dgamma, dbeta) = sums.split_at_mut(width);
                for (i, dx) in dx.chunks_exact_mut(width).enumerate() {
                    let frame = part * FRAMES_PER_TASK + i;
                    let (x, dy) = (&x[frame * width..][..width], &dy[frame * width..][..width]);
                    let (mean, rstd, dp) = (
                        stats[frame * 2],
                        stats[frame * 2 + 1],
                        dp.map_or(0.0, |dp| dp[frame]),
                    );
                    let hat = |x: f32| (x - mean) * rstd;
                    let a = (sum(width, |i| gamma[i] * dy[i]) + dp) / over as f32;
                    let along = (sum(width, |i| gamma[i] * dy[i] * hat(x[i])) - mean * rstd * dp)
                        / over as f32;
                    for ((((dx, x), dy), gamma), (dgamma, dbeta)) in dx
                        .iter_mut()
                        .zip(x)
                        .zip(dy)
                        .zip(gamma)
                        .zip(dgamma.iter_mut().zip(dbeta.iter_mut()))
                    {
                        *dx += rstd * (gamma * dy - a - hat(*x) * along);
                        *dgamma += dy * hat(*x);
                        *dbeta += dy;
                    }
                }
            })
        },
    );
    column_sums(&sums, 2 * width)
}
