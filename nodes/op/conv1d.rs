//! y = conv(x', w) + b, row by row. x (frames, in), w (out, in, k), y ((frames - k) / s + 1 a row, out).
//! x' is x, or GELU(x) ∘ gate: the activation belongs to its consumer, so only x is kept. Of the widest x, the first
//! convolution's, not even that ([`Source::First`]).
//!
//! Channels last, a window of k frames is k · in numbers in a row, and window t starts at t · s · in. So the matrix of
//! windows is x' itself, seen with a row stride smaller than its width; none is copied. For the input's gradient, frame
//! s t + p receives Σ_q dy[t - q] w[:, :, p + q s]: for each phase p again a product with overlapping windows, of dy.
//! The gate is part of w (op/gate.rs).
use super::conv_first::{First, conv_first};
use super::gate;
use crate::gemm::{Epilogue, Out, Precision, Shape, View, gemm, gemm_then};
use crate::math::{gelu, gelu_both};
use crate::par::{add, column_sums, parts, zip};
use crate::tensor::cpu::{Grads, Hidden, NoneTape, Param, Spans, Track, Vector, read, record_hidden};
use std::borrow::Cow;
use std::ops::Range;

/// What the convolution sees.
pub enum Input<'a, T> {
    /// x: a waveform off the tape, whose gradient nobody asks for.
    Raw(Hidden<T>),
    /// GELU(x), times one factor a channel.
    Gelu(Source<T>, Option<&'a Vector<T>>),
}

/// Where x comes from, row by row.
pub enum Source<T = NoneTape> {
    Hidden(Hidden<T>),
    /// Made when it is needed, and once more for the gradients.
    First(First, T),
}

impl<T: Track> Source<T> {
    /// All rows at once.
    pub fn whole(self) -> Hidden<T> {
        match self {
            Source::Hidden(x) => x,
            Source::First(first, tape) => conv_first(first, tape),
        }
    }
    fn split(self) -> (Source, T) {
        match self {
            Source::Hidden(x) => {
                let (x, tape) = x.split();
                (Source::Hidden(x), tape)
            }
            Source::First(first, tape) => (Source::First(first, NoneTape), tape),
        }
    }
}

impl Source {
    fn spans(&self) -> &Spans {
        match self {
            Source::Hidden(x) => &x.spans,
            Source::First(first, _) => &first.spans,
        }
    }
    fn width(&self) -> usize {
        match self {
            Source::Hidden(x) => x.width(),
            Source::First(first, _) => first.width(),
        }
    }
    fn row(&self, row: usize) -> Cow<'_, [f32]> {
        match self {
            Source::Hidden(x) => (&x.read()[self.numbers(row)]).into(),
            Source::First(first, _) => first.row(row).into(),
        }
    }
    fn pull(&self, row: usize, dx: &[f32], g: &mut Grads) {
        match self {
            Source::Hidden(x) => add(&mut g.of(&x.values)[self.numbers(row)], dx),
            Source::First(first, _) => first.pull(row, dx, g),
        }
    }
    fn numbers(&self, row: usize) -> Range<usize> {
        let (frames, width) = (self.spans().of(row), self.width());
        frames.start * width..frames.end * width
    }
}

/// Frames that a convolution makes of `frames`.
pub fn frames_out(frames: usize, k: usize, s: usize) -> usize {
    if frames < k { 0 } else { (frames - k) / s + 1 }
}

/// On a GPU the result stays as the next convolution reads it until [`Source::whole`] is asked for.
pub fn conv1d<T: Track>(
    input: Input<T>,
    w: &Param,
    bias: Option<&Param>,
    k: usize,
    s: usize,
    precision: Precision,
) -> Source<T> {
    let (activates, source, gate) = match input {
        Input::Raw(x) => (false, Source::Hidden(x), None),
        Input::Gelu(source, gate) => (true, source, gate),
    };
    let (x, tape) = source.split();
    let (gate, tape) = gate::join(tape, gate);
    let (width, out) = (x.width(), read(w).len() / x.width() / k);
    let spans = Spans::new(x.spans().lengths().map(|frames| frames_out(frames, k, s)));
    let longest = x.spans().lengths().max().unwrap_or(0) * width;

    let taps = gated(taps_first(read(w), width, k, None), gate.as_ref());
    let (mut h, mut y) = (vec![0.0; longest], vec![0.0; spans.total() * out]);
    for (row, to) in spans.iter().enumerate() {
        let x_row = x.row(row);
        let h = seen(activates, &x_row, &mut h);
        let shape = Shape { m: to.len(), n: out, k: k * width };
        let y = Out::set(&mut y[to.start * out..], out);
        let then = bias.map_or(Epilogue::None, |b| Epilogue::Bias(read(b)));
        gemm_then(precision, shape, View::rows(h, s * width), View::rows(&taps, k * width).t(), y, then);
    }

    let (w, bias, rows) = (w.clone(), bias.cloned(), spans.clone());
    Source::Hidden(record_hidden(y, out, spans, tape, move |dy, g| {
        let taps = taps_first(read(&w), width, k, None);
        let (mut dtaps, mut h) = (vec![0.0; taps.len()], vec![0.0; longest]);
        let phases = if activates { phases(&gated(taps.clone(), gate.as_ref()), [out, width, k, s]) } else { vec![] };
        for (row, to) in rows.iter().enumerate().filter(|(_, to)| !to.is_empty()) {
            let (x_row, dy) = (x.row(row), &dy[to.start * out..to.end * out]);
            let shape = Shape { m: out, n: k * width, k: to.len() };
            let windows = View::rows(seen(activates, &x_row, &mut h), s * width);
            gemm(precision, shape, View::rows(dy, out).t(), windows, Out::add(&mut dtaps, k * width));
            if activates {
                let dh = &mut h[..x_row.len()];
                input_gradient(precision, dy, &phases, [out, width, s], dh);
                zip(dh, &x_row, |dh, x| *dh *= gelu_both(x).1);
                x.pull(row, dh, g);
            }
        }
        if let Some(gate) = &gate {
            gate::pull(&taps, &mut dtaps, gate, g.of(gate));
        }
        parts(g.of(&w), width * k, |o, dw| {
            for (i, dw) in dw.iter_mut().enumerate() {
                *dw += dtaps[(o * k + i % k) * width + i / k];
            }
        });
        if let Some(bias) = &bias {
            add(g.of(bias), &column_sums(&dy, out));
        }
    }))
}

/// GELU of a row, in the buffer; or the row itself.
fn seen<'a>(activates: bool, x: &'a [f32], buffer: &'a mut [f32]) -> &'a [f32] {
    if !activates {
        return x;
    }
    let h = &mut buffer[..x.len()];
    zip(h, x, |h, x| *h = gelu(x));
    h
}

fn gated(taps: Vec<f32>, gate: Option<&Param>) -> Vec<f32> {
    if let Some(gate) = gate { gate::times(&taps, gate) } else { taps }
}

/// (out, in, k) -> (out, k, in), each tap times its factor, if there is one.
pub fn taps_first(w: &[f32], width: usize, k: usize, factor: Option<&[f32]>) -> Vec<f32> {
    let mut taps = vec![0.0; w.len()];
    parts(&mut taps, width * k, |o, taps| {
        let w = &w[o * width * k..][..width * k];
        for (j, tap) in taps.chunks_exact_mut(width).enumerate() {
            let factor = factor.map_or(1.0, |f| f[j]);
            tap.iter_mut().enumerate().for_each(|(c, t)| *t = w[c * k + j] * factor);
        }
    });
    taps
}

/// For each phase the taps that reach it, latest first: (q, out, in).
fn phases(taps: &[f32], [out, width, k, s]: [usize; 4]) -> Vec<Vec<f32>> {
    let phase = |p: usize| {
        let q = k.saturating_sub(p).div_ceil(s);
        let mut reach = vec![0.0; q * out * width];
        parts(&mut reach, width, |i, row| {
            let (tap, o) = (p + (q - 1 - i / out) * s, i % out);
            row.copy_from_slice(&taps[(o * k + tap) * width..][..width]);
        });
        reach
    };
    (0..s).map(phase).collect()
}

/// dh of one row, from all windows that see it.
fn input_gradient(precision: Precision, dy: &[f32], phases: &[Vec<f32>], [out, width, s]: [usize; 3], dh: &mut [f32]) {
    let (frames, windows, zeros) = (dh.len() / width, dy.len() / out, vec![0.0; out]);
    for (p, taps) in phases.iter().enumerate().filter(|(p, _)| *p < frames) {
        let (q, m) = (taps.len() / (out * width), (frames - p).div_ceil(s)); // m frames of this phase
        let whole = if q == 0 { 0..m } else { q - 1..windows.min(m) };
        let (shape, taps) = (Shape { m: whole.len(), n: width, k: q * out }, View::rows(taps, width));
        if !whole.is_empty() {
            let to = Out::set(&mut dh[(p + whole.start * s) * width..], s * width);
            gemm(precision, shape, View::rows(dy, out), taps, to);
        }
        // At both ends fewer than q windows see a frame.
        for t in (0..m).filter(|t| !whole.contains(t)) {
            let seen = (0..q).map(|j| (t + j + 1).checked_sub(q).filter(|at| *at < windows));
            let ends = seen.map(|at| at.map_or(&zeros[..], |at| &dy[at * out..][..out])).collect::<Vec<_>>().concat();
            let to = Out::set(&mut dh[(p + t * s) * width..][..width], width);
            gemm(precision, Shape { m: 1, ..shape }, View::rows(&ends, q * out), taps, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{self, Case, close, noise};
    use crate::op::cpu::mean_square;
    use crate::tensor::cpu::{Tape, backward, put};

    const OUT: usize = 17;
    const KERNELS: [(usize, usize); 7] = [(3, 2), (2, 2), (5, 3), (1, 1), (3, 1), (2, 3), (10, 5)];

    fn definition(case: &Case, input: impl Fn(usize, f64) -> f64, k: usize, s: usize) -> Vec<f64> {
        let (x, width, w, b) = (case.frames(), case.x.width(), read(&case.p[0]), read(&case.p[1]));
        let mut y = vec![];
        for row in case.x.spans.iter() {
            for (t, o) in (0..frames_out(row.len(), k, s)).flat_map(|t| (0..OUT).map(move |o| (t, o))) {
                let at = |c: usize, j: usize| input(c, x[(row.start + t * s + j) * width + c]);
                let terms = (0..width * k).map(|i| w[o * width * k + i] as f64 * at(i / k, i % k));
                y.push(terms.sum::<f64>() + b[o] as f64);
            }
        }
        y
    }

    #[test]
    fn conv1d_is_its_formula_and_its_gradient() {
        for ((k, s), width) in KERNELS.into_iter().flat_map(|k| [(k, 5), (k, 7)]) {
            let case = Case::new(&[1, 0, 13, 38, 11], width, &[OUT * width * k, OUT, width]);
            let gate = read(&case.p[2]);
            let gelu = |x, gate| Input::Gelu(Source::Hidden(x), gate);
            let (w, bias) = (&case.p[0], &case.p[1]);
            let y = conv1d(gelu(case.x.clone(), Some(&case.p[2])), w, Some(bias), k, s, Precision::F32).whole();
            close(y.read(), &definition(&case, |c, x| check::gelu(x) * gate[c] as f64, k, s), 1e-5);
            case.check(|x, p, tape| {
                let gate = put(&p[2], tape);
                let input = Input::Gelu(Source::Hidden(x), Some(&gate));
                conv1d(input, &p[0], Some(&p[1]), k, s, Precision::F32).whole().values
            });
            case.check(|x, p, _| {
                conv1d(Input::Gelu(Source::Hidden(x), None), &p[0], None, k, s, Precision::F32).whole().values
            });
            let y = conv1d(Input::Raw(case.x.clone()), w, Some(bias), k, s, Precision::F32).whole();
            close(y.read(), &definition(&case, |_, x| x, k, s), 1e-5);
            let wave = &case.x;
            case.check(|_, p, tape| {
                conv1d(Input::Raw(wave.on(tape)), &p[0], Some(&p[1]), k, s, Precision::F32).whole().values
            });
        }
    }

    /// It is the same to the bit, forward and backward, when x is never there whole.
    #[test]
    fn the_first_convolution_may_be_made_row_by_row() {
        let (waves, p) =
            ([97, 3, 0, 60].map(|n| noise("wave", n)).to_vec(), Case::new(&[1], 1, &[70, 7, 7, 91 * 3, 7]).p);
        let run = |whole: bool| {
            let tape = Tape::default();
            let source = Source::First(First::new(waves.clone(), [&p[0], &p[1], &p[2]], 10, 5), tape.clone());
            let source = if whole { Source::Hidden(source.whole()) } else { source };
            let y = conv1d(Input::Gelu(source, Some(&put(&p[4], &tape))), &p[3], None, 3, 2, Precision::F32).whole();
            let bits = y.read().to_vec();
            let mut gradients = backward(mean_square(y), 1.0);
            std::iter::once(bits).chain(p.iter().map(|p| gradients.take(p))).collect::<Vec<_>>()
        };
        let bits = run(true);
        assert!(bits.iter().all(|part| part.iter().any(|x| *x != 0.0)));
        assert!(run(false) == bits);
    }
}
