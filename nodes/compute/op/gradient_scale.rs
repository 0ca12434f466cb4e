//! y = x, dx = factor · dy: what comes before learns at another pace (fairseq's GradMultiply).
//! x, y (frames, width).
use super::passes::Passes;
use crate::tensor::{Hidden, Slot, Track, len, record_hidden};

/// Passes x on and scales its gradient.
pub fn gradient_scale<T: Track<D>, D: Passes>(x: Hidden<T, D>, factor: f32) -> Hidden<T, D> {
    if factor == 1.0 {
        return x;
    }
    let (x, tape) = x.split();
    let numbers = len(&x.values);
    let slot = Slot::of(&x.values);
    record_hidden(D::copied(&x.values), x.spans, tape, move |dy, g| {
        D::add_scaled(&dy, factor, numbers, g.at(&slot));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, agree_op};
    use crate::op::mean_square;
    use crate::tensor::cpu::{Tape, backward};

    #[test]
    fn only_the_gradient_is_scaled() {
        let case = Case::new(&ROWS, 7, &[]);
        let gradient = |factor: f32| {
            let y = gradient_scale(case.x.on(&Tape::default()), factor);
            assert_eq!(y.read(), case.x.read());
            backward(mean_square(y), 1.0).take(&case.x.values)
        };
        let whole = gradient(1.0);
        let half = gradient(0.5);
        assert!(whole.iter().zip(&half).all(|(w, h)| *h == 0.5 * w));
        assert!(gradient(0.0).iter().all(|g| *g == 0.0));
        agree_op!(case, |x, _, _, _| gradient_scale(x, 0.5).values);
    }
}
