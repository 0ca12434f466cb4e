//! Log-mel frames as Kaldi's `compute-fbank-feats` and `torchaudio.compliance.kaldi.fbank` compute
//! them without dither.
//!
//! ```text
//! frame t   samples 160 t .. 160 t + 400, times 32768, minus their mean
//! window    (y_i - 0.97 y_{i-1}) · (½ - ½ cos(2πi / 399))^0.85, y_{-1} = y_0, then zeros to 512
//! power     |X_k|², k < 256: bins of 31.25 Hz
//! mel       1127 ln(1 + f / 700); filter b of B is a triangle on the points b, b + 1 and b + 2 of
//!           B + 2, from 20 to 8000 Hz
//! feature   ln(max(Σ_k filter_k |X_k|², 2^-23))
//! ```
//!
//! Filters are f32, as in Kaldi: a weight near the foot of its triangle is mostly rounding. Frames
//! are f64 up to the power, because a quiet bin beside loud ones would contain little but the
//! rounding of a transform in f32.
use compute::math::ln;
use compute::parallel::wide;
use realfft::{RealFftPlanner, RealToComplex, num_complex::Complex};
use std::sync::Arc;

pub(crate) const FRAME: usize = 400;
pub(crate) const SHIFT: usize = 160;
pub(crate) const FFT: usize = 512;
const PREEMPHASIS: f64 = 0.97;
pub(crate) const SCALE: f64 = 32768.0;

/// Returns the number of whole frames, 25 ms every 10 ms, in a number of samples.
pub fn frames(samples: usize) -> usize {
    if samples < FRAME {
        0
    } else {
        (samples - FRAME) / SHIFT + 1
    }
}

/// Returns the fewest samples that hold a number of whole frames.
pub fn samples(frames: usize) -> usize {
    match frames {
        0 => 0,
        frames => (frames - 1) * SHIFT + FRAME,
    }
}

/// Computes log-mel frames.
pub struct Mel {
    fft: Arc<dyn RealToComplex<f64>>,
    /// Povey's window, times [`SCALE`].
    window: [f64; FRAME],
    filters: Vec<MelFilter>,
}

/// A triangle over bins of the power spectrum.
struct MelFilter {
    /// The first bin with a weight.
    first: usize,
    weights: Vec<f32>,
}

impl Mel {
    /// Prepares frames of `bins` features.
    pub fn new(bins: usize) -> Mel {
        let hann =
            |i: usize| 0.5 - 0.5 * (std::f64::consts::TAU * i as f64 / (FRAME - 1) as f64).cos();
        Mel {
            fft: RealFftPlanner::new().plan_fft_forward(FFT),
            window: std::array::from_fn(|i| hann(i).powf(0.85) * SCALE),
            filters: filters(bins),
        }
    }

    /// Returns the features of one row, (frames, bins).
    pub fn features(&self, samples: &[f32]) -> Vec<f32> {
        let bins = self.filters.len();
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        let mut frame = [0.0; FFT];
        let mut power = [0.0; FFT / 2];
        let mut features = vec![0.0; frames(samples.len()) * bins];
        for (t, features) in features.chunks_exact_mut(bins).enumerate() {
            wide!(self.window_frame(&samples[t * SHIFT..][..FRAME], &mut frame));
            self.fft
                .process_with_scratch(&mut frame, &mut spectrum, &mut scratch)
                .expect("the plan's sizes");
            wide!(self.filter(&spectrum, &mut power, features));
        }
        features
    }

    /// Returns the weights of the spectrum of a frame, (400, 512): the real parts of the bins
    /// below 256, then the imaginary parts. Its square sums to the power of the windowed frame.
    pub(crate) fn spectrum_weights(&self) -> Vec<f64> {
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        let mut frame = [0.0; FFT];
        let mut weights = vec![];
        for i in 0..FRAME {
            let mut impulse = [0.0; FRAME];
            impulse[i] = 1.0;
            self.window_frame(&impulse, &mut frame);
            self.fft
                .process_with_scratch(&mut frame, &mut spectrum, &mut scratch)
                .expect("the plan's sizes");
            weights.extend(spectrum[..FFT / 2].iter().map(|bin| bin.re));
            weights.extend(spectrum[..FFT / 2].iter().map(|bin| bin.im));
        }
        weights
    }

    /// Returns the weights of the filters on bins of the power spectrum, (256, bins).
    pub(crate) fn filter_weights(&self) -> Vec<f32> {
        let bins = self.filters.len();
        let mut weights = vec![0.0; FFT / 2 * bins];
        for (bin, filter) in self.filters.iter().enumerate() {
            for (i, weight) in filter.weights.iter().enumerate() {
                weights[(filter.first + i) * bins + bin] = *weight;
            }
        }
        weights
    }

    /// Writes one frame without its mean, with preemphasis and under the window.
    #[inline(always)]
    fn window_frame(&self, samples: &[f32], frame: &mut [f64; FFT]) {
        let mean = sum(samples) / FRAME as f64;
        frame[FRAME..].fill(0.0); // the transform has used it as scratch
        frame[0] = (1.0 - PREEMPHASIS) * (samples[0] as f64 - mean) * self.window[0];
        for ((y, pair), w) in frame[1..]
            .iter_mut()
            .zip(samples.windows(2))
            .zip(&self.window[1..])
        {
            *y = ((pair[1] as f64 - mean) - PREEMPHASIS * (pair[0] as f64 - mean)) * w;
        }
    }

    /// Writes the logarithms of the filters' energies.
    #[inline(always)]
    fn filter(&self, spectrum: &[Complex<f64>], power: &mut [f32; FFT / 2], features: &mut [f32]) {
        power
            .iter_mut()
            .zip(spectrum)
            .for_each(|(p, x)| *p = x.norm_sqr() as f32);
        for (feature, filter) in features.iter_mut().zip(&self.filters) {
            let energies = filter.weights.iter().zip(&power[filter.first..]);
            *feature = energies.map(|(w, p)| w * p).sum::<f32>().max(f32::EPSILON);
        }
        features.iter_mut().for_each(|x| *x = ln(*x));
    }
}

/// Sums in 16 lanes, so that the compiler can vectorise.
#[inline(always)]
fn sum(samples: &[f32]) -> f64 {
    let mut lanes = [0.0; 16];
    for chunk in samples.chunks_exact(lanes.len()) {
        lanes
            .iter_mut()
            .zip(chunk)
            .for_each(|(lane, x)| *lane += *x as f64);
    }
    lanes.iter().sum()
}

fn filters(bins: usize) -> Vec<MelFilter> {
    // Kaldi places the points in f64, and the bins of the spectrum in f32.
    let mel_f64 = |hertz: f64| 1127.0 * (1.0 + hertz / 700.0).ln();
    let mel_f32 = |hertz: f32| 1127.0 * (1.0 + hertz / 700.0).ln();
    let low = mel_f64(20.0);
    let delta = (mel_f64(8000.0) - mel_f64(20.0)) / (bins + 1) as f64;
    let point = |b: usize| low as f32 + b as f32 * delta as f32;
    let mut filters = vec![];
    for b in 0..bins {
        let left = point(b);
        let center = point(b + 1);
        let right = point(b + 2);
        let weight = |k: usize| {
            let mel = mel_f32(k as f32 * 31.25);
            f32::min(
                (mel - left) / (center - left),
                (right - mel) / (right - center),
            )
        };
        let inside: Vec<usize> = (0..FFT / 2).filter(|k| weight(*k) > 0.0).collect();
        filters.push(MelFilter {
            first: inside.first().copied().unwrap_or(0),
            weights: inside.into_iter().map(weight).collect(),
        });
    }
    filters
}
