//! [`crate::op::layer_norm`]: a warp a frame; of a frame's statistics mean and 1 / deviation are kept. In bf16 the same pass
//! writes what the products that read y take.
use super::LayerNormDevice;
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::grid::for_rows;
use crate::cuda::kernels::{self, Added, Pack};
use crate::cuda::mask::Mask;
use crate::cuda::narrow;
use crate::cuda::sums::Parts;
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Matrix, Param, address, zeros};
use crate::tensor::{Grads, dimensions};

impl LayerNormDevice for Cuda {
    type Saved = Norm;

    fn forward(
        x: &Matrix,
        gamma_beta: [&Param; 2],
        eps: f32,
        precision: Precision,
    ) -> (Matrix, Norm) {
        let (frames, width) = dimensions(x);
        let shape = [frames, width, width];
        let source = (precision, address(x), Added::NOTHING);
        Norm::written(precision, shape, |to| {
            Norm::of(shape, source, gamma_beta, eps, to)
        })
    }

    fn backward(dy: Address, x: &Matrix, _: [&Param; 2], norm: &Norm, g: &mut Grads<Cuda>) {
        let dx = g.of(x);
        norm.pull(dy, 0, dx, 0, g);
    }
}

/// A norm over `over` channels, of which those beyond the width are zero.
pub struct Norm {
    /// What is normed, kept by whoever keeps this.
    x: Address,
    shape: [usize; 3],
    /// Of what was added, and of its gradient.
    precision: Precision,
    mask: Mask,
    gamma: Param,
    beta: Param,
    /// (frames, 2)
    pub stats: Memory,
}

impl Norm {
    /// Of frames, width and `over`, of x and what is added, in this format. y goes to the first of `to` in f32, to the second
    /// in bf16; 0: nowhere.
    pub(crate) fn of(
        shape: [usize; 3],
        (precision, x, added): (Precision, Address, Added),
        [gamma, beta]: [&Param; 2],
        eps: f32,
        [y, operand]: [Address; 2],
    ) -> Norm {
        let ([frames, width, over], [scale, shift]) = (shape, [gamma, beta].map(address));
        let stats = gpu().memory(Precision::F32, 2 * frames);
        let grid = for_rows(frames);
        kernels::layer_norm(
            precision,
            Pack::of(width),
            grid,
            x,
            added,
            scale,
            shift,
            y,
            operand,
            stats.at(),
            frames,
            width,
            over,
            eps,
        );
        let (x, mask) = (if added.r == 0 { x } else { added.sum }, added.mask);
        Norm {
            x,
            shape,
            precision,
            mask,
            gamma: gamma.clone(),
            beta: beta.clone(),
            stats,
        }
    }

    /// y, for which `of` is told where to write, with its operand in bf16.
    pub fn written(
        precision: Precision,
        [frames, width, _]: [usize; 3],
        of: impl FnOnce([Address; 2]) -> Norm,
    ) -> (Matrix, Norm) {
        let y = zeros((frames, width));
        let operand =
            (precision == Precision::Bf16).then(|| gpu().memory(precision, frames * width));
        let norm = of([address(&y), operand.as_ref().map_or(0, Memory::at)]);
        if let Some(operand) = operand {
            narrow::keep(&y, operand);
        }
        (y, norm)
    }

    /// Adds to the gradients of x, γ and β, and writes that of what was added to `dr`, or nowhere; `dp` is that of -mean /
    /// deviation, a number a frame, or 0.
    pub fn pull(&self, dy: Address, dp: Address, dx: Address, dr: Address, g: &mut Grads<Cuda>) {
        let ([frames, width, over], x, stats, gamma) =
            (self.shape, self.x, self.stats.at(), address(&self.gamma));
        let grid = for_rows(frames);
        kernels::layer_norm_backward(
            self.precision,
            Pack::of(width),
            grid,
            dy,
            x,
            stats,
            gamma,
            dp,
            dx,
            dr,
            self.mask,
            frames,
            width,
            over,
        );
        // Of γ and of β.
        let sums = Parts::several(2, frames, width);
        kernels::layer_norm_sums(
            Pack::of(width),
            sums.grid(),
            dy,
            x,
            stats,
            sums.of_sum(0),
            sums.of_sum(1),
            frames,
            width,
            sums.per,
        );
        sums.add([g.to(&self.gamma), g.to(&self.beta)]);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_products_read_is_y_in_bf16() {
        use super::*;
        use crate::cuda::grid::for_each;
        use crate::cuda::product::Factor;
        use crate::op::check::noise;
        use crate::op::layer_norm;
        use crate::tensor::Spans;
        use crate::tensor::cuda::{hidden, param, read};
        for width in [5, 8] {
            let (x, p) = (
                hidden(noise("x", 6 * width), width, Spans::new([4, 2])),
                param(noise("p", width)),
            );
            let y = layer_norm(x, &p, &p, 1e-5, Precision::Bf16).values;
            let wide = |from: Address| {
                let (n, to) = (6 * width, zeros((6 * width,)));
                kernels::widen(
                    Precision::Bf16,
                    Pack::of(n),
                    for_each(n, n),
                    from,
                    address(&to),
                    n,
                );
                read(&to)
            };
            let anew = Factor::at(Precision::Bf16, address(&y), 6 * width);
            assert_eq!(
                wide(Factor::of(Precision::Bf16, &y).place()),
                wide(anew.place())
            );
        }
    }
}
