//! How the frames of a row relate to each other, a student's beside a teacher's: the temporal Gram
//! matrices of STaRHuBERT (Jang et al. 2024). For each row, (frames, frames):
//!   D = target_a target_bᵀ - a bᵀ
//! and over all rows, whose D have N entries together:
//!   y = Σ D² / N      da = -2/N D b      db = -2/N Dᵀ a
//! a, b (frames, width); the targets may have another width. With a = b it is the relation within a
//! layer; with a from the layer before b, that between layers.
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use crate::tensor::{
    DeviceStorage, Grads, Hidden, Matrix, NoneTape, Number, Slot, Spans, Track, merge, record,
};

/// What a device must do for [`gram_distance`].
pub trait GramDevice: DeviceStorage {
    /// What the backward pass needs: D b and Dᵀ a, or what gives them.
    type Saved: 'static;

    /// Returns `unit` Σ D² over all rows. Without `retain` there will be no backward pass.
    fn forward(
        students: [&Matrix<NoneTape, Self>; 2],
        targets: [&Matrix<NoneTape, Self>; 2],
        spans: &Spans,
        unit: f64,
        retain: bool,
    ) -> (Number<NoneTape, Self>, Self::Saved);

    /// Adds to the gradients of a and b, which may be one tensor.
    fn backward(
        dy: Self::Upstream,
        saved: &Self::Saved,
        spans: &Spans,
        unit: f64,
        students: [&Slot<Self>; 2],
        g: &mut Grads<Self>,
    );
}

/// Returns the mean of D² over all pairs of frames of a row, or 0 without frames.
///
/// `a` and `b` may be one tensor.
pub fn gram_distance<T: Track<D>, D: GramDevice>(
    a: Hidden<T, D>,
    b: Hidden<T, D>,
    target_a: &Hidden<NoneTape, D>,
    target_b: &Hidden<NoneTape, D>,
) -> Number<T, D> {
    let (a, a_tape) = a.split();
    let (b, b_tape) = b.split();
    assert_eq!(
        (a.width(), target_a.width()),
        (b.width(), target_b.width()),
        "frames to relate differ in width"
    );
    let spans = target_a.spans.clone();
    assert!(
        [&a, &b, target_b].iter().all(|x| x.spans == spans),
        "student and target differ in frames"
    );
    let entries: usize = spans.lengths().map(|n| n * n).sum();
    let unit = 1.0 / entries.max(1) as f64;
    let (y, saved) = D::forward(
        [&a.values, &b.values],
        [&target_a.values, &target_b.values],
        &spans,
        unit,
        T::OWNS_TAPE,
    );
    let a = Slot::of(&a.values);
    let b = Slot::of(&b.values);
    record(y, merge(a_tape, b_tape), move |dy, g| {
        D::backward(dy, &saved, &spans, unit, [&a, &b], g);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, check_op, close, noise};
    use crate::op::linear;
    use crate::tensor::cpu::{self, hidden, read};

    /// Returns the mean of D² by its definition.
    fn definition(students: [&cpu::Hidden; 2], targets: [&cpu::Hidden; 2]) -> f64 {
        let dot = |[a, b]: [&cpu::Hidden; 2], t: usize, s: usize| {
            let a = &a.read()[t * a.width()..][..a.width()];
            let b = &b.read()[s * b.width()..][..b.width()];
            a.iter()
                .zip(b)
                .map(|(a, b)| *a as f64 * *b as f64)
                .sum::<f64>()
        };
        let mut squares = 0.0;
        let mut entries = 0.0;
        for row in students[0].spans.iter() {
            for t in row.clone() {
                for s in row.clone() {
                    squares += (dot(targets, t, s) - dot(students, t, s)).powi(2);
                    entries += 1.0;
                }
            }
        }
        squares / entries
    }

    #[test]
    fn gram_distance_is_its_formula_and_its_gradient() {
        // More than the 256 frames that the CPU relates at once.
        let long = [3, 261, 0];
        for (rows, width) in [
            (&ROWS[..], 5),
            (&ROWS, 7),
            (&ROWS, 8),
            (&ROWS, 11),
            (&long, 3),
        ] {
            let case = Case::new(rows, width, &[width * width, width]);
            let x = &case.x;
            let spans = &x.spans;
            let random = |name, width| noise(name, spans.total() * width);
            let b = hidden(random("b", width), width, spans.clone());
            let ta = hidden(random("ta", width + 2), width + 2, spans.clone());
            let tb = hidden(random("tb", width + 2), width + 2, spans.clone());
            let two = gram_distance(x.clone(), b.clone(), &ta, &tb);
            close(read(&two), &[definition([x, &b], [&ta, &tb])], 1e-5);
            let one = gram_distance(x.clone(), x.clone(), &ta, &ta);
            close(read(&one), &[definition([x, x], [&ta, &ta])], 1e-5);

            check_op!(case, |x, _, _, _| {
                let ta = hidden(random("ta", width + 2), width + 2, spans.clone());
                gram_distance(x.clone(), x, &ta, &ta)
            });
            check_op!(case, |x, p, _, precision| {
                let ta = hidden(random("ta", width + 2), width + 2, spans.clone());
                let tb = hidden(random("tb", width + 2), width + 2, spans.clone());
                gram_distance(x.clone(), linear(x, &p[0], &p[1], precision), &ta, &tb)
            });
        }
    }

    #[test]
    fn no_frames_are_no_distance() {
        let none = hidden(vec![], 3, Spans::new([0, 0]));
        let y = gram_distance(none.clone(), none.clone(), &none, &none);
        assert_eq!(read(&y), [0.0]);
    }
}
