//! What tests of ops share: noise, functions in f64, and gradients against differences.
use crate::math::Dropout;
pub use crate::random::noise;
pub use crate::tensor::cpu::hidden;
use crate::tensor::cpu::{Cpu, Hidden, Param, Spans, Tape, backward, param, read, record, split};
use dfdx::prelude::{Shape, Tensor};

/// Frames of the rows of a ragged batch, and odd widths.
pub const ROWS: [usize; 5] = [1, 0, 13, 37, 0];
pub const WIDTHS: [usize; 3] = [5, 7, 11];
pub const DROP: Dropout = Dropout { rate: 0.3, key: 5 };

/// Each number within `tolerance` times the size of the largest, or of 1.
pub fn close(y: &[f32], reference: &[f64], tolerance: f64) {
    assert_eq!(y.len(), reference.len());
    let size = reference.iter().fold(1.0f64, |a, x| a.max(x.abs()));
    for (i, (y, r)) in y.iter().zip(reference).enumerate() {
        assert!(
            (*y as f64 - r).abs() <= tolerance * size,
            "number {i} is {y}, not {r}; the largest is {size}"
        );
    }
}

/// By its series; accurate up to |x| about 5.
pub fn erf(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let (mut term, mut total) = (x, x);
    for n in 1..200 {
        term *= -x * x / n as f64;
        total += term / (2 * n + 1) as f64;
    }
    total * std::f64::consts::FRAC_2_SQRT_PI
}

pub fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))
}

pub fn gelu_slope(x: f64) -> f64 {
    0.5 * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))
        + x * (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
}

/// x wᵀ + b
pub fn affine(x: &[f64], width: usize, w: &Param, b: &Param) -> Vec<f64> {
    let dot = |x: &[f64], w: &[f32]| x.iter().zip(w).map(|(x, w)| x * *w as f64).sum::<f64>();
    let row = |x: &[f64]| -> Vec<f64> {
        read(w)
            .chunks(width)
            .zip(read(b))
            .map(|(w, b)| dot(x, w) + *b as f64)
            .collect()
    };
    x.chunks(width).flat_map(row).collect()
}

/// The norm of one frame over `over` channels, those beyond the frame being zero; mean; 1 / standard deviation.
pub fn norm(x: &[f64], gamma: &Param, beta: &Param, eps: f64, over: usize) -> (Vec<f64>, f64, f64) {
    let full: Vec<f64> = x
        .iter()
        .copied()
        .chain(std::iter::repeat(0.0))
        .take(over)
        .collect();
    let mean = full.iter().sum::<f64>() / over as f64;
    let rstd =
        1.0 / (full.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / over as f64 + eps).sqrt();
    let affine = x.iter().zip(read(gamma)).zip(read(beta));
    (
        affine
            .map(|((x, g), b)| (x - mean) * rstd * *g as f64 + *b as f64)
            .collect(),
        mean,
        rstd,
    )
}

/// A ragged input and parameters, all noise.
pub struct Case {
    pub x: Hidden,
    pub p: Vec<Param>,
}

impl Case {
    pub fn new(rows: &[usize], width: usize, sizes: &[usize]) -> Self {
        let spans = Spans::new(rows.iter().copied());
        let x = hidden(
            noise(&format!("x{}", sizes.len()), spans.total() * width),
            width,
            spans,
        );
        Case {
            x,
            p: sizes
                .iter()
                .enumerate()
                .map(|(i, n)| param(noise(&format!("p{i}"), *n)))
                .collect(),
        }
    }

    /// With parameters of another size.
    pub fn scaled(mut self, by: f32) -> Self {
        self.p
            .iter_mut()
            .for_each(|p| *p = param(read(p).iter().map(|w| w * by).collect()));
        self
    }

    /// The input in f64.
    pub fn frames(&self) -> Vec<f64> {
        self.x.read().iter().map(|x| *x as f64).collect()
    }

    /// The numbers of x and of each parameter.
    pub fn inputs(&self) -> Vec<Vec<f32>> {
        [&self.x.values]
            .map(read)
            .into_iter()
            .chain(self.p.iter().map(read))
            .map(<[f32]>::to_vec)
            .collect()
    }

    /// y = f(x, p), and the gradients of r · y with regard to each input, for a random r.
    pub fn run<S: Shape>(
        &self,
        f: impl Fn(Hidden<Tape>, &[Param], &Tape) -> Tensor<S, f32, Cpu, Tape>,
    ) -> Vec<Vec<f32>> {
        let tape = Tape::default();
        let (y, tape) = split(f(self.x.on(&tape), &self.p, &tape));
        let (pull, inner) = (noise("r", read(&y).len()), y.clone());
        let loss = record(vec![0.0], (), tape, move |dy, g| {
            g.of(&inner)
                .iter_mut()
                .zip(&pull)
                .for_each(|(d, r)| *d += dy[0] * r);
        });
        let mut gradients = backward(loss, 1.0);
        let of_inputs = [gradients.take(&self.x.values)]
            .into_iter()
            .chain(self.p.iter().map(|p| gradients.take(p)));
        std::iter::once(read(&y).to_vec())
            .chain(of_inputs)
            .collect()
    }

    /// [`Case::run`], its gradients against [`differences`].
    pub fn check<S: Shape>(
        &self,
        f: impl Fn(Hidden<Tape>, &[Param], &Tape) -> Tensor<S, f32, Cpu, Tape>,
    ) {
        let own = self.run(&f);
        differences(&self.inputs(), &own[1..], &own[0], |inputs| {
            let x = hidden(inputs[0].clone(), self.x.width(), self.x.spans.clone());
            let p: Vec<Param> = inputs[1..].iter().cloned().map(param).collect();
            let tape = Tape::default();
            read(&f(x.on(&tape), &p, &tape)).to_vec()
        });
    }
}

/// The gradients of r · y for a random r, along a random direction of each input, against Richardson's extrapolation of
/// central differences of `f`, which gives y. The forward is f32; only its sum with r is f64.
pub fn differences(
    inputs: &[Vec<f32>],
    exact: &[Vec<f32>],
    y: &[f32],
    f: impl Fn(&[Vec<f32>]) -> Vec<f32>,
) {
    const STEP: f32 = 4e-3;
    let r = noise("r", y.len());
    let value = |y: &[f32]| {
        y.iter()
            .zip(&r)
            .map(|(y, r)| *y as f64 * *r as f64)
            .sum::<f64>()
    };
    let rounding = y
        .iter()
        .zip(&r)
        .map(|(y, r)| (y * r).abs() as f64)
        .sum::<f64>()
        * 1e-7
        / STEP as f64;
    for (input, exact) in exact.iter().enumerate() {
        let direction = noise(&format!("direction{input}"), exact.len());
        let moved = |step: f32| {
            let mut inputs = inputs.to_vec();
            inputs[input]
                .iter_mut()
                .zip(&direction)
                .for_each(|(v, d)| *v += step * d);
            value(&f(&inputs))
        };
        let slope = |h: f32| (moved(h) - moved(-h)) / (2.0 * h as f64);
        let difference = (4.0 * slope(STEP) - slope(2.0 * STEP)) / 3.0;
        let along: f64 = exact
            .iter()
            .zip(&direction)
            .map(|(g, d)| *g as f64 * *d as f64)
            .sum();
        let size = exact
            .iter()
            .map(|g| (*g as f64).powi(2))
            .sum::<f64>()
            .sqrt();
        let off = (along - difference).abs();
        assert!(
            off <= 3e-3 * size + rounding + 1e-6,
            "input {input}: {along} is not {difference}, norm {size}"
        );
    }
}

/// Checks an op on every device of the build, from one text: its gradients on the CPU against
/// [`differences`], and on a GPU its values and gradients against the CPU's, in each precision.
///
/// The text may call `hidden` and `param`, which make a constant or a parameter on its device.
macro_rules! check_op {
    ($case:expr, |$x:pat_param, $p:pat_param, $tape:pat_param, $precision:pat_param| $body:expr) => {{
        $case.check(|$x, $p, $tape| {
            #[allow(unused_imports)]
            use $crate::tensor::cpu::{hidden, param, read};
            let $precision = $crate::gemm::Precision::F32;
            $body
        });
        #[cfg(feature = "cuda")]
        $crate::op::check::on_both!(compare, $case, |$x, $p, $tape, $precision| $body);
    }};
}

/// Checks on a GPU that an op agrees with the CPU, as [`check_op`]; its gradients are not those of
/// its values.
macro_rules! agree_op {
    ($case:expr, |$x:pat_param, $p:pat_param, $tape:pat_param, $precision:pat_param| $body:expr) => {{
        #[cfg(feature = "cuda")]
        $crate::op::check::on_both!(agree, $case, |$x, $p, $tape, $precision| $body);
    }};
}

/// Gives one text to a check of `cuda::check` as the CPU's op and as the GPU's.
#[cfg(feature = "cuda")]
macro_rules! on_both {
    ($check:ident, $case:expr, |$x:pat_param, $p:pat_param, $tape:pat_param, $precision:pat_param| $body:expr) => {
        $crate::cuda::check::$check(
            &$case,
            |$x, $p, $tape, $precision| {
                #[allow(unused_imports)]
                use $crate::tensor::cpu::{hidden, param, read};
                $body
            },
            |$x, $p, $tape, $precision| {
                #[allow(unused_imports)]
                use $crate::tensor::cuda::{hidden, param, read};
                $body
            },
        )
    };
}
pub(crate) use agree_op;
pub(crate) use check_op;
#[cfg(feature = "cuda")]
pub(crate) use on_both;
