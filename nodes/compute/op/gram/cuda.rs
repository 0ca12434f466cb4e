//! [`crate::op::gram_distance`]: the squares of all rows stand in memory, from forward to backward.
use crate::cuda::gpu::{for_each, for_rows, gpu};
use crate::cuda::kernels;
use crate::cuda::sums::add_sum;
use crate::gemm::Precision::F32;
use crate::op::attention::cuda::padded_heads::PaddedHeads;
use crate::op::cuda::Mask;
use crate::tensor::cuda::{Cuda, Slot, address, record, zeros};
use crate::tensor::{Hidden, NoneTape, Number, Track, merge};

type Target = Hidden<NoneTape, Cuda>;

/// Without frames y is 0. `a` and `b` may be one tensor.
pub fn gram_distance<T: Track<Cuda>>(
    a: Hidden<T, Cuda>,
    b: Hidden<T, Cuda>,
    target_a: &Target,
    target_b: &Target,
) -> Number<T, Cuda> {
    let ((a, tape), (b, other), spans) = (a.split(), b.split(), target_a.spans.clone());
    assert_eq!(
        (a.width(), target_a.width()),
        (b.width(), target_b.width()),
        "frames to relate differ in width"
    );
    assert!(
        [&a, &b, target_b].iter().all(|x| x.spans == spans),
        "student and target differ in frames"
    );
    let unit = 1.0 / spans.lengths().map(|n| n * n).sum::<usize>().max(1) as f64;
    let heads = |width| PaddedHeads::new(&spans, [1, width], 0, Mask::times(1.0), F32);
    let (own, theirs, y) = (heads(a.width()), heads(target_a.width()), zeros(()));
    let split = |all: &PaddedHeads, x: &Target| all.split(address(&x.values));
    let (split_a, split_b) = (split(&own, &a), split(&own, &b));
    let target = theirs.scores(&split(&theirs, target_a), &split(&theirs, target_b));
    let (d, frames, padded) = (
        own.scores(&split_a, &split_b),
        own.rows * own.padded,
        own.padded,
    );
    let squares = gpu().memory(F32, frames);
    kernels::gram_difference(
        for_rows(frames),
        target.at(),
        d.at(),
        squares.at(),
        frames,
        padded,
    );
    add_sum(&squares, address(&y), frames, unit);
    let [to_a, to_b] = [a, b].map(|x| Slot::of(&x.values));
    record(y, merge(tape, other), move |dy, g| {
        let (n, factor) = (own.scores_len(), -2.0 * unit as f32);
        kernels::gram_scale(for_each(n, 1), d.at(), dy, n, factor);
        own.merge(&own.mixed(&d, &split_b), g.at(&to_a));
        own.merge(&own.mixed_back(&d, &split_a), g.at(&to_b));
    })
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, ROWS, noise};

    #[test]
    fn gram_distance_is_that_of_the_cpu() {
        let (case, spans) = (
            Case::new(&ROWS, 5, &[25, 5]),
            Case::new(&ROWS, 5, &[]).x.spans,
        );
        let target = |name| noise(name, spans.total() * 7);
        both!(&case, |x, p, _tape, precision| {
            let [a, b] = ["a", "b"].map(|name| hidden(target(name), 7, spans.clone()));
            gram_distance(x.clone(), linear(x, &p[0], &p[1], precision), &a, &b)
        });
        both!(&case, |x, _p, _tape, _precision| {
            let a = hidden(target("a"), 7, spans.clone());
            gram_distance(x.clone(), x, &a, &a)
        });
    }
}
