//! A global allocator that takes large buffers from huge pages and reuses freed ones at any size.
//!
//! Buffers from 1 MiB on come from one heap (allocator/heap.rs), smaller ones from the system's
//! allocator. Freed pages keep their memory up to the high-water mark of the bytes in use, and 128
//! MiB in any case; the system gets back the rest.
//!
//! An update allocates and frees gigabytes in buffers of some MB. A heap that never returns pages
//! grows by a tenth and more beyond the high-water mark; one that keeps few has the system clear
//! each page anew, a sixth of an update's time (docs/performance.md).
use heap::Heap;
use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

mod heap;

/// The allocator, for `#[global_allocator]`; all its values share one heap.
pub struct Pages;

/// Bytes from which on a buffer comes from the heap.
const LARGE: usize = 1 << 20;
/// Bytes that sizes of large buffers are rounded up to a multiple of.
const GRANULE: usize = 1 << 16;

static HEAP: Mutex<Heap> = Mutex::new(Heap::new());

fn lock_heap() -> MutexGuard<'static, Heap> {
    HEAP.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resets the high-water mark to the bytes in use now, and purges what exceeds it.
pub fn reset_high_water_mark() {
    lock_heap().reset_high_water_mark();
}

/// Takes addresses for `bytes` more from the system, unless the heap has them in one piece; returns
/// whether it has them now.
///
/// The next large buffers come from there. No memory is used until they are written to.
pub fn reserve(bytes: usize) -> bool {
    bytes
        .checked_next_multiple_of(GRANULE)
        .is_some_and(|bytes| lock_heap().reserve(bytes))
}

/// Returns whether the system would give `bytes` more, and takes none.
pub fn can_map(bytes: usize) -> bool {
    heap::can_map(bytes)
}

/// Returns the bytes of freed buffers whose memory the heap has not returned to the system.
pub fn reusable_bytes() -> usize {
    lock_heap().dirty_bytes()
}

/// Returns the bytes that the heap reserves for a large buffer; `None` for a small one.
///
/// The layout alone decides, so a buffer is freed where it was allocated.
fn heap_bytes(layout: Layout) -> Option<usize> {
    (layout.size() >= LARGE && layout.align() <= GRANULE)
        .then(|| layout.size().next_multiple_of(GRANULE))
}

// SAFETY: `heap_bytes` sends each buffer back to where it came from; the heap's are disjoint.
unsafe impl GlobalAlloc for Pages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match heap_bytes(layout) {
            Some(bytes) => lock_heap()
                .allocate(bytes)
                .map_or(null_mut(), |(address, _)| address as *mut u8),
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(bytes) = heap_bytes(layout) else {
            return unsafe { System.alloc_zeroed(layout) };
        };
        let allocated = lock_heap().allocate(bytes); // releases the lock before zeros are written
        let Some((address, is_zero)) = allocated else {
            return null_mut();
        };
        if !is_zero {
            // SAFETY: the buffer was just allocated, with at least this size.
            unsafe { (address as *mut u8).write_bytes(0, layout.size()) };
        }
        address as *mut u8
    }

    unsafe fn dealloc(&self, buffer: *mut u8, layout: Layout) {
        match heap_bytes(layout) {
            Some(bytes) => lock_heap().free(buffer as usize, bytes),
            None => unsafe { System.dealloc(buffer, layout) },
        }
    }

    unsafe fn realloc(&self, buffer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller guarantees a valid size for this alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (heap_bytes(layout), heap_bytes(new_layout)) {
            (None, None) => unsafe { System.realloc(buffer, layout, new_size) },
            (old, new) if old == new => buffer,
            _ => unsafe {
                let new_buffer = self.alloc(new_layout);
                if !new_buffer.is_null() {
                    std::ptr::copy_nonoverlapping(buffer, new_buffer, new_size.min(layout.size()));
                    self.dealloc(buffer, layout);
                }
                new_buffer
            },
        }
    }
}
