//! y = conv(x', w) + b, row by row. x (frames, in), w (out, in, k), b (out),
//! y ((frames - k) / s + 1 a row, out).
//!
//! x' is x, or GELU(x) ∘ gate with a gate (in): the activation belongs to its consumer, so only x
//! is saved. Of the widest x, the first convolution's, not even that ([`Source::First`]).
//! With windows of k frames as rows of a matrix: y = windows wᵀ + b, dw = dyᵀ windows, db = Σ dy,
//! and frame s t + p of x' receives Σ_q dy[t - q] w[:, :, p + q s], a convolution for each phase
//! p < s.
pub(crate) mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use super::conv_first::{ConvFirstDevice, First, conv_first};
use super::gate;
use super::windows::windows;
use crate::gemm::Precision;
use crate::tensor::{
    Device, Grads, Hidden, NoneTape, Param, Spans, Track, Vector, len, record_hidden,
};

/// What a device must do for [`conv1d`].
pub trait Conv1dDevice: ConvFirstDevice {
    /// The input off its tape.
    type Frames: 'static;
    /// The result as the device leaves it, and what its gradients need.
    type Output: 'static;
    /// What the gradients of a finished result need.
    type Rule: 'static;

    /// Takes a tensor as the input.
    fn hidden(x: Hidden<NoneTape, Self>) -> Self::Frames;
    /// Takes the first convolution as the input.
    fn first(normed: Self::Normed) -> Self::Frames;
    /// Takes a result that is not finished as the input, or returns it if it must be.
    fn chained(output: Self::Output, precision: Precision) -> Result<Self::Frames, Self::Output>;
    /// Returns the channels of the input.
    fn width(x: &Self::Frames) -> usize;

    /// Convolves x. Without `saves` there will be no backward pass.
    fn convolve(conv: Convolution<Self>, x: Self::Frames, saves: bool) -> Self::Output;
    /// Returns y.
    fn finish(output: Self::Output) -> (Hidden<NoneTape, Self>, Self::Rule);
    /// Adds to the gradients of everything that y comes from.
    fn backward(rule: Self::Rule, dy: Self::Upstream, g: &mut Grads<Self>);
}

/// A convolution without its input.
pub struct Convolution<D: Conv1dDevice> {
    w: Param<D>,
    bias: Option<Param<D>>,
    gate: Option<Param<D>>,
    /// Whether x' is GELU(x) ∘ gate.
    activates: bool,
    /// Channels of x.
    width: usize,
    /// Channels of y.
    out: usize,
    k: usize,
    s: usize,
    precision: Precision,
}

impl<D: Conv1dDevice> Convolution<D> {
    /// Returns the rows of y, for those of x.
    fn windows(&self, frames: &Spans) -> Spans {
        windows(frames, self.k, self.s)
    }
}

/// x'
pub enum Input<'a, T, D: Conv1dDevice = Device> {
    /// x itself, a waveform, which gets no gradient.
    Raw(Hidden<T, D>),
    /// GELU(x), times one factor a channel.
    Gelu(Source<T, D>, Option<&'a Vector<T, D>>),
}

/// Frames that a convolution reads.
pub enum Source<T = NoneTape, D: Conv1dDevice = Device> {
    Hidden(Hidden<T, D>),
    /// The first convolution, computed where it is read, and once more for the gradients.
    First(First<D>, T),
    /// The result of a convolution, which on a GPU stays as the next one reads it.
    Conv(D::Output, T),
}

impl<T: Track<D>, D: Conv1dDevice> Source<T, D> {
    /// Returns the frames of all rows.
    pub fn whole(self) -> Hidden<T, D> {
        match self {
            Source::Hidden(x) => x,
            Source::First(first, tape) => conv_first(first, tape),
            Source::Conv(output, tape) => {
                let (y, rule) = D::finish(output);
                record_hidden(y.values, y.spans, tape, move |dy, g| {
                    D::backward(rule, dy, g);
                })
            }
        }
    }

    /// Separates the frames, as a convolution of this precision reads them, from their tape.
    fn split(self, precision: Precision) -> (D::Frames, T) {
        let x = match self {
            Source::First(first, tape) => return (D::first(D::prepare(first)), tape),
            Source::Hidden(x) => x,
            Source::Conv(output, tape) => match D::chained(output, precision) {
                Ok(frames) => return (frames, tape),
                Err(output) => Source::Conv(output, tape).whole(),
            },
        };
        let (x, tape) = x.split();
        (D::hidden(x), tape)
    }
}

/// Convolves each row with k taps and stride s.
pub fn conv1d<T: Track<D>, D: Conv1dDevice>(
    input: Input<T, D>,
    w: &Param<D>,
    bias: Option<&Param<D>>,
    k: usize,
    s: usize,
    precision: Precision,
) -> Source<T, D> {
    let (activates, source, gate) = match input {
        Input::Raw(x) => (false, Source::Hidden(x), None),
        Input::Gelu(source, gate) => (true, source, gate),
    };
    let (x, tape) = source.split(precision);
    let (gate, tape) = gate::join(tape, gate);
    let width = D::width(&x);
    let conv = Convolution {
        w: w.clone(),
        bias: bias.cloned(),
        gate,
        activates,
        width,
        out: len(w) / width / k,
        k,
        s,
        precision,
    };
    Source::Conv(D::convolve(conv, x, T::OWNS_TAPE), tape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{self, Case, agree_op, check_op, close, noise};
    use crate::op::frames_out;
    use crate::tensor::cpu::read;
    use crate::tensor::put;

    const ROWS: [usize; 5] = [1, 0, 13, 38, 11];

    fn case(width: usize, out: usize, k: usize) -> Case {
        Case::new(&ROWS, width, &[out * width * k, out, width])
    }

    fn reference(case: &Case, input: impl Fn(usize, f64) -> f64, k: usize, s: usize) -> Vec<f64> {
        let x = case.frames();
        let width = case.x.width();
        let w = read(&case.p[0]);
        let bias = read(&case.p[1]);
        let mut y = vec![];
        for row in case.x.spans.iter() {
            for t in 0..frames_out(row.len(), k, s) {
                for (o, bias) in bias.iter().enumerate() {
                    let at = |c: usize, j: usize| input(c, x[(row.start + t * s + j) * width + c]);
                    let terms =
                        (0..width * k).map(|i| w[o * width * k + i] as f64 * at(i / k, i % k));
                    y.push(terms.sum::<f64>() + *bias as f64);
                }
            }
        }
        y
    }

    #[test]
    fn conv1d_is_its_formula_and_its_gradient() {
        const OUT: usize = 17;
        let kernels = [(3, 2), (2, 2), (5, 3), (1, 1), (3, 1), (2, 3), (10, 5)];
        let mut sizes: Vec<_> = kernels
            .into_iter()
            .flat_map(|kernel| [(kernel, 5, OUT), (kernel, 7, OUT)])
            .collect();
        for ((k, s), width, _) in &sizes {
            let case = case(*width, OUT, *k);
            let [w, bias, gate] = [&case.p[0], &case.p[1], &case.p[2]];
            let input = Input::Gelu(Source::Hidden(case.x.clone()), Some(gate));
            let y = conv1d(input, w, Some(bias), *k, *s, Precision::F32).whole();
            let gates = read(gate);
            let gelu = |c: usize, x: f64| check::gelu(x) * gates[c] as f64;
            close(y.read(), &reference(&case, gelu, *k, *s), 1e-5);
            let input = Input::Raw(case.x.clone());
            let y = conv1d(input, w, Some(bias), *k, *s, Precision::F32).whole();
            close(y.read(), &reference(&case, |_, x| x, *k, *s), 1e-5);
        }
        sizes.extend([
            ((3, 2), 5, 7),
            ((2, 2), 8, 4),
            ((10, 5), 4, 8),
            ((3, 1), 4, 5),
            ((2, 3), 5, 8),
        ]);
        for ((k, s), width, out) in sizes {
            let case = case(width, out, k);
            check_op!(case, |x, p, tape, precision| {
                let gate = put(&p[2], tape);
                let input = Input::Gelu(Source::Hidden(x), Some(&gate));
                let y = conv1d(input, &p[0], Some(&p[1]), k, s, precision);
                y.whole().values
            });
            check_op!(case, |x, p, _, precision| {
                let input = Input::Gelu(Source::Hidden(x), None);
                conv1d(input, &p[0], None, k, s, precision).whole().values
            });
            let wave = case.x.read().to_vec();
            check_op!(case, |_, p, tape, precision| {
                let wave = hidden(wave.clone(), width, case.x.spans.clone());
                let input = Input::Raw(wave.on(tape));
                let y = conv1d(input, &p[0], Some(&p[1]), k, s, precision);
                y.whole().values
            });
        }
    }

    #[test]
    fn convolutions_may_follow_each_other() {
        for ((k, s), width) in [((3, 2), 5), ((2, 2), 8), ((3, 1), 4)] {
            let sizes = [8 * width * k, 8, 6 * 8 * 3, width, 8, 4 * 6 * 2];
            let case = Case::new(&[1, 0, 23, 58, 11], width, &sizes);
            check_op!(case, |x, p, tape, precision| {
                let first_gate = put(&p[3], tape);
                let input = Input::Gelu(Source::Hidden(x), Some(&first_gate));
                let x = conv1d(input, &p[0], Some(&p[1]), k, s, precision);
                let second_gate = put(&p[4], tape);
                let input = Input::Gelu(x, Some(&second_gate));
                let x = conv1d(input, &p[2], None, 3, 2, precision);
                let y = conv1d(Input::Gelu(x, None), &p[5], None, 2, 2, Precision::F32);
                y.whole().values
            });
        }
    }

    #[test]
    fn the_first_convolution_is_the_same_on_both_devices() {
        let waves = [197, 2, 0, 160].map(|n| noise("wave", n)).to_vec();
        let width = 7;
        let sizes = [width * 10, width, width, 9 * width * 3, width];
        let case = Case::new(&[1], 1, &sizes);
        case.check(|_, p, tape| {
            let first = First::new(waves.clone(), [&p[0], &p[1], &p[2]], 10, 5);
            let gate = put(&p[4], tape);
            let input = Input::Gelu(Source::First(first, tape.clone()), Some(&gate));
            conv1d(input, &p[3], None, 3, 2, Precision::F32)
                .whole()
                .values
        });
        agree_op!(case, |_, p, tape, precision| {
            let first = First::new(waves.clone(), [&p[0], &p[1], &p[2]], 10, 5);
            let gate = put(&p[4], tape);
            let input = Input::Gelu(Source::First(first, tape.clone()), Some(&gate));
            conv1d(input, &p[3], None, 3, 2, precision).whole().values
        });
    }
}
