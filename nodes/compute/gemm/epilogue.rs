//! Functions applied to the tiles of a product while they are in cache.
//!
//! An enum of names, not a closure, since another device's library has the same epilogues.
use crate::math::{Dropout, gelu, gelu_both};
use crate::parallel::Shared;

/// A function of c = a b (m, n), applied in place.
///
/// The dropout index of element (row, column) is row · n + column.
pub enum Epilogue<'a> {
    /// Leaves c.
    None,
    /// c + bias, for bias (n).
    Bias(&'a [f32]),
    /// dropout(GELU(z)) for z = c + bias.
    BiasGelu {
        /// (n)
        bias: &'a [f32],
        /// Receives z (m, n), for backward.
        keep: Option<Shared<'a>>,
        drop: Dropout,
    },
    /// c ∘ dropout's factors ∘ GELU'(z), the backward of `BiasGelu`; z becomes dropout(GELU(z)).
    GeluBackward {
        /// (m, n)
        z: Shared<'a>,
        /// n
        width: usize,
        drop: Dropout,
    },
}

impl Epilogue<'_> {
    /// Applies the epilogue to the part of a row of c that begins at `column`.
    ///
    /// # Safety
    /// No other task works on this part; `keep` and `z` are (m, n).
    #[inline(always)]
    pub unsafe fn apply(&self, row: usize, column: usize, c: &mut [f32]) {
        match *self {
            Epilogue::None => (),
            Epilogue::Bias(bias) => add_bias(c, &bias[column..]),
            Epilogue::BiasGelu { bias, keep, drop } => {
                let index = row * bias.len() + column;
                add_bias(c, &bias[column..]);
                if let Some(keep) = keep {
                    // SAFETY: by this function's contract.
                    unsafe { keep.part(index, c.len()) }.copy_from_slice(c);
                }
                c.iter_mut().for_each(|c| *c = gelu(*c));
                drop.apply(index, c);
            }
            Epilogue::GeluBackward { z, width, drop } => {
                let index = row * width + column;
                // SAFETY: by this function's contract.
                let z = unsafe { z.part(index, c.len()) };
                for (z, c) in z.iter_mut().zip(c.iter_mut()) {
                    let (h, slope) = gelu_both(*z);
                    *z = h;
                    *c *= slope;
                }
                drop.apply(index, z);
                drop.apply(index, c);
            }
        }
    }
}

#[inline(always)]
fn add_bias(c: &mut [f32], bias: &[f32]) {
    c.iter_mut().zip(bias).for_each(|(c, b)| *c += b);
}
