//! y = conv(x', w) + b, row by row. x (frames, in), w (out, in, k), y ((frames - k) / s + 1 a row, out).
//! x' is x, or GELU(x) ∘ gate: the activation belongs to its consumer, so only x is kept. Of the widest x, the first
//! convolution's, not even that ([`Source::First`]).
//!
//! Channels last, a window of k frames is k · in numbers in a row, and window t starts at t · s · in. So the matrix of
//! windows is x' itself, seen with a row stride smaller than its width; none is copied. For the input's gradient, frame
//! s t + p receives Σ_q dy[t - q] w[:, :, p + q s]: for each phase p again a product with overlapping windows, of dy.
//! The gate is part of w (op/gate.rs).
#[cfg(feature = "cuda")]
pub mod cuda;
use super::conv_first::{First, conv_first};
use super::gate;
use crate::gemm::{Epilogue, Out, Packed, Precision, Shape, View, gemm};
use crate::math::{gelu, gelu_both};
use crate::parallel::{add, column_sums, mapped, parts, threads, uneven, wide, zip};
use crate::tensor::cpu::{
    Grads, Hidden, NoneTape, Param, Spans, Track, Vector, read, record_hidden,
};
use std::borrow::Cow;
use std::ops::Range;

/// Frames of y whose windows are there at once for the gradients: fixed, since sums over frames are split there.
const DEPTH: usize = 2048;

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
    /// Frames `at` of a row.
    fn frames(&self, row: usize, at: Range<usize>) -> Cow<'_, [f32]> {
        match self {
            Source::Hidden(x) => x.read()[self.numbers(row, at)].into(),
            Source::First(first, _) => first.frames(row, at).into(),
        }
    }
    /// Adds to the gradient of these frames.
    fn pull(&self, row: usize, at: Range<usize>, dx: &[f32], g: &mut Grads) {
        match self {
            Source::Hidden(x) => add(&mut g.of(&x.values)[self.numbers(row, at)], dx),
            Source::First(first, _) => first.pull(row, at, dx, g),
        }
    }
    fn numbers(&self, row: usize, at: Range<usize>) -> Range<usize> {
        let (first, width) = (self.spans().of(row).start, self.width());
        (first + at.start) * width..(first + at.end) * width
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

    let taps = gated(taps_first(read(w), width, k, None), gate.as_ref());
    let packed = Packed::new(precision, out, k * width, View::rows(&taps, k * width).t());
    let pieces = pieces(&spans);
    let mut y = vec![0.0; spans.total() * out];
    uneven(
        &mut y,
        pieces.iter().map(|(_, at)| at.len() * out),
        |i, y| {
            let (row, at) = &pieces[i];
            let mut h = x.frames(*row, at.start * s..(at.end - 1) * s + k);
            if activates {
                wide!(h.to_mut().iter_mut().for_each(|h| *h = gelu(*h)));
            }
            let then = bias.map_or(Epilogue::None, |b| Epilogue::Bias(read(b)));
            packed.multiply_then(at.len(), View::rows(&h, s * width), Out::set(y, out), &then);
        },
    );

    let (w, bias, rows) = (w.clone(), bias.cloned(), spans.clone());
    Source::Hidden(record_hidden(y, out, spans, tape, move |dy, g| {
        let taps = taps_first(read(&w), width, k, None);
        let mut dtaps = vec![0.0; taps.len()];
        let phases = if activates {
            phases(&gated(taps.clone(), gate.as_ref()), [out, width, k, s])
        } else {
            vec![]
        };
        for (row, at) in parts_of(&rows, DEPTH) {
            let (of_row, frames) = (rows.of(row), x.spans().of(row).len());
            let dy = &dy[of_row.start * out..of_row.end * out];
            // Frames of x whose gradient this part makes, and all that its windows see.
            let pulled = at.start * s..if at.end == of_row.len() {
                frames
            } else {
                at.end * s
            };
            let seen = at.start * s..((at.end - 1) * s + k).max(pulled.end);
            let z = x.frames(row, seen);
            let mut h = if activates {
                mapped(&z, gelu).into()
            } else {
                Cow::Borrowed(&z[..])
            };
            let shape = Shape {
                m: out,
                n: k * width,
                k: at.len(),
            };
            let by_out = View::rows(&dy[at.start * out..], out).t();
            gemm(
                precision,
                shape,
                by_out,
                View::rows(&h, s * width),
                Out::add(&mut dtaps, k * width),
            );
            if activates {
                let dh = &mut h.to_mut()[..pulled.len() * width];
                input_gradient(precision, dy, &phases, [out, width, s], pulled.clone(), dh);
                zip(dh, &z, |dh, z| *dh *= gelu_both(z).1);
                x.pull(row, pulled, dh, g);
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

/// Each row in parts of at most so many frames.
fn parts_of(rows: &Spans, most: usize) -> Vec<(usize, Range<usize>)> {
    let part = |(row, of): (usize, Range<usize>)| {
        let frames = of.len();
        (0..frames)
            .step_by(most)
            .map(move |from| (row, from..frames.min(from + most)))
    };
    rows.iter().enumerate().flat_map(part).collect()
}

/// Parts small enough that what one sees stays in L2, and enough of them for all threads.
fn pieces(rows: &Spans) -> Vec<(usize, Range<usize>)> {
    const MOST: usize = 132;
    let frames = rows.total().max(1);
    parts_of(
        rows,
        frames.div_ceil(frames.div_ceil(MOST).next_multiple_of(threads())),
    )
}

fn gated(taps: Vec<f32>, gate: Option<&Param>) -> Vec<f32> {
    if let Some(gate) = gate {
        gate::times(&taps, gate)
    } else {
        taps
    }
}

/// (out, in, k) -> (out, k, in), each tap times its factor, if there is one.
pub fn taps_first(w: &[f32], width: usize, k: usize, factor: Option<&[f32]>) -> Vec<f32> {
    let mut taps = vec![0.0; w.len()];
    parts(&mut taps, width * k, |o, taps| {
        let w = &w[o * width * k..][..width * k];
        for (j, tap) in taps.chunks_exact_mut(width).enumerate() {
            let factor = factor.map_or(1.0, |f| f[j]);
            tap.iter_mut()
                .enumerate()
                .for_each(|(c, t)| *t = w[c * k + j] * factor);
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

/// dh of these frames of a row, from all windows that see them; the first frame is a multiple of s.
fn input_gradient(
    precision: Precision,
    dy: &[f32],
    phases: &[Vec<f32>],
    [out, width, s]: [usize; 3],
    frames: Range<usize>,
    dh: &mut [f32],
) {
    let (windows, first, zeros) = (dy.len() / out, frames.start / s, vec![0.0; out]);
    for (p, taps) in phases.iter().enumerate().filter(|(p, _)| *p < frames.len()) {
        let (q, end) = (taps.len() / (out * width), (frames.end - p).div_ceil(s)); // frames s t + p with t < end
        let whole = first.max(q.saturating_sub(1))..windows.min(end);
        let at = |t: usize| ((t - first) * s + p) * width;
        let (shape, taps) = (
            Shape {
                m: whole.len(),
                n: width,
                k: q * out,
            },
            View::rows(taps, width),
        );
        if !whole.is_empty() {
            let dy = &dy[(whole.start + 1 - q) * out..];
            gemm(
                precision,
                shape,
                View::rows(dy, out),
                taps,
                Out::set(&mut dh[at(whole.start)..], s * width),
            );
        }
        // At both ends of a row fewer than q windows see a frame.
        for t in (first..end).filter(|t| !whole.contains(t)) {
            let seen = (0..q).map(|j| (t + j + 1).checked_sub(q).filter(|at| *at < windows));
            let ends = seen
                .map(|at| at.map_or(&zeros[..], |at| &dy[at * out..][..out]))
                .collect::<Vec<_>>()
                .concat();
            let to = Out::set(&mut dh[at(t)..][..width], width);
            gemm(
                precision,
                Shape { m: 1, ..shape },
                View::rows(&ends, q * out),
                taps,
                to,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check;
    use crate::op::check::{Case, close, noise};
    use crate::op::cpu::mean_square;
    use crate::tensor::cpu::{Tape, backward, hidden, put};

    const OUT: usize = 17;
    const KERNELS: [(usize, usize); 7] = [(3, 2), (2, 2), (5, 3), (1, 1), (3, 1), (2, 3), (10, 5)];

    fn definition(case: &Case, input: impl Fn(usize, f64) -> f64, k: usize, s: usize) -> Vec<f64> {
        let (x, width, w, b) = (
            case.frames(),
            case.x.width(),
            read(&case.p[0]),
            read(&case.p[1]),
        );
        let mut y = vec![];
        for row in case.x.spans.iter() {
            for (t, o) in
                (0..frames_out(row.len(), k, s)).flat_map(|t| (0..OUT).map(move |o| (t, o)))
            {
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
            let y = conv1d(
                gelu(case.x.clone(), Some(&case.p[2])),
                w,
                Some(bias),
                k,
                s,
                Precision::F32,
            )
            .whole();
            close(
                y.read(),
                &definition(&case, |c, x| check::gelu(x) * gate[c] as f64, k, s),
                1e-5,
            );
            case.check(|x, p, tape| {
                let gate = put(&p[2], tape);
                let input = Input::Gelu(Source::Hidden(x), Some(&gate));
                conv1d(input, &p[0], Some(&p[1]), k, s, Precision::F32)
                    .whole()
                    .values
            });
            case.check(|x, p, _| {
                conv1d(
                    Input::Gelu(Source::Hidden(x), None),
                    &p[0],
                    None,
                    k,
                    s,
                    Precision::F32,
                )
                .whole()
                .values
            });
            let y = conv1d(
                Input::Raw(case.x.clone()),
                w,
                Some(bias),
                k,
                s,
                Precision::F32,
            )
            .whole();
            close(y.read(), &definition(&case, |_, x| x, k, s), 1e-5);
            let wave = &case.x;
            case.check(|_, p, tape| {
                conv1d(
                    Input::Raw(wave.on(tape)),
                    &p[0],
                    Some(&p[1]),
                    k,
                    s,
                    Precision::F32,
                )
                .whole()
                .values
            });
        }
    }

    /// Where two parts of a long row meet, its gradient is that of the frames around.
    #[test]
    fn a_long_row_is_worked_on_in_parts() {
        for (k, s) in KERNELS {
            let case = Case::new(&[2 * DEPTH * s + 50], 5, &[OUT * 5 * k]);
            let gradient = |x: &Hidden| {
                let tape = Tape::default();
                let input = Input::Gelu(Source::Hidden(x.on(&tape)), None);
                let y = conv1d(input, &case.p[0], None, k, s, Precision::F32).whole();
                let count = y.read().len() as f32;
                backward(mean_square(y), count).take(&x.values)
            };
            let whole = gradient(&case.x);
            for at in [DEPTH * s, 2 * DEPTH * s].map(|meet| meet - 20 * s..meet + 40) {
                let around = hidden(
                    case.x.read()[at.start * 5..at.end * 5].to_vec(),
                    5,
                    Spans::new([at.len()]),
                );
                let (part, inner) = (gradient(&around), k * 5..(at.len() - k - s) * 5);
                let expected: Vec<f64> = part[inner.clone()].iter().map(|x| *x as f64).collect();
                close(&whole[at.start * 5..][inner], &expected, 1e-6);
            }
            case.check(|x, p, _| {
                conv1d(
                    Input::Gelu(Source::Hidden(x), None),
                    &p[0],
                    None,
                    k,
                    s,
                    Precision::F32,
                )
                .whole()
                .values
            });
        }
    }

    /// It is the same to the bit, forward and backward, when x is never there whole (within one part).
    #[test]
    fn the_first_convolution_may_be_made_row_by_row() {
        let (waves, p) = (
            [97, 3, 0, 60].map(|n| noise("wave", n)).to_vec(),
            Case::new(&[1], 1, &[70, 7, 7, 91 * 3, 7]).p,
        );
        let run = |whole: bool| {
            let tape = Tape::default();
            let source = Source::First(
                First::new(waves.clone(), [&p[0], &p[1], &p[2]], 10, 5),
                tape.clone(),
            );
            let source = if whole {
                Source::Hidden(source.whole())
            } else {
                source
            };
            let y = conv1d(
                Input::Gelu(source, Some(&put(&p[4], &tape))),
                &p[3],
                None,
                3,
                2,
                Precision::F32,
            )
            .whole();
            let bits = y.read().to_vec();
            let mut gradients = backward(mean_square(y), 1.0);
            std::iter::once(bits)
                .chain(p.iter().map(|p| gradients.take(p)))
                .collect::<Vec<_>>()
        };
        let bits = run(true);
        assert!(bits.iter().all(|part| part.iter().any(|x| *x != 0.0)));
        assert!(run(false) == bits);
    }
}
