//! Parameters and multiply-accumulates of an architecture, without its weights.
use super::components::RowFrames;
use super::{Architecture, Component};

/// Lengths in samples of the 32 utterances over which SUPERB's profiler sums.
pub const SUPERB: [usize; 32] = [
    20560, 34560, 38480, 42560, 45600, 48720, 52000, 55120, 59120, 62720, 66400, 71200, 75200,
    78640, 82800, 87520, 92720, 98560, 104400, 111120, 118480, 125040, 132720, 142640, 154000,
    166720, 180880, 197920, 217920, 239280, 268160, 326000,
];

/// Counts the elements of the model's safetensors.
pub fn parameters(a: &Architecture) -> u64 {
    a.stored_tensors().iter().map(|t| t.parameters()).sum()
}

/// Counts the multiply-accumulates over [`SUPERB`], with a batch of one.
pub fn macs(a: &Architecture) -> u64 {
    macs_of(a, SUPERB)
}

/// Counts the multiply-accumulates of a forward pass over rows of these numbers of samples.
///
/// Convolutions, linear maps and the two attention products count, nothing else. The positional
/// convolution computes T + 1 frames if its kernel is even.
pub fn macs_of(a: &Architecture, samples: impl IntoIterator<Item = usize>) -> u64 {
    let components = a.components();
    let rows = samples.into_iter().map(|n| macs_of_row(a, &components, n));
    let macs: u128 = rows.sum();
    u64::try_from(macs).unwrap_or(u64::MAX)
}

fn macs_of_row(a: &Architecture, components: &[Component], samples: usize) -> u128 {
    let frames = RowFrames::new(a, samples);
    components
        .iter()
        .map(|component| component.macs.count(component.frames(&frames)))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ExtractNorm;

    #[test]
    fn hubert_base() {
        let base = Architecture::named("hubert-base").expect("known");
        assert_eq!(parameters(&base), 94_371_712);
        assert_eq!(macs(&base), 1_665_522_780_160);
        let unmasked = Architecture {
            mask_time_prob: 0.0,
            ..base
        };
        assert_eq!(parameters(&unmasked), 94_370_944);
    }

    #[test]
    fn hubert_large() {
        let large = Architecture::named("hubert-large").expect("known");
        assert_eq!(large.feat_extract_norm, ExtractNorm::Layer);
        assert_eq!(parameters(&large), 315_434_112 + 1024);
    }

    /// The parameters are those of transformers' WavLMModel.
    #[test]
    fn wavlm() {
        let named = |name: &str| Architecture::named(name).expect("known");
        let hubert = named("hubert-base");
        let base = named("wavlm-base");
        let large = named("wavlm-large");
        assert_eq!(parameters(&base), 94_381_936);
        assert_eq!(parameters(&large), 315_453_120);
        let frames: usize = SUPERB.iter().map(|&n| base.frames(n)).sum();
        assert_eq!(macs(&base) - macs(&hubert), 12 * 8 * 768 * frames as u64);
    }

    /// STaRHuBERT: the published number is 463.5 G.
    #[test]
    fn star_hubert() {
        let star = Architecture {
            conv_dim: vec![128, 256, 256, 256, 256, 256, 432, 432, 432],
            conv_kernel: vec![10, 1, 3, 3, 3, 3, 1, 2, 2],
            conv_stride: vec![5, 1, 2, 2, 2, 2, 1, 2, 2],
            hidden_size: 432,
            num_attention_heads: 8,
            intermediate_size: 976,
            feature_projection: false,
            mask_time_prob: 0.0,
            ..Architecture::default()
        };
        assert_eq!(parameters(&star), 22_308_592);
        assert_eq!(macs(&star), 463_501_579_392);
    }
}
