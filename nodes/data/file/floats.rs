//! Numbers of tensors from their bytes.
use safetensors::tensor::Dtype;

/// Decodes little-endian f64, f32, f16 or bf16 to f32; returns `None` for other types.
pub(crate) fn decode_floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let halves = || {
        let pairs = bytes.as_chunks::<2>().0;
        pairs.iter().map(|pair| u16::from_le_bytes(*pair))
    };
    match dtype {
        Dtype::F64 => {
            let words = bytes.as_chunks::<8>().0;
            let doubles = words.iter().map(|word| f64::from_le_bytes(*word));
            Some(doubles.map(|x| x as f32).collect())
        }
        Dtype::F32 => {
            let words = bytes.as_chunks::<4>().0;
            Some(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
        }
        Dtype::F16 => Some(halves().map(half_to_float).collect()),
        Dtype::BF16 => Some(halves().map(|h| f32::from_bits((h as u32) << 16)).collect()),
        _ => None,
    }
}

/// Converts IEEE 754 binary16: 1 sign bit, 5 bits of exponent (bias 15), 10 bits of fraction.
fn half_to_float(half: u16) -> f32 {
    let sign = (half as u32 & 0x8000) << 16;
    let exponent = half >> 10 & 31;
    let fraction = half as u32 & 1023;
    match exponent {
        0 => f32::from_bits(sign | (fraction as f32 / 16_777_216.0).to_bits()), // fraction 2^-24
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        e => f32::from_bits(sign | (e as u32 + 112) << 23 | fraction << 13),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves() {
        let cases = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x0001, 5.960_464_5e-8),
            (0x7bff, 65504.0),
            (0x8000, 0.0),
        ];
        for (bits, value) in cases {
            assert_eq!(half_to_float(bits), value);
        }
        assert!(half_to_float(0x7c00).is_infinite());
        assert!(half_to_float(0x7e00).is_nan());
    }

    #[test]
    fn doubles() {
        let bytes = [0.1f64, -3.0].map(f64::to_le_bytes).concat();
        assert_eq!(decode_floats(Dtype::F64, &bytes), Some(vec![0.1, -3.0]));
        assert_eq!(decode_floats(Dtype::I64, &bytes), None);
    }
}
