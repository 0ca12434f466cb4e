//! [`LogitDivergenceDevice`] in f64, frame by frame.
use super::{Compared, LogitDivergenceDevice, Temperatures};
use crate::parallel::{for_each_chunk, map};
use crate::tensor::cpu::{Cpu, Matrix, Number, read, tensor};
use crate::tensor::dimensions;

impl LogitDivergenceDevice for Cpu {
    type Targets = Vec<usize>;

    fn targets(classes: Vec<usize>) -> Vec<usize> {
        classes
    }

    fn forward(
        compared: Compared,
        z: &Matrix,
        x: &Matrix,
        targets: &Vec<usize>,
        temperatures: Temperatures,
    ) -> Number {
        let (frames, classes) = dimensions(z);
        let z = read(z);
        let x = read(x);
        let values = map(frames, |f| {
            let row = f * classes..(f + 1) * classes;
            let q = LogShares::new(&z[row.clone()], targets[f], temperatures.student);
            let p = LogShares::new(&x[row], targets[f], temperatures.teacher);
            p.divergence(&q, compared)
        });
        let mean = values.iter().sum::<f64>() / frames.max(1) as f64;
        tensor(vec![mean as f32], ())
    }

    fn backward(
        compared: Compared,
        dy: Vec<f32>,
        z: &Matrix,
        x: &Matrix,
        targets: &Vec<usize>,
        temperatures: Temperatures,
        dz: &mut Vec<f32>,
    ) {
        let (frames, classes) = dimensions(z);
        let z = read(z);
        let x = read(x);
        let scale = dy[0] as f64 / frames.max(1) as f64 / temperatures.student as f64;
        for_each_chunk(dz, classes, |f, dz| {
            let row = f * classes..(f + 1) * classes;
            let q = LogShares::new(&z[row.clone()], targets[f], temperatures.student);
            let p = LogShares::new(&x[row], targets[f], temperatures.teacher);
            for (c, dz) in dz.iter_mut().enumerate() {
                *dz += (scale * p.slope(&q, compared, c)) as f32;
            }
        });
    }
}

/// The softmax of a frame, by logarithms.
struct LogShares<'a> {
    logits: &'a [f32],
    temperature: f64,
    target: usize,
    /// ln Σ exp over all classes, and over all but the target.
    all: f64,
    others: f64,
}

impl<'a> LogShares<'a> {
    fn new(logits: &'a [f32], target: usize, temperature: f32) -> Self {
        let temperature = temperature as f64;
        let scaled = |c: usize| logits[c] as f64 / temperature;
        let sum = |without: Option<usize>| {
            let classes = (0..logits.len()).filter(|c| Some(*c) != without);
            let largest = classes.clone().map(scaled).fold(f64::MIN, f64::max);
            largest
                + classes
                    .map(|c| (scaled(c) - largest).exp())
                    .sum::<f64>()
                    .ln()
        };
        LogShares {
            logits,
            temperature,
            target,
            all: sum(None),
            others: sum(Some(target)),
        }
    }

    fn scaled(&self, class: usize) -> f64 {
        self.logits[class] as f64 / self.temperature
    }

    /// Returns ln of the share of a class among all.
    fn of_all(&self, class: usize) -> f64 {
        self.scaled(class) - self.all
    }

    /// Returns ln of the share of a class that is not the target among those.
    fn of_others(&self, class: usize) -> f64 {
        self.scaled(class) - self.others
    }

    /// Returns ln of the share of all but the target.
    fn rest(&self) -> f64 {
        self.others - self.all
    }

    /// Returns the divergence of a student's shares from these.
    fn divergence(&self, student: &LogShares, compared: Compared) -> f64 {
        let t = self.target;
        let classes = 0..self.logits.len();
        match compared {
            Compared::AllClasses => classes
                .map(|c| term(self.of_all(c), student.of_all(c)))
                .sum(),
            Compared::TargetClass => {
                term(self.of_all(t), student.of_all(t)) + term(self.rest(), student.rest())
            }
            Compared::OtherClasses => classes
                .filter(|c| *c != t)
                .map(|c| term(self.of_others(c), student.of_others(c)))
                .sum(),
        }
    }

    /// Returns the slope of the divergence by a student's scaled logit.
    fn slope(&self, student: &LogShares, compared: Compared, class: usize) -> f64 {
        let t = self.target;
        match compared {
            Compared::AllClasses => student.of_all(class).exp() - self.of_all(class).exp(),
            Compared::TargetClass => {
                let excess = student.of_all(t).exp() - self.of_all(t).exp();
                if class == t {
                    excess
                } else {
                    -excess * student.of_others(class).exp()
                }
            }
            Compared::OtherClasses if class == t => 0.0,
            Compared::OtherClasses => student.of_others(class).exp() - self.of_others(class).exp(),
        }
    }
}

/// Returns p ln(p / q) from ln p and ln q; 0 for a p of 0.
fn term(p: f64, q: f64) -> f64 {
    let share = p.exp();
    if share == 0.0 { 0.0 } else { share * (p - q) }
}
