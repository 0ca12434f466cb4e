//! [`crate::op::conv_first`]: moments of the windows, factors of every channel, one pass that writes z (kernels/first.cu).
use super::sums::columns;
use crate::cuda::gpu::{Address, Memory, gpu, kernel, launch};
use crate::gemm::Precision;
use crate::op::frames_out;
use crate::tensor::cuda::{Cuda, Param, address, len, record_hidden, tensor, zeros};
use crate::tensor::{Hidden, Spans, Track};

/// Blocks that share the windows of a row when their gradients are summed.
const CHUNKS: usize = 16;

/// `Waves` of the kernels.
#[repr(C)]
#[derive(Clone, Copy)]
struct Waves {
    starts: Address,
    windows: Address,
    k: usize,
    s: usize,
}

/// [`crate::op::First`].
pub struct First {
    waves: Vec<Vec<f32>>,
    weights: [Param; 3],
    k: usize,
    s: usize,
}

impl First {
    pub fn new(waves: Vec<Vec<f32>>, weights: [&Param; 3], k: usize, s: usize) -> First {
        First { waves, weights: weights.map(Param::clone), k, s }
    }
}

pub fn conv_first<T: Track<Cuda>>(first: First, tape: T) -> Hidden<T, Cuda> {
    let First { waves: rows, weights: [w, gamma, beta], k, s } = first;
    let (out, count, samples) = (len(&gamma), rows.len(), Spans::new(rows.iter().map(Vec::len)));
    let spans = Spans::new(samples.lengths().map(|frames| frames_out(frames, k, s)));
    let x = tensor(rows.concat(), (samples.total(),));
    let places = [&samples, &spans].map(|spans| gpu().starts(spans));
    let waves = Waves { starts: places[0].at(), windows: places[1].at(), k, s };

    let [moments, stats] = [k + k * k, out * (2 + k)].map(|n| doubles(count * n));
    launch!("window_moments", [k + k * k, count], address(&x), moments.at(), waves);
    let [scaled, shift] = [out * k, out].map(|n| gpu().memory(Precision::F32, count * n));
    let ([of_w, of_gamma, of_beta], by_row) = ([&w, &gamma, &beta].map(address), [out.div_ceil(256), count]);
    let (moments_at, stats_at) = (moments.at(), stats.at());
    launch!("first_stats", by_row, of_w, of_gamma, of_beta, moments_at, stats_at, scaled.at(), shift.at(), out, waves);
    let (z, longest) = (zeros((spans.total(), out)), spans.lengths().max().unwrap_or(0));
    let (name, grid) = (kernel("first", out), [longest.div_ceil(8), count]);
    launch!(name, grid, address(&x), scaled.at(), shift.at(), address(&z), out, waves);

    record_hidden(z, spans, tape, move |dz, g| {
        let _places = &places;
        let parts = gpu().memory(Precision::F32, (k + 1) * count * CHUNKS * out);
        let (name, grid) = (kernel("first_sums", out), [columns(out), count * CHUNKS]);
        launch!(name, grid, dz, address(&x), parts.at(), out, count, CHUNKS, waves);
        let (sums, grid) = (doubles((k + 1) * count * out), [out.div_ceil(256), (k + 1) * count]);
        launch!("fold_chunks", grid, parts.at(), sums.at(), out, CHUNKS);
        let [dw, dgamma, dbeta] = [&w, &gamma, &beta].map(|p| g.to(p));
        let (grid, [w, gamma]) = ([out.div_ceil(256), 1], [&w, &gamma].map(address));
        let (moments, stats) = (moments.at(), stats.at());
        launch!("first_gradient", grid, sums.at(), moments, stats, w, gamma, dw, dgamma, dbeta, out, count, waves);
    })
}

fn doubles(len: usize) -> Memory {
    gpu().memory(Precision::F32, 2 * len)
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, noise};

    #[test]
    fn conv_first_is_that_of_the_cpu() {
        for (k, s, out) in [(10, 5, 13), (3, 1, 8), (20, 7, 4)] {
            let waves = [197, 2, 0, 160].map(|n| noise("wave", n)).to_vec();
            let case = Case::new(&[1], 1, &[out * k, out, out]);
            both!(&case, |_x, p, tape, _precision| {
                conv_first(First::new(waves.clone(), [&p[0], &p[1], &p[2]], k, s), tape.clone()).values
            });
        }
    }
}
