//! A slice that parallel tasks write to where rayon's chunks do not fit: columns, or squares of a
//! matrix.
use std::marker::PhantomData;

/// A mutable slice that many tasks hold at once, each writing its own disjoint part.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    first: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: access is through `part` and `pointer`, whose callers keep parts in use disjoint.
unsafe impl Send for Shared<'_> {}
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// Borrows `slice` for as long as any copy lives.
    pub fn new(slice: &'a mut [f32]) -> Self {
        Shared {
            first: slice.as_mut_ptr(),
            len: slice.len(),
            slice: PhantomData,
        }
    }

    /// Borrows the spare capacity of `vec`, which is uninitialised: write before you read.
    pub fn spare(vec: &'a mut Vec<f32>) -> Self {
        let spare = vec.spare_capacity_mut();
        Shared {
            first: spare.as_mut_ptr().cast(),
            len: spare.len(),
            slice: PhantomData,
        }
    }

    /// Collects `len` numbers that `write` writes to memory which is not cleared first.
    ///
    /// # Safety
    /// `write` writes each number, and before it reads it.
    pub unsafe fn collect(len: usize, write: impl FnOnce(Shared)) -> Vec<f32> {
        let mut numbers = Vec::with_capacity(len);
        write(Shared::spare(&mut numbers));
        // SAFETY: `write` has written all of them.
        unsafe { numbers.set_len(len) };
        numbers
    }

    /// Returns whether the slice has at least `len` numbers.
    pub fn holds(self, len: usize) -> bool {
        len <= self.len
    }

    /// Returns the address of the first number.
    pub fn pointer(self) -> *mut f32 {
        self.first
    }

    /// Returns the slice from number `from` on.
    ///
    /// # Panics
    /// If `from` is past the end.
    pub fn tail(self, from: usize) -> Self {
        assert!(from <= self.len, "behind the end");
        Shared {
            first: self.first.wrapping_add(from),
            len: self.len - from,
            ..self
        }
    }

    /// Returns `len` numbers from `from` on, as a mutable slice.
    ///
    /// # Safety
    /// No two parts in use at once overlap, and `from + len` is within the slice.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub unsafe fn part(self, from: usize, len: usize) -> &'a mut [f32] {
        debug_assert!(from + len <= self.len);
        // SAFETY: by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(from), len) }
    }
}
