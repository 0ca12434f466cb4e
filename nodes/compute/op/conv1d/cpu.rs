//! [`Conv1dDevice`] by GEMMs over windows that overlap.
//!
//! Channels last, a window of k frames is k · in numbers in a row, and window t starts at
//! t · s · in. So the matrix of windows is x' itself, seen with a row stride smaller than its
//! width; none is copied. For the input's gradient each phase is again a GEMM with overlapping
//! windows, of dy. The gate is part of w ([`crate::op::gate`]).
mod frames;
mod phases;

pub(crate) use frames::Frames;
use phases::{input_gradient, phases};

use super::{Conv1dDevice, Convolution};
use crate::gemm::{Epilogue, Out, Packed, Precision, Shape, View, gemm};
use crate::math::{gelu, gelu_both};
use crate::op::conv_first::cpu::NormedFirst;
use crate::op::gate;
use crate::parallel::{
    Shared, add, column_sums, for_each, for_each_chunk, map_numbers, threads, wide, zip,
};
use crate::tensor::cpu::{Cpu, Grads, Hidden, Spans, hidden, read};
use std::borrow::Cow;
use std::ops::Range;

/// Frames of y whose gradients are computed at once: fixed, since sums over frames are split there.
const DEPTH: usize = 2048;

/// What the gradients need.
pub struct Rule {
    conv: Convolution<Cpu>,
    x: Frames,
    windows: Spans,
}

impl Conv1dDevice for Cpu {
    type Frames = Frames;
    type Output = (Hidden, Rule);
    type Rule = Rule;

    fn hidden(x: Hidden) -> Frames {
        Frames::Hidden(x)
    }
    fn first(normed: NormedFirst) -> Frames {
        Frames::First(normed)
    }
    fn chained(output: (Hidden, Rule), _: Precision) -> Result<Frames, (Hidden, Rule)> {
        Err(output)
    }
    fn width(x: &Frames) -> usize {
        x.width()
    }

    fn convolve(conv: Convolution<Cpu>, x: Frames, _: bool) -> (Hidden, Rule) {
        let Convolution {
            width, out, k, s, ..
        } = conv;
        let windows = conv.windows(x.spans());
        let taps = conv.gated(taps_first(read(&conv.w), width, k, None));
        let weight = View::rows(&taps, k * width).t();
        let packed = Packed::new(conv.precision, out, k * width, weight);
        let pieces = pieces(&windows);
        let convolve = |y: Shared| {
            for_each(pieces.len(), |i| {
                let (row, at) = &pieces[i];
                let mut h = x.frames(*row, at.start * s..(at.end - 1) * s + k);
                if conv.activates {
                    wide!(h.to_mut().iter_mut().for_each(|h| *h = gelu(*h)));
                }
                let bias = conv.bias.as_ref();
                let then = bias.map_or(Epilogue::None, |b| Epilogue::Bias(read(b)));
                let first = windows.of(*row).start + at.start;
                // SAFETY: each piece has its own windows.
                let to = unsafe { Out::columns(y.tail(first * out), out, false) };
                packed.multiply_then(at.len(), View::rows(&h, s * width), to, &then);
            })
        };
        // SAFETY: the pieces are all windows, and a product that does not accumulate writes each
        // number before it reads any.
        let y = unsafe { Shared::collect(windows.total() * out, convolve) };
        let y = hidden(y, out, windows.clone());
        (y, Rule { conv, x, windows })
    }

    fn finish(output: (Hidden, Rule)) -> (Hidden, Rule) {
        output
    }

    fn backward(rule: Rule, dy: Vec<f32>, g: &mut Grads) {
        let Rule { conv, x, windows } = rule;
        let Convolution {
            width, out, k, s, ..
        } = conv;
        let taps = taps_first(read(&conv.w), width, k, None);
        let mut dtaps = vec![0.0; taps.len()];
        let phases = if conv.activates {
            phases(&conv.gated(taps.clone()), &conv)
        } else {
            vec![]
        };
        for (row, at) in parts_of(&windows, DEPTH) {
            let row_windows = windows.of(row);
            let frames = x.spans().of(row).len();
            let dy = &dy[row_windows.start * out..row_windows.end * out];
            let end = if at.end == row_windows.len() {
                frames
            } else {
                at.end * s
            };
            // Frames of x whose gradient this part computes, and all that its windows contain.
            let own = at.start * s..end;
            let seen = own.start..((at.end - 1) * s + k).max(own.end);
            let z = x.frames(row, seen);
            let mut h = if conv.activates {
                map_numbers(&z, gelu).into()
            } else {
                Cow::Borrowed(&z[..])
            };
            let shape = Shape {
                m: out,
                n: k * width,
                k: at.len(),
            };
            let dy_by_channel = View::rows(&dy[at.start * out..], out).t();
            let h_windows = View::rows(&h, s * width);
            let to = Out::accumulate(&mut dtaps, k * width);
            gemm(conv.precision, shape, dy_by_channel, h_windows, to);
            if conv.activates {
                let dh = &mut h.to_mut()[..own.len() * width];
                input_gradient(&conv, dy, &phases, own.clone(), dh);
                zip(dh, &z, |dh, z| *dh *= gelu_both(z).1);
                x.accumulate(row, own, dh, g);
            }
        }
        if let Some(gate) = &conv.gate {
            gate::backward(&taps, &mut dtaps, gate, g.of(gate));
        }
        for_each_chunk(g.of(&conv.w), width * k, |o, dw| {
            for (i, dw) in dw.iter_mut().enumerate() {
                *dw += dtaps[(o * k + i % k) * width + i / k];
            }
        });
        if let Some(bias) = &conv.bias {
            add(g.of(bias), &column_sums(&dy, out));
        }
    }
}

impl Convolution<Cpu> {
    /// Multiplies taps by the gate of their channel.
    fn gated(&self, taps: Vec<f32>) -> Vec<f32> {
        match &self.gate {
            Some(gate) => gate::times(&taps, gate),
            None => taps,
        }
    }
}

/// Splits each row into parts of at most `most` frames.
fn parts_of(rows: &Spans, most: usize) -> Vec<(usize, Range<usize>)> {
    let mut parts = vec![];
    for (row, frames) in rows.lengths().enumerate() {
        for from in (0..frames).step_by(most) {
            parts.push((row, from..frames.min(from + most)));
        }
    }
    parts
}

/// Splits rows into parts whose windows stay in L2, enough of them for all threads.
fn pieces(rows: &Spans) -> Vec<(usize, Range<usize>)> {
    const MOST: usize = 132;
    let frames = rows.total().max(1);
    let count = frames.div_ceil(MOST).next_multiple_of(threads());
    parts_of(rows, frames.div_ceil(count))
}

/// Reorders w, (out, in, k), to taps, (out, k, in), and multiplies tap j by `factor[j]`.
pub(crate) fn taps_first(w: &[f32], width: usize, k: usize, factor: Option<&[f32]>) -> Vec<f32> {
    let mut taps = vec![0.0; w.len()];
    for_each_chunk(&mut taps, width * k, |o, taps| {
        let w = &w[o * width * k..][..width * k];
        for (j, tap) in taps.chunks_exact_mut(width).enumerate() {
            let factor = factor.map_or(1.0, |f| f[j]);
            for (c, tap) in tap.iter_mut().enumerate() {
                *tap = w[c * k + j] * factor;
            }
        }
    });
    taps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, close, noise};
    use crate::op::{First, Input, Source, conv1d, mean_square};
    use crate::tensor::cpu::{Tape, backward, put};

    const OUT: usize = 17;
    const KERNELS: [(usize, usize); 7] = [(3, 2), (2, 2), (5, 3), (1, 1), (3, 1), (2, 3), (10, 5)];

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
            for meet in [DEPTH * s, 2 * DEPTH * s] {
                let at = meet - 20 * s..meet + 40;
                let numbers = case.x.read()[at.start * 5..at.end * 5].to_vec();
                let part = gradient(&hidden(numbers, 5, Spans::new([at.len()])));
                let inner = k * 5..(at.len() - k - s) * 5;
                let expected: Vec<f64> = part[inner.clone()].iter().map(|x| *x as f64).collect();
                close(&whole[at.start * 5..][inner], &expected, 1e-6);
            }
            case.check(|x, p, _| {
                let input = Input::Gelu(Source::Hidden(x), None);
                let y = conv1d(input, &p[0], None, k, s, Precision::F32);
                y.whole().values
            });
        }
    }

    /// Results and gradients have the same bits when x is never in memory as a whole (within one
    /// part).
    #[test]
    fn the_first_convolution_may_be_made_row_by_row() {
        let waves = [97, 3, 0, 60].map(|n| noise("wave", n)).to_vec();
        let p = Case::new(&[1], 1, &[70, 7, 7, 91 * 3, 7]).p;
        let run = |whole: bool| {
            let tape = Tape::default();
            let first = First::new(waves.clone(), [&p[0], &p[1], &p[2]], 10, 5);
            let mut source = Source::First(first, tape.clone());
            if whole {
                source = Source::Hidden(source.whole());
            }
            let gate = put(&p[4], &tape);
            let input = Input::Gelu(source, Some(&gate));
            let y = conv1d(input, &p[3], None, 3, 2, Precision::F32).whole();
            let mut results = vec![y.read().to_vec()];
            let mut gradients = backward(mean_square(y), 1.0);
            results.extend(p.iter().map(|p| gradients.take(p)));
            results
        };
        let bits = run(true);
        assert!(bits.iter().all(|part| part.iter().any(|x| *x != 0.0)));
        assert!(run(false) == bits);
    }
}
