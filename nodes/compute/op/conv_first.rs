//! z = γ (u - mean u) / sqrt(var u + 1e-5) + β with u = conv(waveform, w): a group norm with one
//! channel a group, over the frames of each row.
//! Waveform (samples), w (out, k), γ, β (out), z (frames, out).
//!
//! With one input channel the statistics of u = w · window follow from those of the windows:
//! mean u = w · m and var u = wᵀ C w, where m and C are the mean and covariance of the windows (k
//! and k × k numbers a row). So the norm is a rescaled convolution, and z is written once. With
//! G = Σ dz window, S = Σ dz and r = 1 / sqrt(var + eps) all gradients are closed forms:
//!   dβ = S, dγ = r (w · G - mean S), dw = γ r (G - S m - r dγ C w).
//! Always in f32: these are small differences, and GEMMs so shallow are bound by what they write.
pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
use super::windows::frames_out;
use crate::tensor::{
    Device, DeviceStorage, Grads, Hidden, Matrix, NoneTape, Param, Spans, Storage, Track,
    record_hidden,
};

/// What a device must do for [`conv_first`].
pub trait ConvFirstDevice: DeviceStorage {
    /// The convolution with the norm of each row in its taps.
    type Normed: 'static;

    /// Computes the statistics of the windows, and the taps of each row.
    fn prepare(first: First<Self>) -> Self::Normed;
    /// Returns z of all rows.
    fn values(normed: &Self::Normed) -> Matrix<NoneTape, Self>;
    /// Adds to the gradients of w, γ and β.
    fn add_gradients(normed: &Self::Normed, dz: Self::Upstream, g: &mut Grads<Self>);
}

/// The first convolution of waveforms and its norm, before it is computed: its result is so wide
/// that it need not be in memory as a whole.
pub struct First<D: Storage<f32> = Device> {
    waves: Vec<Vec<f32>>,
    /// w, γ and β
    weights: [Param<D>; 3],
    k: usize,
    s: usize,
}

impl<D: Storage<f32>> First<D> {
    /// Takes rows of samples, and w, γ and β of a convolution with k taps and stride s.
    pub fn new(waves: Vec<Vec<f32>>, weights: [&Param<D>; 3], k: usize, s: usize) -> First<D> {
        First {
            waves,
            weights: weights.map(Param::clone),
            k,
            s,
        }
    }

    /// Returns the rows of z.
    fn spans(&self) -> Spans {
        let samples = self.waves.iter().map(Vec::len);
        Spans::new(samples.map(|samples| frames_out(samples, self.k, self.s)))
    }
}

/// Computes the first convolution and its norm for all rows.
pub fn conv_first<T: Track<D>, D: ConvFirstDevice>(first: First<D>, tape: T) -> Hidden<T, D> {
    let spans = first.spans();
    let normed = D::prepare(first);
    let z = D::values(&normed);
    record_hidden(z, spans, tape, move |dz, g| {
        D::add_gradients(&normed, dz, g)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, check_op, close, noise};
    use crate::tensor::cpu::{Cpu, Param, read};

    const OUT: usize = 13;

    fn first(waves: &[Vec<f32>], p: &[Param], k: usize, s: usize) -> First<Cpu> {
        First::new(waves.to_vec(), [&p[0], &p[1], &p[2]], k, s)
    }

    fn reference(waves: &[Vec<f32>], p: &[Param], k: usize, s: usize) -> Vec<f64> {
        let w = read(&p[0]);
        let gamma = read(&p[1]);
        let beta = read(&p[2]);
        let mut z = vec![];
        for x in waves {
            let frames = frames_out(x.len(), k, s);
            let u = |t: usize, c: usize| {
                (0..k)
                    .map(|j| w[c * k + j] as f64 * x[t * s + j] as f64)
                    .sum::<f64>()
            };
            let mean = |c: usize| (0..frames).map(|t| u(t, c)).sum::<f64>() / frames as f64;
            let variance = |c: usize| {
                let squares = (0..frames).map(|t| (u(t, c) - mean(c)).powi(2));
                squares.sum::<f64>() / frames as f64
            };
            for (t, c) in (0..frames).flat_map(|t| (0..OUT).map(move |c| (t, c))) {
                let hat = (u(t, c) - mean(c)) / (variance(c) + 1e-5).sqrt();
                z.push(hat * gamma[c] as f64 + beta[c] as f64);
            }
        }
        z
    }

    #[test]
    fn conv_first_is_its_formula_and_its_gradient() {
        for (k, s) in [(10, 5), (3, 1), (4, 7)] {
            let waves = [97, 3, 0, k, 60].map(|n| noise("wave", n));
            let case = Case::new(&[1], 1, &[OUT * k, OUT, OUT]);
            let reference = reference(&waves, &case.p, k, s);
            let z = conv_first(first(&waves, &case.p, k, s), NoneTape);
            // The row of one window has no variance: 1 / sqrt(eps) magnifies its rounding.
            close(z.read(), &reference, 1e-3);
            let row = z.spans.of(0).end * OUT;
            close(&z.read()[..row], &reference[..row], 1e-5);
            let long = [0, 1, 2, 4].map(|row| waves[row].clone());
            case.check(|_, p, tape| conv_first(first(&long, p, k, s), tape.clone()).values);
        }
        for (k, s, out) in [(10, 5, 13), (3, 1, 8), (20, 7, 4)] {
            let waves = [197, 2, 0, 160].map(|n| noise("wave", n)).to_vec();
            let case = Case::new(&[1], 1, &[out * k, out, out]);
            check_op!(case, |_, p, tape, _| {
                let first = First::new(waves.clone(), [&p[0], &p[1], &p[2]], k, s);
                conv_first(first, tape.clone()).values
            });
        }
    }
}
