//! Parameters and multiply-accumulates of an architecture, from its numbers alone.
use super::Architecture;

/// The lengths, in samples, of the 32 utterances over which SUPERB's profiler sums.
pub const SUPERB: [usize; 32] = [
    20560, 34560, 38480, 42560, 45600, 48720, 52000, 55120, 59120, 62720, 66400, 71200, 75200,
    78640, 82800, 87520, 92720, 98560, 104400, 111120, 118480, 125040, 132720, 142640, 154000,
    166720, 180880, 197920, 217920, 239280, 268160, 326000,
];

/// All elements of the model's safetensors.
pub fn parameters(a: &Architecture) -> u64 {
    a.tensors()
        .iter()
        .map(|(_, shape)| shape.iter().map(|&n| n as u64).product::<u64>())
        .sum()
}

/// Summed over [`SUPERB`], batch of one.
pub fn macs(a: &Architecture) -> u64 {
    macs_of(a, SUPERB)
}

/// Of a forward pass over rows of so many samples.
pub fn macs_of(a: &Architecture, samples: impl IntoIterator<Item = usize>) -> u64 {
    let all: u128 = samples.into_iter().map(|n| of_row(a, n)).sum();
    u64::try_from(all).unwrap_or(u64::MAX)
}

/// One multiply-add of convolutions (the positional one computes T + 1 outputs where its kernel is even), linear maps
/// and the two attention products; nothing else.
fn of_row(a: &Architecture, samples: usize) -> u128 {
    let frames = a.frames_by_conv(samples);
    let (t, d) = (frames[frames.len() - 1] as u128, a.hidden_size as u128);
    let (mut sum, mut from) = (0, 1u128);
    for ((&to, &k), &n) in a.conv_dim.iter().zip(&a.conv_kernel).zip(&frames) {
        sum += n as u128 * from * to as u128 * k as u128;
        from = to as u128;
    }
    if a.feature_projection {
        sum += t * from * d;
    }
    let k = a.num_conv_pos_embeddings as u128;
    let outputs = if t == 0 { 0 } else { t + 2 * (k / 2) - k + 1 };
    sum += outputs * d * (d / a.num_conv_pos_embedding_groups as u128) * k;
    for l in 0..a.num_hidden_layers {
        let (inner, f) = ((a.heads(l) * a.head_dim()) as u128, a.ffn(l) as u128);
        let gate = if a.has_position_bias() { 8 } else { 0 };
        sum += t * d * inner * 4 + t * inner * gate + 2 * t * t * inner + 2 * t * d * f;
    }
    sum
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

    /// transformers' WavLMModel has as many.
    #[test]
    fn wavlm() {
        let [hubert, base, large] = ["hubert-base", "wavlm-base", "wavlm-large"]
            .map(|name| Architecture::named(name).expect("known"));
        assert_eq!(parameters(&base), 94_381_936);
        assert_eq!(parameters(&large), 315_453_120);
        let frames: usize = SUPERB.iter().map(|&n| base.frames(n)).sum();
        assert_eq!(macs(&base) - macs(&hubert), 12 * 8 * 768 * frames as u64);
    }

    /// A student of another shape, with published multiply-accumulates: STaRHuBERT, 463.5 G.
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
