//! Random numbers without state: each draw is a function of a key, a counter and an index.
//!
//! A resumed run therefore draws what an uninterrupted one would have drawn, at any number of
//! threads. The function is Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as
//! 1, 2, 3", SC 2011).

/// The key of one sequence of draws.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Key(u64);

impl Key {
    /// Derives the key of the use named by `site`: 64 bits of BLAKE3 of the seed and the names.
    ///
    /// Keys of different names are independent. Each name is hashed with its length, so that
    /// `["ab", "c"]` differs from `["a", "bc"]`.
    pub fn new(seed: u64, site: &[&str]) -> Key {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        for name in site {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
        }
        let digest = hasher.finalize();
        let (first, _) = digest.as_bytes().split_first_chunk().expect("32 bytes");
        Key(u64::from_le_bytes(*first))
    }

    /// Returns four draws of 32 bits.
    pub fn draw(self, counter: u64, index: u64) -> [u32; 4] {
        philox(
            [
                counter as u32,
                (counter >> 32) as u32,
                index as u32,
                (index >> 32) as u32,
            ],
            [self.0 as u32, (self.0 >> 32) as u32],
        )
    }

    /// Returns a number uniform in [0, 1), a multiple of 2^-24.
    pub fn uniform(self, counter: u64, index: u64) -> f32 {
        let draw = self.draw(counter, index / 4)[(index % 4) as usize];
        (draw >> 8) as f32 / (1u32 << 24) as f32
    }

    /// Returns a standard normal number, by the Box-Muller transform.
    pub fn normal(self, counter: u64, index: u64) -> f32 {
        let [a, b, ..] = self.draw(counter, index);
        let u = (a as f64 + 1.0) / 4294967296.0; // in (0, 1]
        let v = b as f64 / 4294967296.0; // in [0, 1)
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    }

    /// Returns an integer in 0..n: the high half of n times a draw of 64 bits.
    ///
    /// The probability of each value is 1 / n, to a relative error below n / 2^64.
    pub fn below(self, counter: u64, index: u64, n: u64) -> u64 {
        let [a, b, ..] = self.draw(counter, index);
        let draw = ((a as u64) << 32) | b as u64;
        ((draw as u128 * n as u128) >> 64) as u64
    }

    /// Shuffles `order` by Fisher and Yates; each `counter` gives another permutation.
    pub fn shuffle<T>(self, counter: u64, order: &mut [T]) {
        for i in (1..order.len()).rev() {
            order.swap(i, self.below(counter, i as u64, i as u64 + 1) as usize);
        }
    }

    /// Returns a 32-bit key for code with a counter of its own, such as
    /// [`Dropout`](crate::math::Dropout); each `counter` gives another one.
    pub fn word(self, counter: u64) -> u32 {
        self.draw(counter, 0)[0]
    }
}

/// Encrypts the counter `x` in the 10 rounds of Philox4x32.
fn philox(mut x: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = x[0] as u64 * 0xD251_1F53;
        let b = x[2] as u64 * 0xCD9E_8D57;
        x = [
            (b >> 32) as u32 ^ x[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ x[3] ^ key[1],
            a as u32,
        ];
        key = [
            key[0].wrapping_add(0x9E37_79B9),
            key[1].wrapping_add(0xBB67_AE85),
        ];
    }
    x
}

/// Draws `n` numbers uniform in [-1.7, 1.7) from a name, as inputs of tests and benchmarks.
pub fn noise(name: &str, n: usize) -> Vec<f32> {
    let key = Key::new(n as u64, &[name]);
    (0..n as u64)
        .map(|i| (key.uniform(0, i) * 2.0 - 1.0) * 1.7)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of the Random123 distribution.
    #[test]
    fn philox_known_answers() {
        assert_eq!(
            philox([0; 4], [0; 2]),
            [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]
        );
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]
        );
    }

    #[test]
    fn keys_of_different_names_differ() {
        assert_ne!(Key::new(1, &["ab", "c"]), Key::new(1, &["a", "bc"]));
        assert_ne!(Key::new(1, &["a"]), Key::new(2, &["a"]));
    }

    #[test]
    fn moments() {
        const DRAWS: u64 = 100_000;
        let key = Key::new(7, &["test"]);
        let mean = |f: &dyn Fn(u64) -> f64| (0..DRAWS).map(f).sum::<f64>() / DRAWS as f64;
        assert!((mean(&|i| key.uniform(3, i) as f64) - 0.5).abs() < 5e-3);
        assert!(mean(&|i| key.normal(3, i) as f64).abs() < 2e-2);
        assert!((mean(&|i| (key.normal(3, i) as f64).powi(2)) - 1.0).abs() < 2e-2);
        assert!((mean(&|i| key.below(3, i, 10) as f64) - 4.5).abs() < 5e-2);
    }
}
