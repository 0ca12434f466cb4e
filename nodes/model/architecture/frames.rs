//! How many frames a row of samples has.
use super::Architecture;
use crate::data::mel;

impl Architecture {
    /// Returns the frames of a row: ⌊(n − k) / s⌋ + 1 through every convolution, 0 if a kernel does
    /// not fit. The padded convolution of stride 2 over log-mel frames has as many.
    pub fn frames(&self, samples: usize) -> usize {
        if self.is_whisper() {
            let hubert = Architecture::default();
            return convolved(&hubert, samples).last().copied().unwrap_or(0);
        }
        self.computed_frames(samples)
    }

    /// Returns the frames that are computed of a row in front of the layers: Whisper's encoder
    /// computes more than the row has.
    pub fn computed_frames(&self, samples: usize) -> usize {
        self.frames_by_conv(samples).last().copied().unwrap_or(0)
    }

    /// Returns the frames of a row in a layer: from layer 1 on ⌊frames / `time_reduction`⌋.
    pub fn layer_frames(&self, layer: usize, samples: usize) -> usize {
        let frames = self.frames(samples);
        if layer == 0 {
            frames
        } else {
            frames / self.time_reduction
        }
    }

    /// Returns the samples that a frame spans, and those from one frame to the next. Log-mel frames
    /// are made to lie as HuBERT's.
    pub fn window_and_hop(&self) -> (usize, usize) {
        if self.is_fbank() || self.is_whisper() {
            return Architecture::default().window_and_hop();
        }
        let mut window: usize = 1;
        let mut hop: usize = 1;
        for (kernel, stride) in self.conv_kernel.iter().zip(&self.conv_stride) {
            window = window.saturating_add((kernel - 1).saturating_mul(hop));
            hop = hop.saturating_mul(*stride);
        }
        (window, hop)
    }

    /// Returns the frames of a row after each convolution.
    pub fn frames_by_conv(&self, samples: usize) -> Vec<usize> {
        if self.is_fbank() {
            return vec![mel::frames(samples).div_ceil(2)];
        }
        if self.is_whisper() {
            return self.whisper_frames(samples).to_vec();
        }
        convolved(self, samples)
    }
}

/// Returns the frames of a row after each convolution over samples.
fn convolved(a: &Architecture, samples: usize) -> Vec<usize> {
    let mut by_convolution = vec![];
    let mut n = samples;
    for (&kernel, &stride) in a.conv_kernel.iter().zip(&a.conv_stride) {
        n = if n < kernel {
            0
        } else {
            (n - kernel) / stride + 1
        };
        by_convolution.push(n);
    }
    by_convolution
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FrontEnd;

    #[test]
    fn frames_of_odd_lengths() {
        let a = Architecture::default();
        let frames = [0, 399, 400, 719, 720, 16000, 80000].map(|n| a.frames(n));
        assert_eq!(frames, [0, 0, 1, 1, 2, 49, 249]);
        let fbank = Architecture {
            front_end: FrontEnd::Fbank,
            ..a.clone()
        };
        for samples in (0..2000).chain([16000, 80000, 326001]) {
            assert_eq!(fbank.frames(samples), a.frames(samples), "{samples}");
        }
    }
}
