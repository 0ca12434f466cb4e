//! Dropout (Srivastava et al. 2014) whose mask is a function of a key and an index.
//!
//! No mask is stored: backward computes it again.

/// A rate, and the key of a mask.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Probability of a zero, from 0 to 1.
    pub rate: f32,
    /// Chooses the mask.
    pub key: u32,
}

impl Dropout {
    /// Keeps everything.
    pub const NONE: Dropout = Dropout { rate: 0.0, key: 0 };

    /// Returns dropout of the same rate with an independent mask for each `i`.
    pub fn fork(self, i: u32) -> Self {
        Dropout {
            key: hash(self.key ^ hash(i.wrapping_add(1))),
            ..self
        }
    }

    /// Returns the factor of number `index`: 0 with probability `rate`, else 1 / (1 - rate).
    ///
    /// The mask repeats every 2^32 numbers.
    #[inline(always)]
    pub fn factor(self, index: usize) -> f32 {
        let bits = hash(hash(index as u32).wrapping_add(self.key)) >> 8;
        if bits >= self.least() {
            self.kept()
        } else {
            0.0
        }
    }

    /// Returns the threshold of 24 random bits from which on a number is kept.
    #[inline(always)]
    pub fn least(self) -> u32 {
        (self.rate * (1 << 24) as f32) as u32
    }

    /// Returns the factor of a number that is kept, 1 / (1 - rate).
    #[inline(always)]
    pub fn kept(self) -> f32 {
        1.0 / (1.0 - self.rate)
    }

    /// Multiplies each number of `x` by its factor; `x[0]` has index `from`.
    #[inline(always)]
    pub fn apply(self, from: usize, x: &mut [f32]) {
        if self.rate > 0.0 {
            for (i, x) in x.iter_mut().enumerate() {
                *x *= self.factor(from + i);
            }
        }
    }
}

/// Hashes 32 bits to 32 bits, one to one (lowbias32 of Wellons).
#[inline(always)]
fn hash(mut x: u32) -> u32 {
    x = (x ^ x >> 16).wrapping_mul(0x7feb_352d);
    x = (x ^ x >> 15).wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_rate() {
        let drop = Dropout { rate: 0.1, key: 7 };
        let kept = |d: Dropout| (0..1_000_000).filter(|&i| d.factor(i) > 0.0).count();
        assert!((kept(drop) as f64 - 900_000.0).abs() < 1500.0);
        let both_kept = |i: &usize| drop.factor(*i) > 0.0 && drop.fork(0).factor(*i) > 0.0;
        let both = (0..1_000_000).filter(both_kept).count();
        assert!(
            (both as f64 - 810_000.0).abs() < 2000.0,
            "a fork is independent"
        );
        assert!(Dropout::NONE.factor(3) == 1.0 && Dropout { rate: 1.0, key: 0 }.factor(3) == 0.0);
    }
}
