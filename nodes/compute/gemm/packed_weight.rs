//! Weights that no longer change, packed once for all products with them.
use super::{Epilogue, Precision, View};
#[cfg(target_arch = "x86_64")]
use super::{Out, Shape, backend, blocked::PackedPanels, kernel_of};
#[cfg(target_arch = "x86_64")]
use crate::parallel::{Shared, threads};

/// A weight w (out, width), packed for products x wᵀ of one precision. They equal, bit for bit, those of
/// the unpacked weight.
pub struct PackedWeight {
    precision: Precision,
    out: usize,
    width: usize,
    #[cfg(target_arch = "x86_64")]
    panels: PackedPanels,
}

impl PackedWeight {
    /// Packs w; `None` on a machine whose products take operands as they are.
    ///
    /// # Panics
    /// If w is too short.
    #[cfg(target_arch = "x86_64")]
    pub fn new(p: Precision, out: usize, width: usize, w: &[f32]) -> Option<PackedWeight> {
        let kernel = kernel_of(backend(p), out * width)?;
        let b = View::rows(w, width).t();
        assert!(b.holds(width, out), "w is too short for {out} x {width}");
        Some(PackedWeight {
            precision: p,
            out,
            width,
            // SAFETY: b has `width` rows and `out` columns, as just asserted; the machine has the
            // kernel.
            panels: unsafe { PackedPanels::new(kernel, out, width, b) },
        })
    }

    /// Packs w; `None` on a machine whose products take operands as they are.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn new(_: Precision, _: usize, _: usize, _: &[f32]) -> Option<PackedWeight> {
        None
    }

    /// Panics unless the weight is (out, width) and packed for products of this precision.
    pub(crate) fn check(&self, precision: Precision, out: usize, width: usize) {
        assert!(
            (self.precision, self.out, self.width) == (precision, out, width),
            "a weight ({}, {}) packed in {:?} is read as ({out}, {width}) in {precision:?}",
            self.out,
            self.width,
            self.precision
        );
    }

    /// Returns x wᵀ for x (m, width), row-major in new memory, with `then` applied to each tile; on all
    /// threads.
    ///
    /// # Panics
    /// If x is too short.
    #[cfg(target_arch = "x86_64")]
    pub fn product(&self, m: usize, x: View, then: Epilogue) -> Vec<f32> {
        let s = Shape {
            m,
            n: self.out,
            k: self.width,
        };
        let compute = |data: Shared| {
            let c = Out {
                data,
                rs: s.n,
                accumulate: false,
            };
            if m * s.n == 0 {
                return;
            }
            assert!(x.holds(m, s.k), "x is too short for {s:?}");
            // SAFETY: x and c are long enough; the machine has the kernel of the panels.
            unsafe { self.panels.multiply(threads(), m, x, c, &then) };
        };
        // SAFETY: a product that does not accumulate writes each number before it reads any.
        unsafe { Shared::collect(m * s.n, compute) }
    }

    /// Is never called: there is no packed weight.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn product(&self, _: usize, _: View, _: Epilogue) -> Vec<f32> {
        unreachable!("no weight is packed on this machine")
    }
}
