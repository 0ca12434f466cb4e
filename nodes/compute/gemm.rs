//! Matrix products on the CPU: c = a b or c += a b on strided views, then an epilogue.
//!
//! In BLAS's terms alpha is 1, and beta is 0 (set) or 1 (accumulate). With AVX2, AVX-512
//! or AMX the scheme is that of BLIS, packed panels and a micro-kernel (gemm/blocked.rs); elsewhere
//! it is the crate matrixmultiply (gemm/portable.rs). The epilogue is applied to each tile of c
//! while it is in cache.
//!
//! A view may overlap itself: a convolution over (frames, channels) is a product with a view whose
//! row stride is smaller than its width, so no window is copied. Each number of c is the same at
//! any number of threads, and whatever other rows c has.
use crate::parallel::{Shared, Vectors, threads};
#[cfg(target_arch = "x86_64")]
pub(crate) use amx::{configure as configure_tiles, release as release_tiles};
pub use epilogue::Epilogue;
pub use operands::{Out, Shape, View};
pub use packed_weight::PackedWeight;
pub use precision::Precision;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod bf16;
#[cfg(target_arch = "x86_64")]
mod blocked;
#[cfg(target_arch = "x86_64")]
mod blocking;
#[cfg(target_arch = "x86_64")]
mod buffers;
mod epilogue;
#[cfg(target_arch = "x86_64")]
mod isa;
#[cfg(target_arch = "x86_64")]
mod kernel;
mod operands;
mod packed_weight;
#[cfg(target_arch = "x86_64")]
mod packing;
mod portable;
mod precision;
#[cfg(target_arch = "x86_64")]
mod rows;
#[cfg(target_arch = "x86_64")]
mod simd;
#[cfg(test)]
mod tests;

/// Computes c = a b or c += a b, on all threads.
///
/// # Panics
/// If a, b or c is shorter than the shape needs; so do the other products.
pub fn gemm(p: Precision, s: Shape, a: View, b: View, c: Out) {
    multiply(backend(p), threads(), s, a, b, c, &Epilogue::None)
}

/// Computes as [`gemm`], then applies `then` to each tile of c.
pub fn gemm_with_epilogue(p: Precision, s: Shape, a: View, b: View, c: Out, then: Epilogue) {
    multiply(backend(p), threads(), s, a, b, c, &then)
}

/// Returns a b (m, n), row-major in new memory, with `then` applied to each tile.
pub fn product(p: Precision, s: Shape, a: View, b: View, then: Epilogue) -> Vec<f32> {
    let compute = |data: Shared| {
        let out = Out {
            data,
            rs: s.n,
            accumulate: false,
        };
        multiply(backend(p), threads(), s, a, b, out, &then)
    };
    // SAFETY: a product that does not accumulate writes each number before it reads any.
    unsafe { Shared::collect(s.m * s.n, compute) }
}

/// Computes as [`gemm`] on the calling thread alone, for tasks that run in parallel.
pub fn gemm_serial(p: Precision, s: Shape, a: View, b: View, c: Out) {
    multiply(backend(p), 1, s, a, b, c, &Epilogue::None)
}

/// A matrix b (k, n) that is packed once for many products, each on the calling thread alone.
///
/// Without a micro-kernel for this machine it is not packed, only viewed.
pub struct Packed<'a> {
    n: usize,
    k: usize,
    b: View<'a>,
    #[cfg(target_arch = "x86_64")]
    panels: Option<blocked::PackedPanels>,
}

impl<'a> Packed<'a> {
    /// Packs b (k, n).
    ///
    /// # Panics
    /// If b is too short.
    pub fn new(p: Precision, n: usize, k: usize, b: View<'a>) -> Self {
        Packed::with_backend(backend(p), n, k, b)
    }

    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
    fn with_backend(backend: Backend, n: usize, k: usize, b: View<'a>) -> Self {
        assert!(b.holds(k, n), "b is too short for {k} x {n}");
        Packed {
            n,
            k,
            b,
            // SAFETY: b has k rows and n columns, as just asserted; the machine has the backend.
            #[cfg(target_arch = "x86_64")]
            panels: kernel_of(backend, n * k)
                .map(|kernel| unsafe { blocked::PackedPanels::new(kernel, n, k, b) }),
        }
    }

    /// Computes c = a b or c += a b, for a (m, k).
    pub fn multiply(&self, m: usize, a: View, c: Out) {
        self.multiply_then(m, a, c, &Epilogue::None)
    }

    /// Computes as [`Packed::multiply`], then applies `then` to each tile of c.
    pub fn multiply_then(&self, m: usize, a: View, c: Out, then: &Epilogue) {
        let s = Shape {
            m,
            n: self.n,
            k: self.k,
        };
        if is_empty(s, a, self.b, &c) {
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(panels) = &self.panels {
            // SAFETY: a and c are long enough, as `is_empty` asserts.
            return unsafe { panels.multiply(1, m, a, c, then) };
        }
        portable::gemm(1, s, a, self.b, c, then);
    }
}

/// Returns the bytes of all threads' packing buffers; those of [`Packed`] are not in it.
pub fn packed_bytes() -> usize {
    #[cfg(target_arch = "x86_64")]
    return buffers::total_bytes();
    #[cfg(not(target_arch = "x86_64"))]
    0
}

/// The instructions to compute with and the precision of operands; this machine has both.
#[derive(Clone, Copy, Debug)]
struct Backend {
    vectors: Vectors,
    precision: Precision,
    /// Whether products in bf16 are of AMX's tiles.
    has_tiles: bool,
}

/// Returns the backend of this machine for products of the given precision.
fn backend(precision: Precision) -> Backend {
    let precision = precision.on_cpu();
    Backend {
        vectors: Vectors::detect(),
        precision,
        has_tiles: precision == Precision::Bf16 && has_tiles(),
    }
}

/// Returns whether products in bf16 are of AMX's tiles on this machine. The first call asks the
/// system for them.
pub fn has_tiles() -> bool {
    #[cfg(target_arch = "x86_64")]
    return amx::is_available();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Returns the kernel of a backend, or `None` for portable code.
///
/// Portable code also takes products of no depth (`numbers` = 0).
#[cfg(target_arch = "x86_64")]
fn kernel_of(backend: Backend, numbers: usize) -> Option<&'static kernel::Kernel> {
    match (backend.vectors, backend.precision) {
        _ if numbers == 0 => None,
        (Vectors::Avx512, Precision::Bf16) if backend.has_tiles => Some(&amx::AMX),
        (Vectors::Avx512, Precision::Bf16) => Some(&bf16::BF16),
        (Vectors::Avx512, _) => Some(&isa::AVX512),
        (Vectors::Avx2, _) => Some(&isa::AVX2),
        _ => None,
    }
}

/// Returns whether c has no number, so that there is nothing to compute.
///
/// # Panics
/// If a, b or c is shorter than the shape needs.
fn is_empty(s: Shape, a: View, b: View, c: &Out) -> bool {
    if s.m * s.n == 0 {
        return true;
    }
    assert!(a.holds(s.m, s.k), "a is too short for {s:?}");
    assert!(b.holds(s.k, s.n), "b is too short for {s:?}");
    let c_len = (s.m - 1) * c.rs + s.n;
    assert!(c.data.holds(c_len), "c is too short for {s:?}");
    false
}

/// Computes one product with the given backend and number of threads.
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
fn multiply(
    backend: Backend,
    threads: usize,
    s: Shape,
    a: View,
    b: View,
    c: Out,
    epilogue: &Epilogue,
) {
    if is_empty(s, a, b, &c) {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(kernel) = kernel_of(backend, s.k) {
        // SAFETY: a, b and c are long enough, as `is_empty` asserts; the machine has the backend.
        return unsafe { blocked::gemm(kernel, threads, s, a, b, c, epilogue) };
    }
    portable::gemm(threads, s, a, b, c, epilogue)
}
