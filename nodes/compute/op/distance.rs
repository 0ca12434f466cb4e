//! Distances of a student's frames o to a target's t, both (frames, width): one number, the mean
//! over frames of
//!   l1: Σ |o - t| / width                        do = sign(o - t) / width
//!   mse: Σ (o - t)² / width                      do = 2 (o - t) / width
//!   cosine: -cos                                 do = -dcos
//!   log-sigmoid cosine: -ln σ(cos)               do = -σ(-cos) dcos
//! with cos = o·t / (‖o‖ ‖t‖) and dcos = t / (‖o‖ ‖t‖) - cos o / ‖o‖². As in PyTorch each norm is
//! at least 1e-8, so a frame of zeros has cosine 0 and a finite gradient. Without frames the mean
//! is 0.
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use crate::tensor::{DeviceStorage, Hidden, Matrix, NoneTape, Number, Track, record};

/// The distance of one frame to another, in the order in which distance.cu numbers them.
#[derive(Clone, Copy)]
pub enum Distance {
    L1,
    Mse,
    Cosine,
    LogSigmoidCosine,
}

/// What a device must do for distances.
pub trait DistanceDevice: DeviceStorage {
    /// Returns the mean distance over frames, or 0 if there are none.
    fn forward(
        distance: Distance,
        o: &Matrix<NoneTape, Self>,
        t: &Matrix<NoneTape, Self>,
    ) -> Number<NoneTape, Self>;

    /// Adds to the gradient of o.
    fn backward(
        distance: Distance,
        dy: Self::Upstream,
        o: &Matrix<NoneTape, Self>,
        t: &Matrix<NoneTape, Self>,
        d: Self::Accumulator<'_>,
    );
}

/// Returns the mean of |o - t|.
pub fn l1<T: Track<D>, D: DistanceDevice>(
    student: Hidden<T, D>,
    target: &Hidden<NoneTape, D>,
) -> Number<T, D> {
    mean_over_frames(Distance::L1, student, target)
}

/// Returns the mean of (o - t)².
pub fn mse<T: Track<D>, D: DistanceDevice>(
    student: Hidden<T, D>,
    target: &Hidden<NoneTape, D>,
) -> Number<T, D> {
    mean_over_frames(Distance::Mse, student, target)
}

/// Returns the mean of -cos.
pub fn cosine<T: Track<D>, D: DistanceDevice>(
    student: Hidden<T, D>,
    target: &Hidden<NoneTape, D>,
) -> Number<T, D> {
    mean_over_frames(Distance::Cosine, student, target)
}

/// Returns the mean of -ln σ(cos).
pub fn log_sigmoid_cosine<T: Track<D>, D: DistanceDevice>(
    student: Hidden<T, D>,
    target: &Hidden<NoneTape, D>,
) -> Number<T, D> {
    mean_over_frames(Distance::LogSigmoidCosine, student, target)
}

fn mean_over_frames<T: Track<D>, D: DistanceDevice>(
    distance: Distance,
    student: Hidden<T, D>,
    target: &Hidden<NoneTape, D>,
) -> Number<T, D> {
    let (student, tape) = student.split();
    assert_eq!(
        (student.width(), &student.spans),
        (target.width(), &target.spans),
        "student and target differ in shape"
    );
    let o = student.values;
    let t = target.values.clone();
    let y = D::forward(distance, &o, &t);
    record(y, tape, move |dy, g| {
        D::backward(distance, dy, &o, &t, g.of(&o));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, check_op, close, noise};
    use crate::tensor::Spans;
    use crate::tensor::cpu::{self, Cpu, Tape, backward, hidden, read};

    type Loss = fn(cpu::Hidden, &cpu::Hidden) -> cpu::Number;
    const ALL: [(Distance, Loss); 4] = [
        (Distance::L1, l1),
        (Distance::Mse, mse),
        (Distance::Cosine, cosine),
        (Distance::LogSigmoidCosine, log_sigmoid_cosine),
    ];

    /// Returns the four means by their formulas.
    fn references(x: &[f64], t: &[f32], width: usize) -> [f64; 4] {
        let mut means = [0.0; 4];
        let frames = x.len() / width;
        for (o, t) in x.chunks(width).zip(t.chunks(width)) {
            let t: Vec<f64> = t.iter().map(|t| *t as f64).collect();
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let difference: Vec<f64> = o.iter().zip(&t).map(|(o, t)| o - t).collect();
            let cos = dot(o, &t) / (dot(o, o) * dot(&t, &t)).sqrt();
            let distances = [
                difference.iter().map(|d| d.abs()).sum::<f64>() / width as f64,
                dot(&difference, &difference) / width as f64,
                -cos,
                -(1.0 / (1.0 + (-cos).exp())).ln(),
            ];
            for (mean, distance) in means.iter_mut().zip(distances) {
                *mean += distance / frames as f64;
            }
        }
        means
    }

    #[test]
    fn distances_are_their_formulas_and_gradients() {
        for width in [5, 7, 11, 12] {
            let case = Case::new(&ROWS, width, &[]);
            let spans = &case.x.spans;
            // Far from the student, so that no step of a difference crosses the corner of |o - t|.
            let far: Vec<f32> = noise("t", spans.total() * width)
                .into_iter()
                .map(|t| t.signum() * 4.0 + t)
                .collect();
            let target = hidden(far.clone(), width, spans.clone());
            let references = references(&case.frames(), target.read(), width);
            for ((distance, loss), reference) in ALL.into_iter().zip(references) {
                close(read(&loss(case.x.clone(), &target)), &[reference], 1e-6);
                check_op!(case, |x, _, _, _| {
                    let target = hidden(far.clone(), width, spans.clone());
                    mean_over_frames(distance, x, &target)
                });
            }
        }
    }

    #[test]
    fn zeros_and_no_frames_give_finite_numbers() {
        let none = Spans::new([0, 0]);
        let some = Spans::new([2]);
        for (distance, loss) in ALL {
            let empty = hidden(vec![], 3, none.clone());
            assert_eq!(read(&loss(empty.clone(), &empty)), [0.0]);
            let zero = hidden(vec![0.0; 6], 3, some.clone());
            for target in [&zero, &hidden(vec![1.0; 6], 3, some.clone())] {
                let loss = mean_over_frames::<_, Cpu>(distance, zero.on(&Tape::default()), target);
                assert!(read(&loss)[0].is_finite());
                let gradient = backward(loss, 1.0).take(&zero.values);
                assert!(gradient.iter().all(|d| d.is_finite()));
            }
        }
        let zero = hidden(vec![0.0; 6], 3, some);
        assert_eq!(read(&cosine(zero.clone(), &zero)), [0.0]);
    }
}
