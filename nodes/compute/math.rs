//! exp, ln, erf, GELU, σ, tanh and dropout as plain code that LLVM vectorises inside `wide!` of [`crate::parallel`].

/// exp for x <= 88; relative error below 3e-7, about 0 below -87.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to an integer, left in the low bits
    const LN2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4); // their sum, the first exact in few bits
    let x = if x < -87.3 { -87.3 } else { x }; // `max` would turn NaN into a number
    let shifted = x * std::f32::consts::LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = (x - n * LN2.0) - n * LN2.1;
    let tail = 0.5 + r * (0.166_666_65 + r * (0.041_665_796 + r * (8.333_452e-3 + r * 1.398_2e-3)));
    (1.0 + r * (1.0 + r * tail))
        * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// ln for positive normal x; error below 2e-7 of the larger of |ln x| and 1. Cephes: x = 2^e m, m from √½ to √2.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    const ROOT_HALF: u32 = 0x3f35_04f3;
    const P: [f32; 9] = [
        7.037_683_6e-2,
        -0.115_146_1,
        0.116_769_984,
        -0.124_201_41,
        0.142_493_23,
        -0.166_680_58,
        0.200_007_14,
        -0.249_999_94,
        0.333_333_3,
    ];
    const LN2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    let shifted = x.to_bits().wrapping_sub(ROOT_HALF);
    let e = ((shifted as i32) >> 23) as f32;
    let m = f32::from_bits((shifted & 0x007f_ffff) + ROOT_HALF) - 1.0;
    let tail = P.iter().fold(0.0, |sum, c| sum * m + c) * m * m * m;
    e * LN2.0 + (m + (e * LN2.1 + tail - 0.5 * m * m))
}

/// erf as x P(x²) / Q(x²), the rational of Eigen; absolute error below 5e-7.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    const P: [f32; 7] = [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506e-5,
        -7.349_906e-4,
        -2.954_6e-3,
        -1.609_603e-2,
    ];
    const Q: [f32; 5] = [
        -1.456_607_2e-5,
        -2.133_740_6e-4,
        -1.682_827e-3,
        -7.373_329e-3,
        -1.426_474e-2,
    ];
    let x = x.clamp(-4.0, 4.0);
    let horner = |c: &[f32]| c.iter().fold(0.0, |sum, c| sum * (x * x) + c);
    x * horner(&P) / horner(&Q)
}

/// Exact GELU, x Φ(x).
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// GELU and its derivative Φ(x) + x φ(x).
#[inline(always)]
pub fn gelu_both(x: f32) -> (f32, f32) {
    const DENSITY: f32 = 0.398_942_3; // 1 / √(2π)
    let phi = 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
    (x * phi, phi + x * DENSITY * exp(-0.5 * x * x))
}

/// 1 / (1 + e^-x); absolute error below 2e-7.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp((-x).min(88.0)))
}

/// Absolute error below 3e-7.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    2.0 * sigmoid(2.0 * x) - 1.0
}

/// Dropout whose mask is a function of (key, index): nothing is stored, backward computes it again.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    pub rate: f32,
    pub key: u32,
}

impl Dropout {
    pub const NONE: Dropout = Dropout { rate: 0.0, key: 0 };

    /// Another mask of the same rate.
    pub fn fork(self, i: u32) -> Self {
        Dropout {
            key: hash(self.key ^ hash(i.wrapping_add(1))),
            ..self
        }
    }
    /// 0 with probability `rate`, else 1 / (1 - rate).
    #[inline(always)]
    pub fn factor(self, index: usize) -> f32 {
        let keeps = hash(hash(index as u32).wrapping_add(self.key)) >> 8 >= self.least();
        if keeps { self.kept() } else { 0.0 }
    }
    /// What 24 random bits must reach for a number to be kept.
    #[inline(always)]
    pub fn least(self) -> u32 {
        (self.rate * (1 << 24) as f32) as u32
    }
    /// The factor of a number that is kept.
    #[inline(always)]
    pub fn kept(self) -> f32 {
        1.0 / (1.0 - self.rate)
    }
    /// Numbers `from ..` of what is dropped.
    #[inline(always)]
    pub fn apply(self, from: usize, x: &mut [f32]) {
        if self.rate > 0.0 {
            x.iter_mut()
                .enumerate()
                .for_each(|(i, x)| *x *= self.factor(from + i));
        }
    }
}

/// A bijection of 32 bits that mixes well (Wellons' lowbias32).
#[inline(always)]
fn hash(mut x: u32) -> u32 {
    x = (x ^ x >> 16).wrapping_mul(0x7feb_352d);
    x = (x ^ x >> 15).wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}

/// f(0) + .. + f(n - 1) in 16 lanes, so that the compiler may vectorise without reordering what is written.
#[inline(always)]
pub fn sum(n: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    for i in 0..n / 16 {
        for (l, lane) in lanes.iter_mut().enumerate() {
            *lane += f(i * 16 + l);
        }
    }
    lanes.iter().sum::<f32>() + (n / 16 * 16..n).map(f).sum::<f32>()
}

/// The largest of x, in 16 lanes, which vectorise.
#[inline(always)]
pub fn largest(x: &[f32]) -> f32 {
    let (groups, rest) = x.as_chunks::<16>();
    let mut lanes = [f32::MIN; 16];
    for group in groups {
        lanes
            .iter_mut()
            .zip(group)
            .for_each(|(m, x)| *m = if *x > *m { *x } else { *m });
    }
    lanes.iter().chain(rest).fold(f32::MIN, |a, &b| a.max(b))
}

/// Where the first of the largest is; 0 if no number is one.
#[inline(always)]
pub fn argmax(x: &[f32]) -> usize {
    let most = largest(x);
    x.iter().position(|x| *x == most).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check;

    #[test]
    fn stated_errors() {
        assert!(exp(f32::NAN).is_nan() && gelu(f32::NAN).is_nan());
        for i in -4000..4000 {
            let x = i as f32 / 1000.0;
            assert!(
                (erf(x) as f64 - check::erf(x as f64)).abs() < 5e-7,
                "erf {x}"
            );
            let e = 20.0 * x - 6.0;
            assert!(
                (exp(e) as f64 / (e as f64).exp() - 1.0).abs() < 3e-7,
                "exp {e}"
            );
            let y = f32::from_bits(0x3400_0000 + (i + 4000) as u32 * 0x2_6543); // 2^-23 and more
            let off = (ln(y) as f64 - (y as f64).ln()).abs();
            assert!(
                off < 2e-7 * (y as f64).ln().abs().max(1.0),
                "ln {y} is off by {off}"
            );
            assert!(
                (sigmoid(e) as f64 - 1.0 / (1.0 + (-e as f64).exp())).abs() < 2e-7,
                "sigmoid {e}"
            );
            assert!(
                (tanh(x) as f64 - (x as f64).tanh()).abs() < 3e-7,
                "tanh {x}"
            );
        }
        assert!(
            exp(f32::NEG_INFINITY) < 1e-37
                && gelu(-30.0).abs() < 1e-5
                && (gelu(30.0) - 30.0).abs() < 1e-5
        );
        for x in [-1e4f32, -90.0, 90.0, 1e4] {
            assert!(tanh(x) == x.signum() && sigmoid(x) - 0.5 == 0.5 * x.signum());
        }
    }

    #[test]
    fn dropout_rate() {
        let drop = Dropout { rate: 0.1, key: 7 };
        let kept = |d: Dropout| (0..1_000_000).filter(|&i| d.factor(i) > 0.0).count();
        assert!((kept(drop) as f64 - 900_000.0).abs() < 1500.0);
        let both = (0..1_000_000)
            .filter(|&i| drop.factor(i) > 0.0 && drop.fork(0).factor(i) > 0.0)
            .count();
        assert!(
            (both as f64 - 810_000.0).abs() < 2000.0,
            "a fork is independent"
        );
        assert!(Dropout::NONE.factor(3) == 1.0 && Dropout { rate: 1.0, key: 0 }.factor(3) == 0.0);
    }

    #[test]
    fn sums() {
        for n in [0, 1, 15, 16, 100] {
            assert_eq!(sum(n, |i| i as f32), (0..n).sum::<usize>() as f32);
        }
    }
}
