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
    use crate::tensor::cpu::{self, Cpu, Tape, backward, hidden, read};

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

    /// A teacher that is sure to the last bit, or whose logits are far apart, gives finite numbers,
    /// and the parts still add up to the whole.
    #[test]
    fn sure_teachers_and_large_logits_are_stable() {
        let one = Temperatures {
            student: 1.0,
            teacher: 1.0,
        };
        for (x, z) in [
            ([17.0, 0.0, 0.5], [0.3, -0.2, 0.1]),
            ([40.0, 0.0, 1.0], [-3.0, 2.0, 0.0]),
            ([1e4, -1e4, 0.0], [0.0, 1.0, 2.0]),
            ([0.0, 0.1, 0.2], [1e4, -1e4, 0.0]),
        ] {
            let frame = |x: [f32; 3]| hidden(x.to_vec(), 3, Spans::new([1]));
            let value = |compared: Compared| {
                let student: cpu::Hidden<Tape> = frame(z).on(&Tape::default());
                let y = logit_divergence::<_, Cpu>(compared, student, &frame(x), vec![0], one);
                let value = read(&y)[0] as f64;
                let z = frame(z);
                let tape = Tape::default();
                let again =
                    logit_divergence::<_, Cpu>(compared, z.on(&tape), &frame(x), vec![0], one);
                let gradient = backward(again, 1.0).take(&z.values);
                assert!(value.is_finite() && gradient.iter().all(|d| d.is_finite()));
                value
            };
            let [kl, tckd, nckd] = ALL.map(value);
            let largest = x.iter().fold(f32::MIN, |a, b| a.max(*b));
            let exps = x.map(|x| ((x - largest) as f64).exp());
            let rest = (exps[1] + exps[2]) / exps.iter().sum::<f64>();
            let whole = tckd + rest * nckd;
            assert!(
                (kl - whole).abs() <= 1e-5 * kl.abs().max(1.0),
                "{kl} {whole}"
            );
        }
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
