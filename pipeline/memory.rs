//! Large buffers in pages of their own. What is freed waits, up to a bound, for the next buffer of its size; the rest goes
//! back to the system at once.
//!
//! An update takes and drops gigabytes in pieces of some MB. A heap that keeps all pieces grows by a tenth and more beyond
//! what is ever in use at once; one that keeps none has the system clear each page anew, a seventh of an update's time.
use libc::{MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub struct Pages;

/// From this size on a buffer has its own pages.
const LARGE: usize = 1 << 20;
/// From this size on in huge pages, where the system has them: the rounding to whole ones is then small.
const HUGE: usize = 4 << 20;
/// Bytes that may wait.
const MOST: usize = 128 << 20;

/// Freed buffers, the last freed last: address, bytes.
struct Waiting {
    buffers: Vec<(usize, usize)>,
    bytes: usize,
}

static WAITING: Mutex<Waiting> = Mutex::new(Waiting { buffers: vec![], bytes: 0 });

fn waiting() -> MutexGuard<'static, Waiting> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bytes of a large buffer, rounded up by at most a sixteenth, so that buffers of about one size serve each other;
/// None for a small one. Alike for a buffer's whole life, since its layout is handed in each time.
fn large(layout: Layout) -> Option<usize> {
    let grain = layout.size().next_power_of_two() / 32;
    (layout.size() >= LARGE && layout.align() <= 4096).then(|| layout.size().next_multiple_of(grain))
}

/// One that waited, whose bytes are what they were.
fn again(bytes: usize) -> Option<*mut u8> {
    let mut waiting = waiting();
    let at = waiting.buffers.iter().rposition(|(_, size)| *size == bytes)?;
    waiting.bytes -= bytes;
    Some(waiting.buffers.remove(at).0 as *mut u8)
}

/// New pages, all zero.
fn map(bytes: usize) -> *mut u8 {
    // SAFETY: nobody else has these pages.
    let at = unsafe { libc::mmap(null_mut(), bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) };
    if at == MAP_FAILED {
        return null_mut();
    }
    if bytes >= HUGE {
        // SAFETY: a wish about pages that are ours; without huge pages nothing changes.
        unsafe { libc::madvise(at, bytes, libc::MADV_HUGEPAGE) };
    }
    at.cast()
}

/// The one that has waited longest, where too much waits.
fn oldest() -> Option<(usize, usize)> {
    let mut waiting = waiting();
    let (at, bytes) = (waiting.bytes > MOST).then(|| waiting.buffers.remove(0))?;
    waiting.bytes -= bytes;
    Some((at, bytes))
}

fn free(at: *mut u8, bytes: usize) {
    let mut waiting = waiting();
    waiting.buffers.push((at as usize, bytes));
    waiting.bytes += bytes;
    drop(waiting);
    while let Some((at, bytes)) = oldest() {
        // SAFETY: it came from `map`, and nobody has it now.
        unsafe { libc::munmap(at as *mut _, bytes) };
    }
}

// SAFETY: each buffer goes back to where it came from, as `large` says.
unsafe impl GlobalAlloc for Pages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match large(layout) {
            Some(bytes) => again(bytes).unwrap_or_else(|| map(bytes)),
            None => unsafe { System.alloc(layout) },
        }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match large(layout) {
            Some(bytes) => match again(bytes) {
                Some(at) => {
                    unsafe { at.write_bytes(0, layout.size()) };
                    at
                }
                None => map(bytes),
            },
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        match large(layout) {
            Some(bytes) => free(at, bytes),
            None => unsafe { System.dealloc(at, layout) },
        }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's word for both sizes and this alignment.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (large(layout), large(new)) {
            (None, None) => unsafe { System.realloc(at, layout, size) },
            (old, grown) if old == grown => at,
            _ => unsafe {
                let to = self.alloc(new);
                if !to.is_null() {
                    std::ptr::copy_nonoverlapping(at, to, size.min(layout.size()));
                    self.dealloc(at, layout);
                }
                to
            },
        }
    }
}
