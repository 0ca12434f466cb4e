//! y = the chosen frames of x, in their order. x (frames, width), y (chosen frames, width).
//! dx of a chosen frame += dy, and nothing else.
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use crate::tensor::{DeviceStorage, Hidden, Matrix, NoneTape, Slot, Spans, Track, record_hidden};

/// What a device must do for [`select_frames`].
pub trait SelectFramesDevice: DeviceStorage {
    /// The numbers of the chosen frames, in the memory of the device.
    type Chosen: 'static;

    /// Moves the numbers of the chosen frames to the device.
    fn chosen(frames: Vec<usize>) -> Self::Chosen;

    /// Returns y.
    fn forward(
        x: &Matrix<NoneTape, Self>,
        chosen: &Self::Chosen,
        count: usize,
    ) -> Matrix<NoneTape, Self>;

    /// Adds dy, which has this `shape`, to the chosen frames of dx.
    fn backward(
        dy: Self::Upstream,
        chosen: &Self::Chosen,
        shape: (usize, usize),
        dx: Self::Accumulator<'_>,
    );
}

/// Keeps the frames whose flag in `keep` is set; the flags are those of all rows in order.
pub fn select_frames<T: Track<D>, D: SelectFramesDevice>(
    x: Hidden<T, D>,
    keep: &[bool],
) -> Hidden<T, D> {
    assert_eq!(
        keep.len(),
        x.spans.total(),
        "a choice has a flag for each frame"
    );
    if keep.iter().all(|kept| *kept) {
        return x;
    }
    let (x, tape) = x.split();
    let kept_in = |row: std::ops::Range<usize>| keep[row].iter().filter(|kept| **kept).count();
    let spans = Spans::new(x.spans.iter().map(kept_in));
    let shape = (spans.total(), x.width());
    let chosen = D::chosen((0..keep.len()).filter(|&t| keep[t]).collect());
    let y = D::forward(&x.values, &chosen, shape.0);
    let slot = Slot::of(&x.values);
    record_hidden(y, spans, tape, move |dy, g| {
        D::backward(dy, &chosen, shape, g.at(&slot));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, check_op, close};
    use crate::op::linear;
    use crate::tensor::cpu::regrouped;

    /// A convolution of 2 with stride 2, and its transpose: the odd frame is left out, pairs of
    /// frames are joined, mapped and split again.
    #[test]
    fn frames_are_joined_and_split() {
        for width in [5, 8] {
            let case = Case::new(&ROWS, width, &[2 * width * 2 * width, 2 * width]);
            let even: Vec<bool> = case
                .x
                .spans
                .iter()
                .flat_map(|row| row.clone().map(move |t| t - row.start < row.len() / 2 * 2))
                .collect();
            let x = regrouped(select_frames(case.x.clone(), &even), 2 * width);
            let lengths: Vec<usize> = case.x.spans.lengths().map(|n| n / 2).collect();
            assert_eq!(x.spans.lengths().collect::<Vec<_>>(), lengths);
            assert_eq!(x.read()[..2 * width], case.x.read()[width..3 * width]);
            check_op!(case, |x, p, _, precision| {
                let pairs = regrouped(select_frames(x, &even), 2 * width);
                let mapped = linear(pairs, &p[0], &p[1], precision);
                regrouped(mapped, width).values
            });
        }
    }

    #[test]
    fn select_frames_is_its_formula_and_its_gradient() {
        for width in [5, 7, 8] {
            let case = Case::new(&ROWS, width, &[]);
            let frames = case.x.spans.total();
            for keep in [
                (0..frames)
                    .map(|t| t % 3 == 1 || t > 40)
                    .collect::<Vec<_>>(),
                vec![false; frames],
                vec![true; frames],
            ] {
                let all = case.frames();
                let kept = all.chunks(width).zip(&keep).filter(|(_, kept)| **kept);
                let reference: Vec<f64> = kept.flat_map(|(frame, _)| frame.to_vec()).collect();
                let y = select_frames(case.x.clone(), &keep);
                close(y.read(), &reference, 1e-7);
                for (row, lengths) in case.x.spans.iter().zip(y.spans.lengths()) {
                    assert_eq!(keep[row].iter().filter(|kept| **kept).count(), lengths);
                }
                check_op!(case, |x, _, _, _| select_frames(x, &keep).values);
            }
        }
    }
}
