//! Code compiled for the widest vectors of the machine that runs it.
//!
//! rustc builds for the oldest machine of its target. Code inlined into a function with
//! `target_feature` is compiled with that function's features, so plain loops become wide without
//! an intrinsic. The numbers are the same at any width, because the compiler neither reorders a
//! sum nor fuses a multiplication with an addition.

/// Runs the expression in a copy compiled for [`Vectors::detect`] and returns its value.
///
/// Each copy is a closure that is called once, which LLVM inlines at any size; a function shared
/// by the copies would not be. What the expression calls must be `#[inline]`, or it stays narrow.
#[macro_export]
macro_rules! wide {
    ($code:expr) => {
        match $crate::parallel::Vectors::detect() {
            $crate::parallel::Vectors::Plain => $code,
            // SAFETY, here and below: `here` has detected the features.
            #[cfg(target_arch = "x86_64")]
            $crate::parallel::Vectors::Avx2 => {
                let code = || $code;
                unsafe { $crate::parallel::avx2(code) }
            }
            #[cfg(target_arch = "x86_64")]
            $crate::parallel::Vectors::Avx512 => {
                let code = || $code;
                unsafe { $crate::parallel::avx512(code) }
            }
        }
    };
}

/// Calls `f`, compiled for AVX-512; only [`wide!`](crate::wide) uses it.
///
/// # Safety
/// The CPU has the features that are enabled here.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma,avx2")]
pub fn avx512<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// Calls `f`, compiled for AVX2; only [`wide!`](crate::wide) uses it.
///
/// # Safety
/// The CPU has the features that are enabled here.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "fma,avx2")]
pub fn avx2<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// Vector instructions that code is compiled for, narrowest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Vectors {
    /// The target's baseline, such as SSE2.
    Plain,
    /// AVX2 and FMA: 8 floats.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ and VL: 16 floats.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Vectors {
    /// Returns the widest that this machine has.
    #[inline]
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") && has!("fma") {
                let has_avx512 =
                    has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
                return if has_avx512 {
                    Vectors::Avx512
                } else {
                    Vectors::Avx2
                };
            }
        }
        Vectors::Plain
    }

    /// Returns the name to print.
    pub fn name(self) -> &'static str {
        match self {
            Vectors::Plain => "portable code",
            #[cfg(target_arch = "x86_64")]
            Vectors::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Vectors::Avx512 => "AVX-512",
        }
    }

    /// Iterates over all that this machine has, for tests of every path.
    #[cfg(test)]
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        const ALL: [Vectors; 3] = [Vectors::Plain, Vectors::Avx2, Vectors::Avx512];
        #[cfg(not(target_arch = "x86_64"))]
        const ALL: [Vectors; 1] = [Vectors::Plain];
        ALL.into_iter()
            .filter(|vectors| *vectors <= Vectors::detect())
    }
}
