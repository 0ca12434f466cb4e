//! [`crate::op::mean_square`].
use crate::cuda::elementwise::add;
use crate::cuda::gpu::{for_each, for_rows, gpu};
use crate::cuda::kernels::{self, Pack};
use crate::cuda::mask::Mask;
use crate::cuda::sums::add_sum;
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, address, len, record, zeros};
use crate::tensor::{Hidden, Number, Track};

/// 0 where there is no frame.
pub fn mean_square<T: Track<Cuda>>(x: Hidden<T, Cuda>) -> Number<T, Cuda> {
    let (x, tape) = x.split();
    let (frames, width, n, y) = (x.spans.total(), x.width(), len(&x.values), zeros(()));
    let (squares, from) = (gpu().memory(Precision::F32, frames), address(&x.values));
    kernels::dots(
        Pack::of(width),
        for_rows(frames),
        from,
        from,
        squares.at(),
        frames,
        width,
    );
    add_sum(&squares, address(&y), frames, 1.0 / n.max(1) as f64);
    record(y, tape, move |dy, g| {
        let scale = gpu().zeros(1);
        add(dy, scale.at(), 1, Mask::times(2.0 / n.max(1) as f32));
        kernels::add_times(
            Pack::of(n),
            for_each(n, n),
            address(&x.values),
            scale.at(),
            g.to(&x.values),
            n,
        );
    })
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, ROWS};

    #[test]
    fn mean_square_is_that_of_the_cpu() {
        for width in [7, 12] {
            both!(&Case::new(&ROWS, width, &[]), |x, _p, _tape, _precision| {
                mean_square(x)
            });
        }
    }
}
