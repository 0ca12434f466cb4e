//! [`crate::op::layer_norm`]: a warp a frame; of a frame's statistics mean and 1 / deviation are kept.
use super::sums::Parts;
use crate::cuda::gpu::{Address, Memory, for_rows, gpu, kernel, launch};
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Param, address, record_hidden, zeros};
use crate::tensor::{Grads, Hidden, NoneTape, Track};

pub fn layer_norm<T: Track<Cuda>>(x: Hidden<T, Cuda>, gamma: &Param, beta: &Param, eps: f32) -> Hidden<T, Cuda> {
    let (x, tape) = x.split();
    let width = x.width();
    let y = zeros((x.spans.total(), width));
    let norm = Norm::of(x, [gamma, beta], eps, width, address(&y));
    let spans = norm.x.spans.clone();
    record_hidden(y, spans, tape, move |dy, g| norm.pull(dy, 0, g))
}

/// A norm over `over` channels, of which those beyond the width are zero.
pub struct Norm {
    pub x: Hidden<NoneTape, Cuda>,
    gamma: Param,
    beta: Param,
    over: usize,
    /// (frames, 2)
    pub stats: Memory,
}

impl Norm {
    /// Writes the result to `y`.
    pub fn of(x: Hidden<NoneTape, Cuda>, [gamma, beta]: [&Param; 2], eps: f32, over: usize, y: Address) -> Norm {
        let (frames, width, from) = (x.spans.total(), x.width(), address(&x.values));
        let stats = gpu().memory(Precision::F32, 2 * frames);
        let (name, grid) = (kernel("layer_norm", width), for_rows(frames));
        launch!(name, grid, from, address(gamma), address(beta), y, stats.at(), frames, width, over, eps);
        Norm { x, gamma: gamma.clone(), beta: beta.clone(), over, stats }
    }

    /// Adds to the gradients of x, γ and β; `dp` is that of -mean / deviation, a number a frame, or 0.
    pub fn pull(&self, dy: Address, dp: Address, g: &mut Grads<Cuda>) {
        let (frames, width, over, stats) = (self.x.spans.total(), self.x.width(), self.over, self.stats.at());
        let (x, gamma, dx) = (address(&self.x.values), address(&self.gamma), g.to(&self.x.values));
        let (name, grid) = (kernel("layer_norm_backward", width), for_rows(frames));
        launch!(name, grid, dy, x, stats, gamma, dp, dx, frames, width, over);
        let [dgamma, dbeta] = [(); 2].map(|_| Parts::new(frames, width));
        let (name, per) = (kernel("layer_norm_sums", width), dgamma.per);
        launch!(name, dgamma.grid(), dy, x, stats, dgamma.at(), dbeta.at(), frames, width, per);
        dgamma.add(g.to(&self.gamma));
        dbeta.add(g.to(&self.beta));
    }
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, ROWS};

    #[test]
    fn layer_norm_is_that_of_the_cpu() {
        for (rows, width) in [(&ROWS[..], 5), (&ROWS, 140), (&[150, 40], 8)] {
            let case = Case::new(rows, width, &[width, width]);
            both!(&case, |x, p, _tape, _precision| layer_norm(x, &p[0], &p[1], 1e-2).values);
        }
    }
}
