//! [`crate::op::mask_frames`].
use crate::cuda::gpu::{for_each, gpu};
use crate::cuda::kernels;
use crate::cuda::sums::add_column_sums;
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Param, Slot, address, len, record_hidden, zeros_like};
use crate::tensor::{Hidden, Track};

/// `masked` says it of every frame of the batch, row after row.
pub fn mask_frames<T: Track<Cuda>>(
    x: Hidden<T, Cuda>,
    masked: Vec<bool>,
    e: &Param,
) -> Hidden<T, Cuda> {
    let (x, tape) = x.split();
    assert_eq!(
        masked.len(),
        x.spans.total(),
        "a mask has a flag for each frame"
    );
    let (frames, width, n, y) = (
        x.spans.total(),
        x.width(),
        len(&x.values),
        zeros_like(&x.values),
    );
    let masked = gpu().upload(masked.into_iter().map(usize::from));
    let (grid, flags) = (for_each(n, 1), masked.at());
    kernels::mask_rows(
        grid,
        address(&x.values),
        address(e),
        flags,
        address(&y),
        n,
        width,
    );
    let (x, spans, e) = (Slot::of(&x.values), x.spans, e.clone());
    record_hidden(y, spans, tape, move |dy, g| {
        let hidden = gpu().memory(Precision::F32, n);
        kernels::unmask_rows(grid, dy, masked.at(), g.at(&x), hidden.at(), n, width);
        add_column_sums(hidden.at(), g.to(&e), frames, width);
    })
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, ROWS};

    #[test]
    fn mask_frames_is_that_of_the_cpu() {
        for width in [7, 8] {
            let case = Case::new(&ROWS, width, &[width]);
            let masked: Vec<bool> = (0..case.x.spans.total())
                .map(|t| t % 3 == 1 || t > 40)
                .collect();
            both!(&case, |x, p, _tape, _precision| mask_frames(
                x,
                masked.clone(),
                &p[0]
            )
            .values);
        }
    }
}
