//! Large buffers from huge pages of our own. What is freed joins its neighbours and waits to be used again, at any size; the
//! system gets back what waits beyond what was ever in use at once, and 128 MB.
//!
//! An update takes and drops gigabytes in pieces of some MB. A heap that never gives back grows by a tenth and more beyond
//! what is ever in use at once; one that keeps little has the system clear each page anew, a sixth of an update's time.
use libc::{MAP_ANONYMOUS, MAP_FAILED, MAP_NORESERVE, MAP_PRIVATE, PROT_READ, PROT_WRITE};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub struct Pages;

/// From this size on a buffer comes from here.
const LARGE: usize = 1 << 20;
/// Buffers are multiples of this.
const GRAIN: usize = 1 << 16;
/// A huge page.
const HUGE: usize = 2 << 20;
/// Addresses are taken from the system in pieces of at least this; they cost nothing until they are written to.
const PIECE: usize = 256 << 20;
/// Bytes that may always wait.
const MOST: usize = 128 << 20;

/// Free pages side by side.
struct Run {
    at: usize,
    bytes: usize,
    /// When they were freed; None: the system has them, and gives them back as zeros.
    freed: Option<u64>,
}

struct Heap {
    /// By address. Neighbours differ in whether they wait.
    runs: Vec<Run>,
    used: usize,
    /// The most that was ever used.
    most: usize,
    waiting: usize,
    /// Buffers freed so far.
    clock: u64,
}

static HEAP: Mutex<Heap> = Mutex::new(Heap::new());

fn heap() -> MutexGuard<'static, Heap> {
    HEAP.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Heap {
    const fn new() -> Self {
        Heap {
            runs: vec![],
            used: 0,
            most: 0,
            waiting: 0,
            clock: 0,
        }
    }

    /// Pages side by side, and whether they are all zeros.
    fn take(&mut self, bytes: usize) -> Option<(usize, bool)> {
        let place = match self.fit(bytes) {
            Some(place) => place,
            None => {
                let (at, more) = [PIECE.max(bytes), bytes].into_iter().find_map(map)?;
                self.join(Run {
                    at,
                    bytes: more,
                    freed: None,
                });
                self.fit(bytes)?
            }
        };
        let (at, mut left, waited) = (self.runs[place].at, bytes, self.waiting);
        while left > 0 {
            let run = &mut self.runs[place];
            let part = left.min(run.bytes);
            self.waiting -= if run.freed.is_some() { part } else { 0 };
            (run.at, run.bytes, left) = (run.at + part, run.bytes - part, left - part);
            if run.bytes == 0 {
                self.runs.remove(place);
            }
        }
        let zeros = self.waiting == waited;
        self.used += bytes;
        self.most = self.most.max(self.used);
        self.trim();
        Some((at, zeros))
    }

    /// From which run on so much is free with the fewest pages that the system must clear; of these the smallest run.
    fn fit(&self, bytes: usize) -> Option<usize> {
        let new_from = |place: usize| {
            let (mut end, mut left, mut new) = (self.runs[place].at, bytes, 0);
            for run in &self.runs[place..] {
                if run.at != end {
                    return None;
                }
                let part = left.min(run.bytes);
                new += if run.freed.is_none() { part } else { 0 };
                (end, left) = (run.at + run.bytes, left - part);
                if left == 0 {
                    return Some(new);
                }
            }
            None
        };
        let fits = (0..self.runs.len())
            .filter_map(|place| Some((new_from(place)?, self.runs[place].bytes, place)));
        fits.min().map(|(_, _, place)| place)
    }

    fn give(&mut self, at: usize, bytes: usize) {
        self.used -= bytes;
        self.waiting += bytes;
        self.clock += 1;
        self.join(Run {
            at,
            bytes,
            freed: Some(self.clock),
        });
        self.trim();
    }

    /// Puts a run in its place, as one with its neighbours of the same kind.
    fn join(&mut self, run: Run) {
        let place = self.runs.partition_point(|other| other.at < run.at);
        self.runs.insert(place, run);
        for left in [place, place.wrapping_sub(1)] {
            if let Some([a, b]) = self
                .runs
                .get_mut(left..)
                .and_then(|runs| runs.first_chunk_mut())
                && a.at + a.bytes == b.at
                && a.freed.is_some() == b.freed.is_some()
            {
                (a.bytes, a.freed) = (a.bytes + b.bytes, a.freed.max(b.freed));
                self.runs.remove(left + 1);
            }
        }
    }

    /// What has waited longest goes back to the system, where too much waits.
    fn trim(&mut self) {
        while self.waiting > MOST && self.used + self.waiting > self.most {
            let waits = self
                .runs
                .iter()
                .enumerate()
                .filter(|(_, run)| run.freed.is_some());
            let Some((place, _)) = waits.min_by_key(|(_, run)| run.freed) else {
                return;
            };
            let run = self.runs.remove(place);
            // SAFETY: whole pages of `map`, and nobody has them now.
            unsafe { libc::madvise(run.at as *mut _, run.bytes, libc::MADV_DONTNEED) };
            self.waiting -= run.bytes;
            self.join(Run { freed: None, ..run });
        }
    }
}

/// New pages, whole huge ones where the system has them, all zero: address and bytes.
fn map(bytes: usize) -> Option<(usize, usize)> {
    let bytes = bytes.next_multiple_of(HUGE);
    // SAFETY: nobody else has these pages.
    let at = unsafe {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        libc::mmap(
            null_mut(),
            bytes + HUGE,
            PROT_READ | PROT_WRITE,
            flags,
            -1,
            0,
        )
    };
    if at == MAP_FAILED {
        return None;
    }
    let aligned = (at as usize).next_multiple_of(HUGE);
    // SAFETY: a wish about pages that are ours; without huge pages nothing changes.
    unsafe { libc::madvise(aligned as *mut _, bytes, libc::MADV_HUGEPAGE) };
    Some((aligned, bytes))
}

/// From now on no more may wait than from now on is in use at once, and 128 MB.
pub fn forget_most() {
    let mut heap = heap();
    heap.most = heap.used;
    heap.trim();
}

/// The bytes of a large buffer; None for a small one. Alike for a buffer's whole life, since its layout is handed in each
/// time.
fn large(layout: Layout) -> Option<usize> {
    (layout.size() >= LARGE && layout.align() <= GRAIN)
        .then(|| layout.size().next_multiple_of(GRAIN))
}

// SAFETY: each buffer goes back to where it came from, as `large` says.
unsafe impl GlobalAlloc for Pages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match large(layout) {
            Some(bytes) => heap()
                .take(bytes)
                .map_or(null_mut(), |(at, _)| at as *mut u8),
            None => unsafe { System.alloc(layout) },
        }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(bytes) = large(layout) else {
            return unsafe { System.alloc_zeroed(layout) };
        };
        let taken = heap().take(bytes); // and the lock is open again
        let Some((at, zeros)) = taken else {
            return null_mut();
        };
        if !zeros {
            // SAFETY: it is ours, and at least as long.
            unsafe { (at as *mut u8).write_bytes(0, layout.size()) };
        }
        at as *mut u8
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        match large(layout) {
            Some(bytes) => heap().give(at as usize, bytes),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_freed_is_used_again_at_any_size() {
        let mut heap = Heap::new();
        let taken: Vec<usize> = [3, 5, 4].map(|n| heap.take(n * LARGE).unwrap().0).into();
        heap.give(taken[0], 3 * LARGE);
        heap.give(taken[2], 4 * LARGE);
        heap.give(taken[1], 5 * LARGE);
        assert_eq!(
            heap.take(12 * LARGE),
            Some((taken[0], false)),
            "they lie side by side"
        );
        assert!(heap.take(LARGE).unwrap().1, "nothing waits, so it is new");
    }

    #[test]
    fn what_waits_is_bounded_and_comes_back_as_zeros() {
        let mut heap = Heap::new();
        let at = heap.take(2 * MOST).unwrap().0;
        let byte = at as *mut u8;
        // SAFETY, here and below: the page stays mapped, and nobody else has it.
        unsafe { byte.write(1) };
        heap.give(at, 2 * MOST);
        assert_eq!(heap.waiting, 2 * MOST, "so much was in use before");
        assert!(heap.take(4 * MOST).unwrap().1);
        assert_eq!(
            (heap.waiting, unsafe { byte.read() }),
            (0, 0),
            "the most is in use now"
        );
    }
}
