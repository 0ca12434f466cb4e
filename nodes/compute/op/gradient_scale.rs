//! y = x, dx = factor · dy: what stands before learns at another pace (fairseq's GradMultiply). x, y (frames, width).
use crate::parallel::{copied, zip};
use crate::tensor::cpu::{Hidden, Slot, Track, record_hidden};

pub fn gradient_scale<T: Track>(x: Hidden<T>, factor: f32) -> Hidden<T> {
    if factor == 1.0 {
        return x;
    }
    let (x, tape) = x.split();
    let (y, width, spans, x) = (
        copied(x.read()),
        x.width(),
        x.spans.clone(),
        Slot::of(&x.values),
    );
    record_hidden(y, width, spans, tape, move |dy, g| {
        zip(g.at(&x), &dy, |dx, dy| *dx += factor * dy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS};
    use crate::op::mean_square::mean_square;
    use crate::tensor::cpu::{Tape, backward};

    #[test]
    fn only_the_gradient_is_scaled() {
        let case = Case::new(&ROWS, 7, &[]);
        let gradient = |factor: f32| {
            let y = gradient_scale(case.x.on(&Tape::default()), factor);
            assert_eq!(y.read(), case.x.read());
            backward(mean_square(y), 1.0).take(&case.x.values)
        };
        let (whole, half) = (gradient(1.0), gradient(0.5));
        assert!(
            whole.iter().zip(&half).all(|(w, h)| *h == 0.5 * w)
                && gradient(0.0).iter().all(|g| *g == 0.0)
        );
    }
}
