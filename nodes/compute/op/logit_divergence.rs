//! How a student's logits z differ from a teacher's x, both (frames, classes): one number, the mean
//! over frames of a divergence of the softmaxes p = softmax(x / τ_x) and q = softmax(z / τ_z). With
//! the target class t of a frame, and p̂, q̂ the softmaxes over the other classes alone (decoupled
//! knowledge distillation, Zhao et al. 2022, arXiv:2203.08679):
//!   all classes (KL):     Σ_c p_c ln(p_c / q_c)                  dz_c = (q_c - p_c) / τ_z
//!   target class (TCKD):  p_t ln(p_t / q_t) + (1 - p_t) ln((1 - p_t) / (1 - q_t))
//!                         dz_t = (q_t - p_t) / τ_z               dz_c = (p_t - q_t) q̂_c / τ_z
//!   other classes (NCKD): Σ_(c ≠ t) p̂_c ln(p̂_c / q̂_c)            dz_c = (q̂_c - p̂_c) / τ_z
//! KL = TCKD + (1 - p_t) NCKD. Everything comes from logarithms of sums of exponentials, with the
//! target class or without it, so p_t may be 1 to the last bit. Without frames the mean is 0.
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use crate::tensor::{DeviceStorage, Hidden, Matrix, NoneTape, Number, Track, record};

/// Which classes are compared, in the order in which logit_divergence.cu numbers them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Compared {
    AllClasses,
    /// The target class against all others together.
    TargetClass,
    /// The others among themselves.
    OtherClasses,
}

/// Divisors of the logits.
#[derive(Clone, Copy, Debug)]
pub struct Temperatures {
    pub student: f32,
    pub teacher: f32,
}

/// What a device must do for [`logit_divergence`].
pub trait LogitDivergenceDevice: DeviceStorage {
    /// The target class of each frame, in the memory of the device.
    type Targets: 'static;

    /// Moves target classes to the device.
    fn targets(classes: Vec<usize>) -> Self::Targets;

    /// Returns the mean over frames, or 0 if there are none.
    fn forward(
        compared: Compared,
        z: &Matrix<NoneTape, Self>,
        x: &Matrix<NoneTape, Self>,
        targets: &Self::Targets,
        temperatures: Temperatures,
    ) -> Number<NoneTape, Self>;

    /// Adds to the gradient of z.
    fn backward(
        compared: Compared,
        dy: Self::Upstream,
        z: &Matrix<NoneTape, Self>,
        x: &Matrix<NoneTape, Self>,
        targets: &Self::Targets,
        temperatures: Temperatures,
        dz: Self::Accumulator<'_>,
    );
}

/// Returns the mean divergence; `targets` are the target classes of all frames.
///
/// # Panics
/// If a target is no class.
pub fn logit_divergence<T: Track<D>, D: LogitDivergenceDevice>(
    compared: Compared,
    student: Hidden<T, D>,
    teacher: &Hidden<NoneTape, D>,
    targets: Vec<usize>,
    temperatures: Temperatures,
) -> Number<T, D> {
    let (student, tape) = student.split();
    assert_eq!(
        (student.width(), &student.spans),
        (teacher.width(), &teacher.spans),
        "logits of student and teacher differ in shape"
    );
    assert_eq!(targets.len(), student.spans.total(), "a frame has a target");
    let classes = student.width();
    assert!(targets.iter().all(|t| *t < classes), "a target is a class");
    let z = student.values;
    let x = teacher.values.clone();
    let targets = D::targets(targets);
    let y = D::forward(compared, &z, &x, &targets, temperatures);
    record(y, tape, move |dy, g| {
        D::backward(compared, dy, &z, &x, &targets, temperatures, g.of(&z));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, check_op, close, noise};
    use crate::tensor::Spans;
    use crate::tensor::cpu::{Cpu, Tape, backward, hidden, read};

    const ALL: [Compared; 3] = [
        Compared::AllClasses,
        Compared::TargetClass,
        Compared::OtherClasses,
    ];

    fn softmax(x: &[f64], temperature: f32) -> Vec<f64> {
        let total: f64 = x.iter().map(|x| (x / temperature as f64).exp()).sum();
        let share = |x: &f64| (x / temperature as f64).exp() / total;
        x.iter().map(share).collect()
    }

    /// Returns KL, TCKD, NCKD and p_t of a frame by their formulas.
    fn definition(z: &[f64], x: &[f64], t: usize, temperatures: Temperatures) -> [f64; 4] {
        let p = softmax(x, temperatures.teacher);
        let q = softmax(z, temperatures.student);
        let term = |p: f64, q: f64| p * (p / q).ln();
        let others = (0..p.len()).filter(|c| *c != t);
        let hat = |c: usize| term(p[c] / (1.0 - p[t]), q[c] / (1.0 - q[t]));
        [
            p.iter().zip(&q).map(|(p, q)| term(*p, *q)).sum(),
            term(p[t], q[t]) + term(1.0 - p[t], 1.0 - q[t]),
            others.map(hat).sum(),
            p[t],
        ]
    }

    fn targets(frames: usize, classes: usize) -> Vec<usize> {
        (0..frames).map(|t| (3 * t + 1) % classes).collect()
    }

    #[test]
    fn divergences_are_their_formulas_and_gradients() {
        for (classes, student, teacher) in [(5, 1.0, 1.0), (7, 2.0, 2.0), (12, 0.5, 3.0)] {
            let temperatures = Temperatures { student, teacher };
            let case = Case::new(&ROWS, classes, &[]);
            let spans = &case.x.spans;
            let frames = spans.total();
            let x = noise("x", frames * classes);
            let x64: Vec<f64> = x.iter().map(|x| *x as f64).collect();
            let mut means = [0.0; 3];
            for (f, t) in targets(frames, classes).into_iter().enumerate() {
                let row = f * classes..(f + 1) * classes;
                let [kl, tckd, nckd, p] =
                    definition(&case.frames()[row.clone()], &x64[row], t, temperatures);
                assert!((kl - tckd - (1.0 - p) * nckd).abs() < 1e-12);
                for (mean, value) in means.iter_mut().zip([kl, tckd, nckd]) {
                    *mean += value / frames as f64;
                }
            }
            for (compared, mean) in ALL.into_iter().zip(means) {
                let teacher = hidden(x.clone(), classes, spans.clone());
                let targets = || targets(frames, classes);
                let student = case.x.clone();
                let y = logit_divergence(compared, student, &teacher, targets(), temperatures);
                close(read(&y), &[mean], 1e-6);
                check_op!(case, |z, _, _, _| {
                    let teacher = hidden(x.clone(), classes, spans.clone());
                    logit_divergence(compared, z, &teacher, targets(), temperatures)
                });
            }
        }
    }

    /// Returns ln Σ exp(x_c) over the classes that `counts` chooses.
    fn log_sum(x: &[f64], counts: impl Fn(usize) -> bool) -> f64 {
        let chosen = x.iter().enumerate().filter(|(c, _)| counts(*c));
        let chosen: Vec<f64> = chosen.map(|(_, x)| *x).collect();
        let largest = chosen.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = chosen.iter().map(|x| (x - largest).exp()).sum();
        largest + sum.ln()
    }

    /// Logarithms of a frame's shares: of the target class, of all others together, and of each
    /// class among the others.
    struct LogShares {
        target: f64,
        rest: f64,
        others: Vec<f64>,
    }

    fn log_shares(x: &[f64], t: usize) -> LogShares {
        let all = log_sum(x, |_| true);
        let others = log_sum(x, |c| c != t);
        LogShares {
            target: x[t] - all,
            rest: others - all,
            others: x.iter().map(|x| x - others).collect(),
        }
    }

    /// Returns KL, TCKD and NCKD of a frame, and their gradients by z, from logarithms of shares in
    /// float64 alone.
    fn by_logarithms(z: &[f64], x: &[f64], t: usize) -> [(f64, Vec<f64>); 3] {
        let p = log_shares(x, t);
        let q = log_shares(z, t);
        let pull = q.target.exp() - p.target.exp();
        let target_class =
            p.target.exp() * (p.target - q.target) + p.rest.exp() * (p.rest - q.rest);
        let mut other_classes = 0.0;
        let mut all_classes = p.target.exp() * (p.target - q.target);
        let mut gradients = [(); 3].map(|()| vec![0.0; z.len()]);
        let classes = 0..z.len();
        for c in classes {
            if c == t {
                gradients[0][c] = pull;
                gradients[1][c] = pull;
                continue;
            }
            let share = p.others[c].exp();
            other_classes += share * (p.others[c] - q.others[c]);
            let log_p = p.rest + p.others[c];
            let log_q = q.rest + q.others[c];
            all_classes += log_p.exp() * (log_p - log_q);
            gradients[0][c] = log_q.exp() - log_p.exp();
            gradients[1][c] = -pull * q.others[c].exp();
            gradients[2][c] = q.others[c].exp() - share;
        }
        let [all, target, others] = gradients;
        [
            (all_classes, all),
            (target_class, target),
            (other_classes, others),
        ]
    }

    /// A teacher that is sure to the last bit, and logits that are far apart: each part is that of
    /// float64, taken over the other classes directly.
    #[test]
    fn sure_teachers_and_large_logits_are_exact() {
        let one = Temperatures {
            student: 1.0,
            teacher: 1.0,
        };
        for (x, z) in [
            ([17.5, 0.0, 0.5, -1.0], [0.3, -0.2, 0.1, 0.7]),
            ([17.5, 0.0, 0.5, -1.0], [16.0, 0.6, -0.5, 0.2]),
            ([40.0, 0.0, 1.0, 2.0], [-3.0, 2.0, 0.0, 1.5]),
            ([1e4, -1e4, 0.0, 0.3], [0.0, 1.0, 2.0, -0.5]),
            ([0.0, 0.1, 0.2, 0.3], [1e4, -1e4, 0.0, 0.5]),
            ([-1e4, 0.1, 0.2, 0.3], [1e4, -0.1, 0.0, 0.5]),
        ] {
            let frame = |x: [f32; 4]| hidden(x.to_vec(), 4, Spans::new([1]));
            let exact = by_logarithms(&z.map(f64::from), &x.map(f64::from), 0);
            for (compared, (value, gradient)) in ALL.into_iter().zip(exact) {
                let student = frame(z);
                let tape = Tape::default();
                let y = logit_divergence::<_, Cpu>(
                    compared,
                    student.on(&tape),
                    &frame(x),
                    vec![0],
                    one,
                );
                let ours = read(&y)[0] as f64;
                assert!(
                    (ours - value).abs() <= 1e-6 * value.abs(),
                    "{compared:?} of {x:?} and {z:?}: {ours}, in float64 {value}"
                );
                let ours = backward(y, 1.0).take(&student.values);
                let largest = gradient.iter().fold(0f64, |a, d| a.max(d.abs()));
                for (ours, d) in ours.iter().zip(&gradient) {
                    assert!(
                        (*ours as f64 - d).abs() <= 1e-6 * largest,
                        "{compared:?} of {x:?} and {z:?}: slope {ours}, in float64 {d}"
                    );
                }
            }
        }
        let sure = log_shares(&[17.5, 0.0, 0.5, -1.0], 0);
        assert!(sure.rest.exp() < 1e-7);
    }

    #[test]
    fn no_frames_do_not_diverge() {
        let none = hidden(vec![], 3, Spans::new([0, 0]));
        let temperatures = Temperatures {
            student: 1.0,
            teacher: 1.0,
        };
        for compared in ALL {
            let y = logit_divergence(compared, none.clone(), &none, vec![], temperatures);
            assert_eq!(read(&y), [0.0]);
        }
    }
}
