//! Dropout, and a branch added to what it branched from: y = x + drop(r). x, r, y (frames, width).
#[cfg(feature = "cuda")]
pub mod cuda;
use crate::math::Dropout;
use crate::parallel::{add, copied, parts, wide};
use crate::tensor::cpu::{Hidden, Slot, Track, merge, record_hidden};

/// Numbers whose dropout is drawn at once.
const CHUNK: usize = 1 << 14;

/// drop(x)
pub fn dropout<T: Track>(x: Hidden<T>, drop: Dropout) -> Hidden<T> {
    if drop.rate == 0.0 {
        return x;
    }
    let (x, tape) = x.split();
    let (mut y, width, spans) = (copied(x.read()), x.width(), x.spans.clone());
    apply(drop, &mut y);
    let x = Slot::of(&x.values);
    record_hidden(y, width, spans, tape, move |mut dy, g| {
        apply(drop, &mut dy);
        add(g.at(&x), &dy);
    })
}

/// x + drop(r)
pub fn residual<T: Track>(x: Hidden<T>, r: Hidden<T>, drop: Dropout) -> Hidden<T> {
    let ((x, tape), (r, other)) = (x.split(), r.split());
    let (mut y, width, spans) = (copied(r.read()), x.width(), x.spans.clone());
    apply(drop, &mut y);
    add(&mut y, x.read());
    let [x, r] = [x, r].map(|x| Slot::of(&x.values));
    record_hidden(y, width, spans, merge(tape, other), move |mut dy, g| {
        add(g.at(&x), &dy);
        apply(drop, &mut dy);
        add(g.at(&r), &dy);
    })
}

fn apply(drop: Dropout, x: &mut [f32]) {
    if drop.rate > 0.0 {
        parts(x, CHUNK, |c, x| wide!(drop.apply(c * CHUNK, x)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::Precision;
    use crate::op::check::{Case, DROP, ROWS, close};
    use crate::op::linear::linear;

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
        case.check(|x, p, _| {
            residual(x.clone(), linear(x, &p[0], &p[1], Precision::F32), DROP).values
        });
        case.check(|x, _, _| dropout(x, DROP).values);
    }
}
