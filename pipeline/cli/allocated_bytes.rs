//! Counts the bytes that each thread has allocated: `bench` measures with it what a forward pass
//! retains.
#[cfg(target_os = "linux")]
use compute::allocator::Pages as Inner;
#[cfg(not(target_os = "linux"))]
use std::alloc::System as Inner;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

/// The program's allocator: forwards to `Inner` and counts bytes per thread.
pub(crate) struct CountingAllocator;

thread_local!(static ALLOCATED: Cell<isize> = const { Cell::new(0) });

/// Returns the bytes that the calling thread has allocated minus those that it has freed.
///
/// Negative in a thread that frees what other threads have allocated.
pub(crate) fn allocated_bytes() -> isize {
    ALLOCATED.get()
}

fn count(allocated: usize, freed: usize) {
    ALLOCATED.set(ALLOCATED.get() + allocated as isize - freed as isize);
}

// SAFETY: every call is forwarded to `Inner`; the counter has no destructor and allocates nothing.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { Inner.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { Inner.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        unsafe { Inner.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        unsafe { Inner.realloc(pointer, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::allocated_bytes;

    #[test]
    fn counts_allocated_minus_freed_bytes() {
        let before = allocated_bytes();
        let buffer = std::hint::black_box(vec![0u8; 1000]);
        assert_eq!(allocated_bytes() - before, 1000);
        drop(buffer);
        assert_eq!(allocated_bytes(), before);
    }
}
