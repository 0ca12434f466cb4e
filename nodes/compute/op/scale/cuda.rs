//! [`crate::op::scale`]: the gate is read where it lies.
use crate::cuda::gpu::{for_each, for_rows, gpu};
use crate::cuda::kernels::{self, Pack};
use crate::cuda::sums::add_sum;
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Vector, address, record_hidden, zeros_like};
use crate::tensor::{Hidden, Track, merge, split};

pub fn scale<T: Track<Cuda>>(x: Hidden<T, Cuda>, gate: &Vector<T>) -> Hidden<T, Cuda> {
    let ((x, tape), (gate, other)) = (x.split(), split(gate.clone()));
    let (frames, width, spans) = (x.spans.total(), x.width(), x.spans.clone());
    let (n, y, from) = (frames * width, zeros_like(&x.values), address(&x.values));
    kernels::add_times(
        Pack::of(n),
        for_each(n, n),
        from,
        address(&gate),
        address(&y),
        n,
    );
    record_hidden(y, spans, merge(tape, other), move |dy, g| {
        kernels::add_times(
            Pack::of(n),
            for_each(n, n),
            dy,
            address(&gate),
            g.to(&x.values),
            n,
        );
        let dots = gpu().memory(Precision::F32, frames);
        kernels::dots(
            Pack::of(width),
            for_rows(frames),
            from,
            dy,
            dots.at(),
            frames,
            width,
        );
        add_sum(&dots, g.to(&gate), frames, 1.0);
    })
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::Case;

    #[test]
    fn scale_is_that_of_the_cpu() {
        for width in [11, 12] {
            let case = Case::new(&[3, 0, 300], width, &[1]);
            both!(&case, |x, p, tape, _precision| scale(x, &put(&p[0], tape))
                .values);
        }
    }
}
