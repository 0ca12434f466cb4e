//! The gradient of a convolution's input: frame s t + p receives that of each window t - q through tap
//! p + q s. For each phase p < s this is a GEMM over windows of dy.
use crate::gemm::{Out, Shape, View, gemm};
use crate::op::conv1d::Convolution;
use crate::parallel::for_each_chunk;
use crate::tensor::cpu::Cpu;
use std::ops::Range;

/// Returns the taps that reach each phase, the latest window's first: (q, out, in).
pub(super) fn phases(taps: &[f32], conv: &Convolution<Cpu>) -> Vec<Vec<f32>> {
    let Convolution {
        width, out, k, s, ..
    } = *conv;
    let phase = |p: usize| {
        let q = k.saturating_sub(p).div_ceil(s);
        let mut reaching = vec![0.0; q * out * width];
        for_each_chunk(&mut reaching, width, |i, row| {
            let tap = p + (q - 1 - i / out) * s;
            let o = i % out;
            row.copy_from_slice(&taps[(o * k + tap) * width..][..width]);
        });
        reaching
    };
    (0..s).map(phase).collect()
}

/// Writes dh of these frames of a row, from all windows that contain them; the first frame is a
/// multiple of s.
pub(super) fn input_gradient(
    conv: &Convolution<Cpu>,
    dy: &[f32],
    phases: &[Vec<f32>],
    frames: Range<usize>,
    dh: &mut [f32],
) {
    let Convolution {
        width,
        out,
        s,
        precision,
        ..
    } = *conv;
    let windows = dy.len() / out;
    let first = frames.start / s;
    let zeros = vec![0.0; out];
    for (p, taps) in phases.iter().enumerate().take(frames.len()) {
        let q = taps.len() / (out * width);
        let end = (frames.end - p).div_ceil(s); // Frames s t + p with t < end.
        let inner = first.max(q.saturating_sub(1))..windows.min(end);
        let at = |t: usize| ((t - first) * s + p) * width;
        let shape = Shape {
            m: inner.len(),
            n: width,
            k: q * out,
        };
        let taps = View::rows(taps, width);
        if !inner.is_empty() {
            let dy = View::rows(&dy[(inner.start + 1 - q) * out..], out);
            let to = Out::set(&mut dh[at(inner.start)..], s * width);
            gemm(precision, shape, dy, taps, to);
        }
        // At both ends of a row fewer than q windows contain a frame.
        for t in (first..end).filter(|t| !inner.contains(t)) {
            let seen = (0..q).map(|j| (t + j + 1).checked_sub(q).filter(|w| *w < windows));
            let ends: Vec<&[f32]> = seen
                .map(|window| window.map_or(&zeros[..], |w| &dy[w * out..][..out]))
                .collect();
            let ends = ends.concat();
            let to = Out::set(&mut dh[at(t)..][..width], width);
            let shape = Shape { m: 1, ..shape };
            gemm(precision, shape, View::rows(&ends, q * out), taps, to);
        }
    }
}
