//! How many bytes each thread holds: `bench` tells by it what a forward pass keeps.
#[cfg(target_os = "linux")]
use compute::allocator::Pages as Under;
#[cfg(not(target_os = "linux"))]
use std::alloc::System as Under;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

/// The allocator below, and a count.
pub struct Counting;

thread_local!(static HELD: Cell<isize> = const { Cell::new(0) });

/// Bytes that the calling thread has asked for, less those that it has given back.
pub fn allocated_bytes() -> isize {
    HELD.get()
}

fn count(bytes: usize, back: usize) {
    HELD.set(HELD.get() + bytes as isize - back as isize);
}

// SAFETY: all is the allocator's below; the count has no destructor and asks for no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { Under.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { Under.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(0, layout.size());
        unsafe { Under.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        unsafe { Under.realloc(at, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::allocated_bytes;

    #[test]
    fn a_thread_holds_what_it_asked_for() {
        let before = allocated_bytes();
        let kept = std::hint::black_box(vec![0u8; 1000]);
        assert_eq!(allocated_bytes() - before, 1000);
        drop(kept);
        assert_eq!(allocated_bytes(), before);
    }
}
