//! [`crate::op::cross_entropy`]: kept are the largest logit of a frame, and the sum of exponents off it.
use crate::cuda::gpu::{for_rows, gpu};
use crate::cuda::kernels;
use crate::cuda::sums::add_sum;
use crate::gemm::Precision;
use crate::op::counting;
use crate::tensor::cuda::{Cuda, address, record, tensor, zeros};
use crate::tensor::{Hidden, Number, Track};

pub fn cross_entropy<T: Track<Cuda>>(
    logits: Hidden<T, Cuda>,
    labels: &[u32],
    weights: Option<&[f32]>,
) -> Number<T, Cuda> {
    let (x, tape) = logits.split();
    let (frames, classes) = (x.spans.total(), x.width());
    let (labels, weights, unit) = counting(labels, weights, [frames, classes]);
    let (labels, weights) = (gpu().upload(labels), tensor(weights, (frames,)));
    let ([values, soft], y) = (
        [1, 2].map(|n| gpu().memory(Precision::F32, n * frames)),
        zeros(()),
    );
    let (from, counts, grid) = (address(&x.values), address(&weights), for_rows(frames));
    kernels::cross_entropy(
        grid,
        from,
        labels.at(),
        counts,
        values.at(),
        soft.at(),
        frames,
        classes,
    );
    add_sum(&values, address(&y), frames, unit);
    record(y, tape, move |dy, g| {
        let (labels, counts, dx) = (labels.at(), address(&weights), g.to(&x.values));
        let unit = unit as f32;
        kernels::cross_entropy_backward(
            grid,
            from,
            labels,
            counts,
            soft.at(),
            dy,
            dx,
            frames,
            classes,
            unit,
        );
    })
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, ROWS};

    #[test]
    fn cross_entropy_is_that_of_the_cpu() {
        let case = Case::new(&ROWS, 40, &[]);
        let frames = case.x.spans.total();
        let labels: Vec<u32> = (0..frames as u32).map(|t| t * 7 % 40).collect();
        let weights: Vec<f32> = (0..frames).map(|t| (t % 4) as f32).collect();
        both!(&case, |x, _p, _tape, _precision| cross_entropy(
            x,
            &labels,
            Some(&weights)
        ));
        both!(&case, |x, _p, _tape, _precision| cross_entropy(
            x, &labels, None
        ));
        both!(&case, |x, _p, _tape, _precision| cross_entropy(
            x,
            &labels,
            Some(&vec![0.0; frames])
        ));
    }
}
