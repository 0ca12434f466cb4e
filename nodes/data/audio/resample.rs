//! Resampling to 16 kHz, by rubato's synchronous FFT resampler over the whole file. Its delay is
//! cut, and N samples become ceil(N * 16000 / rate).
use crate::Result;
use rubato::audioadapter_buffers::owned::InterleavedOwned;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};
use std::ops::RangeInclusive;

/// The sample rate of all audio inside a graph, in Hz.
pub const RATE: u32 = 16_000;

/// Returns the seconds that samples at [`RATE`] last.
pub fn audio_seconds(samples: u64) -> f64 {
    samples as f64 / RATE as f64
}

/// The sample rates that files may have; a header with another rate is damaged.
const FILE_RATES: RangeInclusive<u32> = 1_000..=768_000;

/// Returns the number of samples at 16 kHz that `frames` samples at `rate` become.
pub(crate) fn length(frames: u64, rate: u32) -> Result<u64> {
    if !FILE_RATES.contains(&rate) {
        let lowest = FILE_RATES.start();
        let highest = FILE_RATES.end();
        return Err(format!("it has a rate of {rate} Hz, not {lowest} to {highest}").into());
    }
    Ok((frames as u128 * RATE as u128).div_ceil(rate as u128) as u64)
}

/// Resamples one channel at `rate` to 16 kHz.
pub(super) fn resample(samples: Vec<f32>, rate: u32) -> Result<Vec<f32>> {
    let frames = samples.len();
    let length = length(frames as u64, rate)? as usize;
    if rate == RATE {
        return Ok(samples);
    }
    // Blocks of about 64 ms, of an even number of samples: the delay of an odd one is half a sample
    // off.
    let unit = rate / gcd(rate, RATE);
    let block = (rate / 16).div_ceil(unit).next_multiple_of(2) * unit;
    let window = WindowFunction::BlackmanHarris2;
    let mut fft = Fft::new_custom(
        rate as usize,
        RATE as usize,
        block as usize,
        1,
        1,
        window,
        FixedSync::Both,
    )?;
    let input = InterleavedOwned::new_from(samples, 1, frames)?;
    let mut resampled = fft.process_all(&input, frames, None)?.take_data();
    resampled.truncate(length); // rubato rounds in floating point, at times one too many
    Ok(resampled)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(hertz: f64, rate: u32, frames: usize) -> Vec<f32> {
        (0..frames)
            .map(|i| (std::f64::consts::TAU * hertz * i as f64 / rate as f64).sin() as f32)
            .collect()
    }

    #[test]
    fn a_tone_stays_in_place() {
        for rate in [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000] {
            let hertz = 0.45 * rate.min(RATE) as f64;
            let out = resample(sine(hertz, rate, rate as usize), rate).unwrap();
            assert_eq!(out.len(), 16_000);
            let clean = sine(hertz, RATE, 16_000);
            let worst = (2000..14_000)
                .map(|i| (out[i] - clean[i]).abs())
                .fold(0.0, f32::max);
            assert!(worst < 1e-3, "{rate} Hz: {worst}");
        }
    }

    #[test]
    fn frequencies_above_8_khz_are_removed() {
        let out = resample(sine(9_000.0, 44_100, 44_100), 44_100).unwrap();
        assert!(out[2000..14_000].iter().all(|x| x.abs() < 1e-3));
    }

    #[test]
    fn lengths() {
        let cases = [
            (441, 44_100, 160),
            (442, 44_100, 161),
            (1, 8_000, 2),
            (1, 48_000, 1),
            (0, 48_000, 0),
            (12_345, 16_001, 12_345),
        ];
        for (frames, rate, expected) in cases {
            let out = resample(vec![0.5; frames], rate).unwrap();
            assert_eq!(out.len(), expected, "{frames} at {rate} Hz");
        }
        assert!(resample(vec![0.0; 10], 0).is_err());
        assert!(length(10, u32::MAX).is_err());
    }
}
