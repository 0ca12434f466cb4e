//! exp, ln, erf, GELU, σ, tanh and sums as plain f32 code that LLVM vectorises inside
//! [`wide!`](crate::wide).
//!
//! All are `#[inline(always)]`, so that a loop in any crate compiles them for its own vectors. The
//! tests compare them with f64, to the error that each function states.

mod dropout;

pub use dropout::Dropout;

/// ln 2 = `LN2_HIGH` + `LN2_LOW`; small integers times `LN2_HIGH` are exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// Returns e^x for x <= 88; relative error below 3e-7, about 0 below -87, NaN for NaN.
///
/// With x = n ln 2 + r, this is 2^n e^r; e^r by the polynomial of Cephes' `expf`, one term shorter.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to an integer in the low bits
    let x = if x < -87.3 { -87.3 } else { x }; // `max` would turn NaN into a number
    let shifted = x * std::f32::consts::LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let tail = 0.5 + r * (0.166_666_65 + r * (0.041_665_796 + r * (8.333_452e-3 + r * 1.398_2e-3)));
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000)); // 2^n
    (1.0 + r * (1.0 + r * tail)) * power
}

/// Returns ln x for positive normal x; error below 2e-7 of the larger of |ln x| and 1.
///
/// With x = 2^e m and m from √½ to √2, this is e ln 2 + ln m; ln m by the polynomial of Cephes'
/// `logf`.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    const ROOT_HALF: u32 = 0x3f35_04f3; // the bits of √½
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
    let shifted = x.to_bits().wrapping_sub(ROOT_HALF);
    let e = ((shifted as i32) >> 23) as f32;
    let m = f32::from_bits((shifted & 0x007f_ffff) + ROOT_HALF) - 1.0;
    let tail = P.iter().fold(0.0, |sum, c| sum * m + c) * m * m * m;
    e * LN2_HIGH + (m + (e * LN2_LOW + tail - 0.5 * m * m))
}

/// Returns erf x as x P(x²) / Q(x²), with the coefficients of Eigen; absolute error below 5e-7.
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
    let polynomial = |c: &[f32]| c.iter().fold(0.0, |sum, c| sum * (x * x) + c);
    x * polynomial(&P) / polynomial(&Q)
}

/// Returns GELU(x) = x Φ(x), by erf and not by tanh.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Returns GELU(x) and its derivative Φ(x) + x φ(x).
#[inline(always)]
pub fn gelu_both(x: f32) -> (f32, f32) {
    const DENSITY: f32 = 0.398_942_3; // 1 / √(2π)
    let phi = 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
    (x * phi, phi + x * DENSITY * exp(-0.5 * x * x))
}

/// Returns σ(x) = 1 / (1 + e^-x); absolute error below 2e-7.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp((-x).min(88.0)))
}

/// Returns σ(x) in f64.
pub fn sigmoid_f64(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Returns tanh x = 2 σ(2x) - 1; absolute error below 3e-7.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    2.0 * sigmoid(2.0 * x) - 1.0
}

/// Returns f(0) + .. + f(n - 1), summed in 16 lanes.
///
/// Lanes let the compiler vectorise, since it does not reorder a sum; the result is the same at any
/// vector width.
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

/// Returns the largest of `x`, NaN aside, and at least `f32::MIN`; in 16 lanes, as [`sum`].
#[inline(always)]
pub fn largest(x: &[f32]) -> f32 {
    let (groups, rest) = x.as_chunks::<16>();
    let mut lanes = [f32::MIN; 16];
    for group in groups {
        for (lane, x) in lanes.iter_mut().zip(group) {
            *lane = if *x > *lane { *x } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::MIN, |a, &b| a.max(b))
}

/// Returns the index of the largest of `x`, the first of equals; 0 if all are NaN.
#[inline(always)]
pub fn argmax(x: &[f32]) -> usize {
    let largest = largest(x);
    x.iter().position(|x| *x == largest).unwrap_or(0)
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
            let error = (erf(x) as f64 - check::erf(x as f64)).abs();
            assert!(error < 5e-7, "erf {x} is off by {error}");
            let error = (tanh(x) as f64 - (x as f64).tanh()).abs();
            assert!(error < 3e-7, "tanh {x} is off by {error}");

            let x = 20.0 * x - 6.0;
            let error = (exp(x) as f64 / (x as f64).exp() - 1.0).abs();
            assert!(error < 3e-7, "exp {x} is off by {error} of itself");
            let error = (sigmoid(x) as f64 - 1.0 / (1.0 + (-x as f64).exp())).abs();
            assert!(error < 2e-7, "sigmoid {x} is off by {error}");

            let x = f32::from_bits(0x3400_0000 + (i + 4000) as u32 * 0x2_6543); // 2^-23 and more
            let exact = (x as f64).ln();
            let error = (ln(x) as f64 - exact).abs();
            assert!(
                error < 2e-7 * exact.abs().max(1.0),
                "ln {x} is off by {error}"
            );
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
        assert!(gelu(-30.0).abs() < 1e-5 && (gelu(30.0) - 30.0).abs() < 1e-5);
        for x in [-1e4f32, -90.0, 90.0, 1e4] {
            assert!(tanh(x) == x.signum() && sigmoid(x) - 0.5 == 0.5 * x.signum());
        }
    }

    #[test]
    fn sums() {
        for n in [0, 1, 15, 16, 100] {
            assert_eq!(sum(n, |i| i as f32), (0..n).sum::<usize>() as f32);
        }
    }
}
