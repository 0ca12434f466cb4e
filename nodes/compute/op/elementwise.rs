//! Dropout, and a branch added to what it branched from: y = x + drop(r). x, r, y (frames, width).
use super::passes::Passes;
use crate::math::Dropout;
use crate::tensor::{Hidden, Slot, Track, len, merge, record_hidden};

/// Returns drop(x).
pub fn dropout<T: Track<D>, D: Passes>(x: Hidden<T, D>, drop: Dropout) -> Hidden<T, D> {
    if drop.rate == 0.0 {
        return x;
    }
    let (x, tape) = x.split();
    let numbers = len(&x.values);
    let slot = Slot::of(&x.values);
    record_hidden(D::dropped(&x.values, drop), x.spans, tape, move |dy, g| {
        D::add_dropped(dy, drop, numbers, g.at(&slot));
    })
}

/// Returns x + drop(r).
pub fn residual<T: Track<D>, D: Passes>(
    x: Hidden<T, D>,
    r: Hidden<T, D>,
    drop: Dropout,
) -> Hidden<T, D> {
    let (x, x_tape) = x.split();
    let (r, r_tape) = r.split();
    let y = D::sum_dropped(&x.values, &r.values, drop);
    let numbers = len(&x.values);
    let x_slot = Slot::of(&x.values);
    let r_slot = Slot::of(&r.values);
    record_hidden(y, x.spans, merge(x_tape, r_tape), move |dy, g| {
        D::add_scaled(&dy, 1.0, numbers, g.at(&x_slot));
        D::add_dropped(dy, drop, numbers, g.at(&r_slot));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, DROP, ROWS, check_op, close};
    use crate::op::linear;

    #[test]
    fn dropout_and_residual_are_their_formulas_and_gradients() {
        let case = Case::new(&ROWS, 11, &[121, 11]);
        let x = case.frames();
        let dropped: Vec<f64> = x
            .iter()
            .enumerate()
            .map(|(i, x)| x * DROP.factor(i) as f64)
            .collect();
        close(dropout(case.x.clone(), DROP).read(), &dropped, 1e-6);
        let sum: Vec<f64> = x.iter().zip(&dropped).map(|(x, r)| x + r).collect();
        close(
            residual(case.x.clone(), case.x.clone(), DROP).read(),
            &sum,
            1e-6,
        );
        for width in [11, 12] {
            let case = Case::new(&ROWS, width, &[width * width, width]);
            check_op!(case, |x, p, _, precision| {
                residual(x.clone(), linear(x, &p[0], &p[1], precision), DROP).values
            });
            check_op!(case, |x, _, _, _| dropout(x, DROP).values);
            check_op!(case, |x, _, _, _| {
                residual(x.clone(), dropout(x, DROP.fork(0)), DROP).values
            });
        }
    }
}
