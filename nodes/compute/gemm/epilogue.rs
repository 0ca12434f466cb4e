//! What follows a product while a tile of it is in cache. Names, not closures: a library for another device has them.
use crate::math::{Dropout, gelu, gelu_both};
use crate::parallel::Shared;

/// `c` is the product; the index of a dropout is that of a number in c.
pub enum Epilogue<'a> {
    None,
    /// c + bias
    Bias(&'a [f32]),
    /// z = c + bias, to `keep` if there; then drop(GELU(z))
    BiasGelu {
        bias: &'a [f32],
        keep: Option<Shared<'a>>,
        drop: Dropout,
    },
    /// c ∘ drop ∘ GELU'(z), z being `width` wide; and z becomes drop(GELU(z))
    GeluSlope {
        z: Shared<'a>,
        width: usize,
        drop: Dropout,
    },
}

impl Epilogue<'_> {
    /// On part of a row of c, from `column` on.
    ///
    /// # Safety
    /// No other task works on this part, and `keep` and `z` are as long as c.
    #[inline(always)]
    pub unsafe fn apply(&self, row: usize, column: usize, c: &mut [f32]) {
        match *self {
            Epilogue::None => (),
            Epilogue::Bias(bias) => c.iter_mut().zip(&bias[column..]).for_each(|(c, b)| *c += b),
            Epilogue::BiasGelu { bias, keep, drop } => {
                let at = row * bias.len() + column;
                c.iter_mut().zip(&bias[column..]).for_each(|(c, b)| *c += b);
                if let Some(keep) = keep {
                    // SAFETY: by this function's contract.
                    unsafe { keep.part(at, c.len()) }.copy_from_slice(c);
                }
                c.iter_mut().for_each(|c| *c = gelu(*c));
                drop.apply(at, c);
            }
            Epilogue::GeluSlope { z, width, drop } => {
                let at = row * width + column;
                // SAFETY: by this function's contract.
                let z = unsafe { z.part(at, c.len()) };
                for (z, c) in z.iter_mut().zip(c.iter_mut()) {
                    let (h, slope) = gelu_both(*z);
                    (*z, *c) = (h, *c * slope);
                }
                drop.apply(at, z);
                drop.apply(at, c);
            }
        }
    }
}
