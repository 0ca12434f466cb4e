//! Large buffers straight from the system, in huge pages where it has them, and back to it as soon as they are dropped.
//!
//! An update takes and drops gigabytes in pieces of some MB. A heap that keeps such pieces grows a quarter beyond what is
//! ever in use at once, and a heap that does not pays a page fault for every 4 KiB; a huge page is one fault for 2 MiB.
use libc::{MADV_HUGEPAGE, MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, MREMAP_MAYMOVE, PROT_READ, PROT_WRITE, c_void};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;

pub struct Pages;

/// A buffer of its own pages; decided alike for its whole life, since its layout is handed in each time.
fn large(size: usize, align: usize) -> bool {
    size >= 1 << 20 && align <= 4096
}

fn or_null(at: *mut c_void) -> *mut u8 {
    if at == MAP_FAILED { null_mut() } else { at.cast() }
}

/// Fresh pages are zero.
fn map(size: usize) -> *mut u8 {
    // SAFETY: nobody else has these pages; where the advice is not taken they are small.
    unsafe {
        let at = libc::mmap(null_mut(), size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        libc::madvise(at, size, MADV_HUGEPAGE);
        or_null(at)
    }
}

// SAFETY: each buffer goes back to where it came from, as `large` says.
unsafe impl GlobalAlloc for Pages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if large(layout.size(), layout.align()) { map(layout.size()) } else { unsafe { System.alloc(layout) } }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if large(layout.size(), layout.align()) { map(layout.size()) } else { unsafe { System.alloc_zeroed(layout) } }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if large(layout.size(), layout.align()) {
            unsafe { libc::munmap(at.cast(), layout.size()) };
        } else {
            unsafe { System.dealloc(at, layout) }
        }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        match [layout.size(), size].map(|size| large(size, layout.align())) {
            [true, true] => or_null(unsafe { libc::mremap(at.cast(), layout.size(), size, MREMAP_MAYMOVE) }),
            [false, false] => unsafe { System.realloc(at, layout, size) },
            _ => unsafe {
                let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                if !new.is_null() {
                    std::ptr::copy_nonoverlapping(at, new, size.min(layout.size()));
                    self.dealloc(at, layout);
                }
                new
            },
        }
    }
}
