//! Shared by the tests of ops: random inputs, functions in float64, and the check of gradients
//! against differences.
use crate::math::Dropout;
pub use crate::random::noise;
pub use crate::tensor::cpu::hidden;
use crate::tensor::cpu::{Cpu, Hidden, Param, Spans, Tape, backward, param, read, split, tensor};
use crate::tensor::record;
use dfdx::prelude::{Shape, Tensor};

/// Frames of the rows of a ragged batch.
pub const ROWS: [usize; 5] = [1, 0, 13, 37, 0];
/// Widths that are not multiples of 4.
pub const WIDTHS: [usize; 3] = [5, 7, 11];
pub const DROP: Dropout = Dropout { rate: 0.3, key: 5 };

/// Asserts that each number differs by at most `tolerance` times the largest, or times 1.
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

/// Asserts that the bytes which an op needs at its peak, by the number of frames of a row, do not grow
/// with the square of it. All is computed on this thread, whose bytes alone are counted.
pub fn memory_grows_with(peak: impl Fn(usize) -> usize + Sync) {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread();
    let [short, long] = pool
        .build()
        .expect("this thread has no pool")
        .install(|| [peak(3000), peak(6000)]);
    assert!(long < short * 5 / 2, "{short} bytes become {long}");
    assert!(short < size_of::<f32>() * 3000 * 3000, "{short} bytes");
}

/// Computes the error function by its series, which is accurate up to |x| of about 5.
pub fn erf(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let mut term = x;
    let mut total = x;
    for n in 1..200 {
        term *= -x * x / n as f64;
        total += term / (2 * n + 1) as f64;
    }
    total * std::f64::consts::FRAC_2_SQRT_PI
}

/// Returns GELU(x).
pub fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))
}

/// Returns the derivative of GELU at x.
pub fn gelu_slope(x: f64) -> f64 {
    0.5 * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))
        + x * (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
}

/// Returns x wᵀ + b.
pub fn affine(x: &[f64], width: usize, w: &Param, b: &Param) -> Vec<f64> {
    let dot = |x: &[f64], w: &[f32]| x.iter().zip(w).map(|(x, w)| x * *w as f64).sum::<f64>();
    let mut y = vec![];
    for x in x.chunks(width) {
        let outputs = read(w).chunks(width).zip(read(b));
        y.extend(outputs.map(|(w, b)| dot(x, w) + *b as f64));
    }
    y
}

/// Normalises a frame over `over` channels, of which those beyond the frame are zero. Returns y,
/// the mean, and 1 / the standard deviation.
pub fn norm(x: &[f64], gamma: &Param, beta: &Param, eps: f64, over: usize) -> (Vec<f64>, f64, f64) {
    let zeros = std::iter::repeat(0.0);
    let channels: Vec<f64> = x.iter().copied().chain(zeros).take(over).collect();
    let mean = channels.iter().sum::<f64>() / over as f64;
    let squares: f64 = channels.iter().map(|x| (x - mean).powi(2)).sum();
    let rstd = 1.0 / (squares / over as f64 + eps).sqrt();
    let scaled = x.iter().zip(read(gamma)).zip(read(beta));
    let y = scaled.map(|((x, g), b)| (x - mean) * rstd * *g as f64 + *b as f64);
    (y.collect(), mean, rstd)
}

/// A random ragged input and random parameters.
pub struct Case {
    pub x: Hidden,
    pub p: Vec<Param>,
}

impl Case {
    /// Draws an input with these rows and this width, and parameters of these sizes.
    pub fn new(rows: &[usize], width: usize, sizes: &[usize]) -> Self {
        let spans = Spans::new(rows.iter().copied());
        let values = noise(&format!("x{}", sizes.len()), spans.total() * width);
        let mut p = vec![];
        for (i, size) in sizes.iter().enumerate() {
            p.push(param(noise(&format!("p{i}"), *size)));
        }
        Case {
            x: hidden(values, width, spans),
            p,
        }
    }

    /// Multiplies the parameters by a factor.
    pub fn scaled(mut self, by: f32) -> Self {
        for p in &mut self.p {
            *p = param(read(p).iter().map(|w| w * by).collect());
        }
        self
    }

    /// Returns the input in f64.
    pub fn frames(&self) -> Vec<f64> {
        self.x.read().iter().map(|x| *x as f64).collect()
    }

    /// Returns the numbers of x and of each parameter.
    pub fn inputs(&self) -> Vec<Vec<f32>> {
        let mut inputs = vec![self.x.read().to_vec()];
        inputs.extend(self.p.iter().map(|p| read(p).to_vec()));
        inputs
    }

    /// Returns y = f(x, p) and the gradients of r · y with respect to each input, for a random r.
    pub fn run<S: Shape>(
        &self,
        f: impl Fn(Hidden<Tape>, &[Param], &Tape) -> Tensor<S, f32, Cpu, Tape>,
    ) -> Vec<Vec<f32>> {
        let tape = Tape::default();
        let (y, tape) = split(f(self.x.on(&tape), &self.p, &tape));
        let numbers = read(&y).to_vec();
        let weights = noise("r", numbers.len());
        let loss = record(tensor(vec![0.0], ()), tape, move |dy, g| {
            for (d, r) in g.of(&y).iter_mut().zip(&weights) {
                *d += dy[0] * r;
            }
        });
        let mut gradients = backward(loss, 1.0);
        let mut results = vec![numbers, gradients.take(&self.x.values)];
        results.extend(self.p.iter().map(|p| gradients.take(p)));
        results
    }

    /// Checks the gradients of [`Case::run`] against [`differences`].
    pub fn check<S: Shape>(
        &self,
        f: impl Fn(Hidden<Tape>, &[Param], &Tape) -> Tensor<S, f32, Cpu, Tape>,
    ) {
        let results = self.run(&f);
        differences(&self.inputs(), &results[1..], &results[0], |inputs| {
            let x = hidden(inputs[0].clone(), self.x.width(), self.x.spans.clone());
            let p: Vec<Param> = inputs[1..].iter().cloned().map(param).collect();
            let tape = Tape::default();
            read(&f(x.on(&tape), &p, &tape)).to_vec()
        });
    }
}

/// Checks `gradients`, those of r · y for a random r, along a random direction of each input.
///
/// They are compared with Richardson's extrapolation of central differences of `f`, which computes
/// y in f32; its dot product with r is f64.
pub fn differences(
    inputs: &[Vec<f32>],
    gradients: &[Vec<f32>],
    y: &[f32],
    f: impl Fn(&[Vec<f32>]) -> Vec<f32>,
) {
    const STEP: f32 = 4e-3;
    let r = noise("r", y.len());
    let value = |y: &[f32]| {
        let products = y.iter().zip(&r).map(|(y, r)| *y as f64 * *r as f64);
        products.sum::<f64>()
    };
    let sizes = y.iter().zip(&r).map(|(y, r)| (y * r).abs() as f64);
    let rounding = sizes.sum::<f64>() * 1e-7 / STEP as f64;
    for (input, gradient) in gradients.iter().enumerate() {
        let direction = noise(&format!("direction{input}"), gradient.len());
        let value_after = |step: f32| {
            let mut inputs = inputs.to_vec();
            for (x, d) in inputs[input].iter_mut().zip(&direction) {
                *x += step * d;
            }
            value(&f(&inputs))
        };
        let slope = |h: f32| (value_after(h) - value_after(-h)) / (2.0 * h as f64);
        let difference = (4.0 * slope(STEP) - slope(2.0 * STEP)) / 3.0;
        let products = gradient
            .iter()
            .zip(&direction)
            .map(|(g, d)| *g as f64 * *d as f64);
        let along: f64 = products.sum();
        let squares: f64 = gradient.iter().map(|g| (*g as f64).powi(2)).sum();
        let size = squares.sqrt();
        assert!(
            (along - difference).abs() <= 3e-3 * size + rounding + 1e-6,
            "input {input}: {along} is not {difference}, norm {size}"
        );
    }
}

/// Checks an op on every device of the build, from one text: its gradients on the CPU against
/// [`differences`], and on a GPU its values and gradients against the CPU's, in each precision.
///
/// The text may call `hidden` and `param`, which make a constant or a parameter on its device, and
/// `read`.
macro_rules! check_op {
    (
        $case:expr,
        |$x:pat_param, $p:pat_param, $tape:pat_param, $precision:pat_param| $body:expr
    ) => {{
        $case.check(|$x, $p, $tape| {
            #[allow(unused_imports)]
            use $crate::tensor::cpu::{hidden, param, read, regrouped};
            let $precision = $crate::gemm::Precision::F32;
            $body
        });
        #[cfg(feature = "cuda")]
        $crate::op::check::on_both!(compare, $case, |$x, $p, $tape, $precision| $body);
    }};
}

/// Checks on a GPU that an op agrees with the CPU, as [`check_op`], without differences: for ops
/// whose gradients are not those of their values.
macro_rules! agree_op {
    (
        $case:expr,
        |$x:pat_param, $p:pat_param, $tape:pat_param, $precision:pat_param| $body:expr
    ) => {{
        #[cfg(feature = "cuda")]
        $crate::op::check::on_both!(agree, $case, |$x, $p, $tape, $precision| $body);
        #[cfg(not(feature = "cuda"))]
        let _ = &$case;
    }};
}

/// Compiles one text for the CPU and for the GPU, and passes both to a check of `cuda::check`.
#[cfg(feature = "cuda")]
macro_rules! on_both {
    (
        $check:ident,
        $case:expr,
        |$x:pat_param, $p:pat_param, $tape:pat_param, $precision:pat_param| $body:expr
    ) => {
        $crate::cuda::check::$check(
            &$case,
            |$x, $p, $tape, $precision| {
                #[allow(unused_imports)]
                use $crate::tensor::cpu::{hidden, param, read, regrouped};
                $body
            },
            |$x, $p, $tape, $precision| {
                #[allow(unused_imports)]
                use $crate::tensor::cuda::{hidden, param, read, regrouped};
                $body
            },
        )
    };
}
pub(crate) use agree_op;
pub(crate) use check_op;
#[cfg(feature = "cuda")]
pub(crate) use on_both;
