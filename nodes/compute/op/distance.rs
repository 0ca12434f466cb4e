//! How far a student's frames o are from a target's t, both (frames, width): one number, a mean over frames.
//!   l1: Σ |o - t| / width                        do = sign(o - t) / width
//!   mse: Σ (o - t)² / width                      do = 2 (o - t) / width
//!   cosine: -cos                                 do = -dcos
//!   log-sigmoid cosine: -ln σ(cos)               do = -σ(-cos) dcos
//! with cos = o·t / (‖o‖ ‖t‖) and dcos = t / (‖o‖ ‖t‖) - cos o / ‖o‖². As in PyTorch each norm is at least 1e-8, so a
//! frame of zeros has cosine 0 and a finite gradient. Without frames the loss is 0.
#[cfg(feature = "cuda")]
pub mod cuda;
use crate::math::sum;
use crate::parallel::{map, parts};
use crate::tensor::cpu::{Hidden, Number, Track, record};

const LEAST_NORM: f32 = 1e-8;

pub fn l1<T: Track>(student: Hidden<T>, target: &Hidden) -> Number<T> {
    let unit = 1.0 / student.width() as f32;
    let value = move |o: &[f32], t: &[f32]| unit * sum(o.len(), |i| (o[i] - t[i]).abs());
    mean_over_frames(student, target, value, move |o, t, scale, d| {
        for ((d, o), t) in d.iter_mut().zip(o).zip(t) {
            *d += scale * unit * ((o > t) as u8 as f32 - (o < t) as u8 as f32);
        }
    })
}

pub fn mse<T: Track>(student: Hidden<T>, target: &Hidden) -> Number<T> {
    let unit = 1.0 / student.width() as f32;
    let value = move |o: &[f32], t: &[f32]| unit * sum(o.len(), |i| (o[i] - t[i]) * (o[i] - t[i]));
    mean_over_frames(student, target, value, move |o, t, scale, d| {
        d.iter_mut()
            .zip(o)
            .zip(t)
            .for_each(|((d, o), t)| *d += scale * unit * 2.0 * (o - t));
    })
}

pub fn cosine<T: Track>(student: Hidden<T>, target: &Hidden) -> Number<T> {
    let value = |o: &[f32], t: &[f32]| -Cosine::of(o, t).cos;
    mean_over_frames(student, target, value, |o, t, scale, d| {
        Cosine::of(o, t).pull(o, t, -scale, d)
    })
}

pub fn log_sigmoid_cosine<T: Track>(student: Hidden<T>, target: &Hidden) -> Number<T> {
    let value = |o: &[f32], t: &[f32]| (-Cosine::of(o, t).cos).exp().ln_1p();
    mean_over_frames(student, target, value, |o, t, scale, d| {
        let cosine = Cosine::of(o, t);
        cosine.pull(o, t, -scale / (1.0 + cosine.cos.exp()), d);
    })
}

/// `value(o, t)` of each frame, and `pull(o, t, scale, do)`, which adds `scale` times its gradient to do.
fn mean_over_frames<T: Track>(
    student: Hidden<T>,
    target: &Hidden,
    value: impl Fn(&[f32], &[f32]) -> f32 + Sync + Send,
    pull: impl Fn(&[f32], &[f32], f32, &mut [f32]) + Sync + Send + 'static,
) -> Number<T> {
    let ((o, tape), t, width) = (student.split(), target.clone(), target.width());
    assert_eq!(
        (o.width(), &o.spans),
        (width, &t.spans),
        "student and target differ in shape"
    );
    let frames = t.spans.total();
    let frame = move |x: usize| x * width..(x + 1) * width;
    let values = map(frames, |x| value(&o.read()[frame(x)], &t.read()[frame(x)]));
    let total: f64 = values.into_iter().map(f64::from).sum();
    record(
        vec![(total / frames.max(1) as f64) as f32],
        (),
        tape,
        move |dy, g| {
            let scale = dy[0] / frames.max(1) as f32;
            parts(g.of(&o.values), width, |x, d| {
                pull(&o.read()[frame(x)], &t.read()[frame(x)], scale, d)
            });
        },
    )
}

/// Inlined: a function of its own would check every index, number by number.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    sum(n, |i| a[i] * b[i])
}

struct Cosine {
    cos: f32,
    /// 1 / (‖o‖ ‖t‖)
    inverse: f32,
    /// cos / ‖o‖², or 0 where ‖o‖ is held at its least
    along: f32,
}

impl Cosine {
    #[inline(always)]
    fn of(o: &[f32], t: &[f32]) -> Self {
        let norms = [dot(o, o), dot(t, t)].map(f32::sqrt);
        let inverse = 1.0 / (norms[0].max(LEAST_NORM) * norms[1].max(LEAST_NORM));
        let cos = dot(o, t) * inverse;
        Cosine {
            cos,
            inverse,
            along: if norms[0] > LEAST_NORM {
                cos / (norms[0] * norms[0])
            } else {
                0.0
            },
        }
    }
    /// d += scale dcos
    #[inline(always)]
    fn pull(&self, o: &[f32], t: &[f32], scale: f32, d: &mut [f32]) {
        let (along_t, along_o) = (scale * self.inverse, scale * self.along);
        d.iter_mut()
            .zip(o)
            .zip(t)
            .for_each(|((d, o), t)| *d += along_t * t - along_o * o);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, WIDTHS, close};
    use crate::tensor::cpu::{Tape, backward, hidden, read};

    type Loss<T> = fn(Hidden<T>, &Hidden) -> Number<T>;
    const ALL: [(Loss<crate::tensor::cpu::NoneTape>, Loss<Tape>); 4] = [
        (l1, l1),
        (mse, mse),
        (cosine, cosine),
        (log_sigmoid_cosine, log_sigmoid_cosine),
    ];

    #[test]
    fn distances_are_their_formulas_and_gradients() {
        for width in WIDTHS {
            let case = Case::new(&ROWS, width, &[]);
            // Away from the student, so that no |o - t| has its corner within the step of a difference.
            let away = |(i, x): (usize, &f32)| if i % 2 == 0 { 4.0 - x } else { x - 4.0 };
            let away: Vec<f32> = Case::new(&ROWS, width, &[1])
                .x
                .read()
                .iter()
                .enumerate()
                .map(away)
                .collect();
            let target = hidden(away, width, case.x.spans.clone());
            let (x, frames) = (case.frames(), case.x.spans.total() as f64);
            let mut reference = [0.0; 4];
            for (o, t) in x.chunks(width).zip(target.read().chunks(width)) {
                let pairs = || o.iter().zip(t).map(|(o, t)| (*o, *t as f64));
                let norm = |f: &dyn Fn((f64, f64)) -> f64| {
                    pairs().map(|p| f(p).powi(2)).sum::<f64>().sqrt()
                };
                let cos =
                    pairs().map(|(o, t)| o * t).sum::<f64>() / norm(&|p| p.0) / norm(&|p| p.1);
                let apart = pairs().map(|(o, t)| (o - t).abs()).sum::<f64>() / width as f64;
                let squared = pairs().map(|(o, t)| (o - t).powi(2)).sum::<f64>() / width as f64;
                let all = [apart, squared, -cos, -(1.0 / (1.0 + (-cos).exp())).ln()];
                reference
                    .iter_mut()
                    .zip(all)
                    .for_each(|(r, x)| *r += x / frames);
            }
            for ((free, taped), reference) in ALL.into_iter().zip(reference) {
                close(read(&free(case.x.clone(), &target)), &[reference], 1e-6);
                case.check(|x, _, _| taped(x, &target));
            }
        }
    }

    #[test]
    fn zeros_and_no_frames_give_finite_numbers() {
        use crate::tensor::cpu::Spans;
        let (none, some) = (Spans::new([0, 0]), Spans::new([2]));
        for (free, taped) in ALL {
            let empty = hidden(vec![], 3, none.clone());
            assert_eq!(read(&free(empty.clone(), &empty)), [0.0]);
            let zero = hidden(vec![0.0; 6], 3, some.clone());
            for target in [&zero, &hidden(vec![1.0; 6], 3, some.clone())] {
                let loss = taped(zero.on(&Tape::default()), target);
                assert!(read(&loss)[0].is_finite());
                assert!(
                    backward(loss, 1.0)
                        .take(&zero.values)
                        .iter()
                        .all(|d| d.is_finite())
                );
            }
        }
        let zero = hidden(vec![0.0; 6], 3, some);
        assert_eq!(read(&cosine(zero.clone(), &zero)), [0.0]);
    }
}
