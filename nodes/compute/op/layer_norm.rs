//! y = γ ∘ x̂ + β with x̂ = (x - m) r, over each frame: m its mean, r = 1 / sqrt(variance + eps).
//! x, y (frames, width), γ, β (width).
//!
//! Mean and variance are over `over` channels; those beyond the width are absent because they are zero
//! ([`super::norm_projection`]). With a = γ ∘ dy, and dp the gradient of p = -m r where somebody uses it:
//!   dx = r (a - (Σ a + dp) / over - x̂ (Σ a ∘ x̂ + p dp) / over), dγ = Σ dy ∘ x̂, dβ = Σ dy.
#[cfg(feature = "cuda")]
pub mod cuda;
use crate::gemm::Precision;
use crate::math::sum;
use crate::parallel::{FRAMES, add, column_sums, parts2, wide};
use crate::tensor::cpu::{Hidden, Param, Track, read, record_hidden};

/// `precision` is that of the products that read y: a GPU writes what they take in the same pass.
pub fn layer_norm<T: Track>(
    x: Hidden<T>,
    gamma: &Param,
    beta: &Param,
    eps: f32,
    _precision: Precision,
) -> Hidden<T> {
    let (x, tape) = x.split();
    let (width, spans) = (x.width(), x.spans.clone());
    let (y, stats) = forward(x.read(), [read(gamma), read(beta)], eps, width);
    let (gamma, beta) = (gamma.clone(), beta.clone());
    record_hidden(y, width, spans, tape, move |dy, g| {
        let sums = backward(
            &dy,
            x.read(),
            &stats,
            read(&gamma),
            width,
            None,
            g.of(&x.values),
        );
        add(g.of(&gamma), &sums[..width]);
        add(g.of(&beta), &sums[width..]);
    })
}

/// y, and (m, r) of each frame.
pub fn forward(
    x: &[f32],
    [gamma, beta]: [&[f32]; 2],
    eps: f32,
    over: usize,
) -> (Vec<f32>, Vec<f32>) {
    let width = gamma.len();
    let (mut y, mut stats) = (vec![0.0; x.len()], vec![0.0; x.len() / width * 2]);
    parts2((&mut y, width), (&mut stats, 2), |frame, y, stats| {
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

/// Adds to dx; gives dγ and dβ, one behind the other.
pub fn backward(
    dy: &[f32],
    x: &[f32],
    stats: &[f32],
    gamma: &[f32],
    over: usize,
    dp: Option<&[f32]>,
    dx: &mut [f32],
) -> Vec<f32> {
    let width = gamma.len();
    let mut sums = vec![0.0; x.len().div_ceil(FRAMES * width) * 2 * width];
    parts2(
        (dx, FRAMES * width),
        (&mut sums, 2 * width),
        |part, dx, sums| {
            wide!({
                let (dgamma, dbeta) = sums.split_at_mut(width);
                for (i, dx) in dx.chunks_exact_mut(width).enumerate() {
                    let frame = part * FRAMES + i;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, WIDTHS, close, norm};

    #[test]
    fn layer_norm_is_its_formula_and_its_gradient() {
        for width in WIDTHS {
            let case = Case::new(&ROWS, width, &[width, width]);
            let p = &case.p;
            let reference: Vec<f64> = case
                .frames()
                .chunks(width)
                .flat_map(|x| norm(x, &p[0], &p[1], 1e-2, width).0)
                .collect();
            close(
                layer_norm(case.x.clone(), &p[0], &p[1], 1e-2, Precision::F32).read(),
                &reference,
                1e-5,
            );
            case.check(|x, p, _| layer_norm(x, &p[0], &p[1], 1e-2, Precision::F32).values);
        }
        Case::new(&[150, 40], 7, &[7, 7])
            .check(|x, p, _| layer_norm(x, &p[0], &p[1], 1e-5, Precision::F32).values);
    }
}
