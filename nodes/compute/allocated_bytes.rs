//! Counts the bytes that each thread has allocated: `bench` measures with it what a forward pass
//! retains, and tests what an op needs at its peak.
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

/// An allocator that forwards to another one and counts bytes per thread.
pub struct CountingAllocator<A>(pub A);

thread_local! {
    static ALLOCATED: Cell<isize> = const { Cell::new(0) };
    /// The most that [`ALLOCATED`] has been since a [`peak_bytes`] began.
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Returns the bytes that the calling thread has allocated minus those that it has freed.
///
/// Negative in a thread that frees what other threads have allocated.
pub fn allocated_bytes() -> isize {
    ALLOCATED.get()
}

/// Runs `f` and returns the most bytes that the calling thread had allocated meanwhile, beyond
/// those when it began. Calls do not nest.
pub fn peak_bytes<R>(f: impl FnOnce() -> R) -> (R, usize) {
    let before = allocated_bytes();
    PEAK.set(before);
    let result = f();
    (result, (PEAK.get() - before) as usize)
}

fn count(allocated: usize, freed: usize) {
    let bytes = ALLOCATED.get() + allocated as isize - freed as isize;
    ALLOCATED.set(bytes);
    PEAK.set(PEAK.get().max(bytes));
}

// SAFETY: every call is forwarded; the counters have no destructor and allocate nothing.
unsafe impl<A: GlobalAlloc> GlobalAlloc for CountingAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { self.0.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { self.0.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        unsafe { self.0.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        unsafe { self.0.realloc(pointer, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;
    use std::hint::black_box;

    #[global_allocator]
    static ALLOCATOR: CountingAllocator<System> = CountingAllocator(System);

    #[test]
    fn counts_allocated_minus_freed_bytes() {
        let before = allocated_bytes();
        let buffer = black_box(vec![0u8; 1000]);
        assert_eq!(allocated_bytes() - before, 1000);
        drop(buffer);
        assert_eq!(allocated_bytes(), before);
    }

    #[test]
    fn a_peak_counts_what_is_alive_at_once() {
        let allocate = |bytes| drop(black_box(vec![0u8; bytes]));
        let ((), peak) = peak_bytes(|| {
            let kept = black_box(vec![0u8; 300]);
            allocate(1000);
            allocate(2000);
            drop(kept);
        });
        assert_eq!(peak, 2300);
    }
}
