//! Log-mel frames as OpenAI's Whisper and transformers' WhisperFeatureExtractor compute them.
//!
//! ```text
//! frame t   samples 160 t - 200 .. 160 t + 200 of the row, mirrored at its beginning and followed by
//!           zeros up to 30 s; times ½ - ½ cos(2πi / 400)
//! power     |X_k|², k ≤ 200: bins of 40 Hz
//! mel       Slaney's: f / (200 / 3) up to 1000 Hz, then 15 + 27 ln(f / 1000) / ln 6.4; filter b of B is
//!           a triangle on the points b, b + 1 and b + 2 of B + 2, from 0 to 8000 Hz, of area 1
//! x         log10(max(Σ_k filter_k |X_k|², 1e-10))
//! feature   (max(x, max of all x - 8) + 4) / 4
//! ```
use realfft::{RealFftPlanner, RealToComplex};
use std::sync::Arc;

const FRAME: usize = 400;
const SHIFT: usize = 160;
/// Samples of the 30 s that the model reads.
pub(crate) const MOST_SAMPLES: usize = 480_000;
/// Frames of 30 s.
pub(crate) const ALL_FRAMES: usize = MOST_SAMPLES / SHIFT;
const BINS: usize = FRAME / 2 + 1;
const FLOOR: f64 = 1e-10;

/// Computes log-mel frames.
pub(crate) struct WhisperMel {
    fft: Arc<dyn RealToComplex<f64>>,
    window: [f64; FRAME],
    /// The weight of each bin of the spectrum, by filter.
    filters: Vec<Vec<f64>>,
}

impl WhisperMel {
    /// Prepares frames of `bands` features.
    pub(crate) fn new(bands: usize) -> WhisperMel {
        let hann = |i: usize| 0.5 - 0.5 * (std::f64::consts::TAU * i as f64 / FRAME as f64).cos();
        WhisperMel {
            fft: RealFftPlanner::new().plan_fft_forward(FRAME),
            window: std::array::from_fn(hann),
            filters: filters(bands),
        }
    }

    /// Returns the features of the 30 s that begin with a row, (frames, bands).
    ///
    /// Frames that see none of its samples are all alike, and are not computed.
    pub(crate) fn features(&self, samples: &[f32]) -> Vec<f32> {
        let bands = self.filters.len();
        let mut logs = vec![FLOOR.log10(); ALL_FRAMES * bands];
        let heard = (samples.len() + FRAME / 2).div_ceil(SHIFT).min(ALL_FRAMES);
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        let mut frame = [0.0; FRAME];
        for (t, logs) in logs.chunks_exact_mut(bands).take(heard).enumerate() {
            for (i, (y, window)) in frame.iter_mut().zip(&self.window).enumerate() {
                let place = (t * SHIFT + i).abs_diff(FRAME / 2);
                let place = mirrored(t * SHIFT + i, place);
                *y = samples.get(place).map_or(0.0, |x| f64::from(*x)) * window;
            }
            self.fft
                .process_with_scratch(&mut frame, &mut spectrum, &mut scratch)
                .expect("the plan's sizes");
            let power: Vec<f64> = spectrum.iter().map(|x| x.norm_sqr()).collect();
            for (log, filter) in logs.iter_mut().zip(&self.filters) {
                let energy: f64 = filter.iter().zip(&power).map(|(w, p)| w * p).sum();
                *log = energy.max(FLOOR).log10();
            }
        }
        let loudest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let features = logs.iter().map(|x| (x.max(loudest - 8.0) + 4.0) / 4.0);
        features.map(|x| x as f32).collect()
    }
}

/// Returns the sample at place `i` of the mirrored signal, whose first sample is at `FRAME / 2`, given
/// its distance from there. The end of 30 s is mirrored too.
fn mirrored(i: usize, distance: usize) -> usize {
    let last = MOST_SAMPLES - 1;
    if i > FRAME / 2 && distance > last {
        2 * last - distance
    } else {
        distance
    }
}

fn filters(bands: usize) -> Vec<Vec<f64>> {
    const LINEAR: f64 = 200.0 / 3.0;
    const FIRST_LOG: f64 = 1000.0;
    let step = 6.4f64.ln() / 27.0;
    let to_hertz = |mel: f64| {
        if mel < FIRST_LOG / LINEAR {
            mel * LINEAR
        } else {
            FIRST_LOG * ((mel - FIRST_LOG / LINEAR) * step).exp()
        }
    };
    let highest = FIRST_LOG / LINEAR + (8000.0f64 / FIRST_LOG).ln() / step;
    let point = |b: usize| to_hertz(highest * b as f64 / (bands + 1) as f64);
    let filter = |b: usize| {
        let left = point(b);
        let center = point(b + 1);
        let right = point(b + 2);
        let weight = |k: usize| {
            let hertz = 40.0 * k as f64;
            let height = f64::min(
                (hertz - left) / (center - left),
                (right - hertz) / (right - center),
            );
            height.max(0.0) * 2.0 / (right - left)
        };
        (0..BINS).map(weight).collect()
    };
    (0..bands).map(filter).collect()
}
