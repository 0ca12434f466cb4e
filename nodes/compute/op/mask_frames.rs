//! y = e in masked frames, x in the others. x, y (frames, width), e (width): the model's mask
//! embedding. dx = dy in the frames that are not masked, de = Σ dy over those that are.
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use crate::tensor::{
    DeviceStorage, Grads, Hidden, Matrix, NoneTape, Param, Slot, Track, dimensions, record_hidden,
};

/// What a device must do for [`mask_frames`].
pub trait MaskFramesDevice: DeviceStorage {
    /// A flag for each frame, in the memory of the device.
    type Flags: 'static;

    /// Moves the flags of all frames to the device.
    fn flags(masked: Vec<bool>) -> Self::Flags;

    /// Returns y.
    fn forward(
        x: &Matrix<NoneTape, Self>,
        masked: &Self::Flags,
        e: &Param<Self>,
    ) -> Matrix<NoneTape, Self>;

    /// Adds to the gradients of x, which has this `shape`, and of e.
    fn backward(
        dy: Self::Upstream,
        masked: &Self::Flags,
        shape: (usize, usize),
        x: &Slot<Self>,
        e: &Param<Self>,
        g: &mut Grads<Self>,
    );
}

/// Replaces the frames whose flag in `masked` is set; the flags are those of all rows in order.
pub fn mask_frames<T: Track<D>, D: MaskFramesDevice>(
    x: Hidden<T, D>,
    masked: Vec<bool>,
    e: &Param<D>,
) -> Hidden<T, D> {
    let (x, tape) = x.split();
    assert_eq!(
        masked.len(),
        x.spans.total(),
        "a mask has a flag for each frame"
    );
    let masked = D::flags(masked);
    let y = D::forward(&x.values, &masked, e);
    let shape = dimensions(&x.values);
    let slot = Slot::of(&x.values);
    let e = e.clone();
    record_hidden(y, x.spans, tape, move |dy, g| {
        D::backward(dy, &masked, shape, &slot, &e, g);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, check_op, close};
    use crate::tensor::cpu::read;

    #[test]
    fn mask_frames_is_its_formula_and_its_gradient() {
        for width in [5, 7, 8, 11] {
            let case = Case::new(&ROWS, width, &[width]);
            let masked: Vec<bool> = (0..case.x.spans.total())
                .map(|t| t % 3 == 1 || t > 40)
                .collect();
            let mut reference = case.frames();
            for (t, frame) in reference.chunks_mut(width).enumerate() {
                if masked[t] {
                    frame
                        .iter_mut()
                        .zip(read(&case.p[0]))
                        .for_each(|(y, e)| *y = *e as f64);
                }
            }
            let y = mask_frames(case.x.clone(), masked.clone(), &case.p[0]);
            close(y.read(), &reference, 1e-7);
            check_op!(case, |x, p, _, _| {
                mask_frames(x, masked.clone(), &p[0]).values
            });
        }
    }
}
