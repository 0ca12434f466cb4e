//! A heap of huge pages with a free list that is sorted by address, so that neighbours coalesce.
//!
//! In jemalloc's words, a freed range is dirty: its pages keep their memory, and are reused first.
//! Purging (`MADV_DONTNEED`) returns the memory and makes the range clean: its pages read as zeros.
//! The range that was freed first is purged first, while used and dirty bytes together exceed the
//! high-water mark of used bytes; 128 MiB may always stay dirty.
use libc::{MAP_ANONYMOUS, MAP_FAILED, MAP_NORESERVE, MAP_PRIVATE, PROT_READ, PROT_WRITE};
use std::ptr::null_mut;

/// Bytes of a huge page.
const HUGE_PAGE: usize = 2 << 20;
/// Least bytes of one `mmap`; addresses cost nothing until they are written to.
const MIN_MAP: usize = 256 << 20;
/// Bytes that may always be dirty.
const DIRTY_ALLOWANCE: usize = 128 << 20;

/// Free bytes at consecutive addresses, all dirty or all clean.
struct FreeRange {
    address: usize,
    bytes: usize,
    /// The heap's clock when they were last freed; `None` if clean.
    freed_at: Option<u64>,
}

impl FreeRange {
    fn is_dirty(&self) -> bool {
        self.freed_at.is_some()
    }
}

/// Used and free bytes of all memory mapped so far.
pub(super) struct Heap {
    /// Sorted by address; of two adjacent ranges, one is dirty and one is clean. Its own memory is
    /// the system allocator's, being far below a large buffer's.
    free_list: Vec<FreeRange>,
    used_bytes: usize,
    dirty_bytes: usize,
    /// The most that `used_bytes` has been.
    high_water_mark: usize,
    /// Buffers freed so far.
    clock: u64,
}

impl Heap {
    pub(super) const fn new() -> Self {
        Heap {
            free_list: vec![],
            used_bytes: 0,
            dirty_bytes: 0,
            high_water_mark: 0,
            clock: 0,
        }
    }

    /// Allocates `bytes`; returns their address, and whether all are zero.
    ///
    /// Returns `None` if the system has no more addresses.
    pub(super) fn allocate(&mut self, bytes: usize) -> Option<(usize, bool)> {
        let first = match self.best_fit(bytes) {
            Some(first) => first,
            None => {
                self.map(bytes)?;
                self.best_fit(bytes)?
            }
        };
        let address = self.free_list[first].address;
        let dirty_before = self.dirty_bytes;
        let mut missing = bytes;
        while missing > 0 {
            let range = &mut self.free_list[first];
            let taken = missing.min(range.bytes);
            if range.is_dirty() {
                self.dirty_bytes -= taken;
            }
            range.address += taken;
            range.bytes -= taken;
            missing -= taken;
            if range.bytes == 0 {
                self.free_list.remove(first);
            }
        }
        let is_zero = self.dirty_bytes == dirty_before;
        self.used_bytes += bytes;
        self.high_water_mark = self.high_water_mark.max(self.used_bytes);
        self.purge();
        Some((address, is_zero))
    }

    /// Maps addresses, unless `bytes` are free in one piece; returns whether they are now.
    pub(super) fn reserve(&mut self, bytes: usize) -> bool {
        self.best_fit(bytes).is_some() || self.map(bytes).is_some()
    }

    /// Returns the bytes of freed buffers that keep their memory.
    pub(super) fn dirty_bytes(&self) -> usize {
        self.dirty_bytes
    }

    /// Maps at least `bytes`, as a clean range; `None` if the system refuses.
    fn map(&mut self, bytes: usize) -> Option<()> {
        let sizes = [MIN_MAP.max(bytes), bytes];
        let (address, mapped_bytes) = sizes.into_iter().find_map(map_pages)?;
        self.insert(FreeRange {
            address,
            bytes: mapped_bytes,
            freed_at: None,
        });
        Some(())
    }

    /// Returns the index of the range from whose start `bytes` should be taken.
    ///
    /// They may extend over adjacent ranges. The choice is the one with the fewest clean bytes,
    /// which the system would have to clear; of these, the smallest first range.
    fn best_fit(&self, bytes: usize) -> Option<usize> {
        (0..self.free_list.len())
            .filter_map(|i| Some((self.clean_bytes(i, bytes)?, self.free_list[i].bytes, i)))
            .min()
            .map(|(_, _, i)| i)
    }

    /// Counts the clean bytes among `bytes` from the start of range `first`.
    ///
    /// Returns `None` if fewer bytes are free there.
    fn clean_bytes(&self, first: usize, bytes: usize) -> Option<usize> {
        let mut end = self.free_list[first].address;
        let mut missing = bytes;
        let mut clean = 0;
        for range in &self.free_list[first..] {
            if range.address != end {
                return None;
            }
            let taken = missing.min(range.bytes);
            if !range.is_dirty() {
                clean += taken;
            }
            end += range.bytes;
            missing -= taken;
            if missing == 0 {
                return Some(clean);
            }
        }
        None
    }

    /// Frees `bytes` that [`Heap::allocate`] has returned.
    pub(super) fn free(&mut self, address: usize, bytes: usize) {
        self.used_bytes -= bytes;
        self.dirty_bytes += bytes;
        self.clock += 1;
        self.insert(FreeRange {
            address,
            bytes,
            freed_at: Some(self.clock),
        });
        self.purge();
    }

    /// Inserts a range into the free list and coalesces it with neighbours of its kind.
    fn insert(&mut self, range: FreeRange) {
        let i = self
            .free_list
            .partition_point(|other| other.address < range.address);
        self.free_list.insert(i, range);
        self.coalesce(i);
        if i > 0 {
            self.coalesce(i - 1);
        }
    }

    /// Merges range `i` and the next one if they are adjacent, and both dirty or both clean.
    fn coalesce(&mut self, i: usize) {
        let Some([left, right]) = self.free_list[i..].first_chunk_mut() else {
            return;
        };
        if left.address + left.bytes == right.address && left.is_dirty() == right.is_dirty() {
            left.bytes += right.bytes;
            left.freed_at = left.freed_at.max(right.freed_at);
            self.free_list.remove(i + 1);
        }
    }

    /// Resets the high-water mark to the bytes in use now, and purges what exceeds it.
    pub(super) fn reset_high_water_mark(&mut self) {
        self.high_water_mark = self.used_bytes;
        self.purge();
    }

    /// Purges dirty ranges, the one freed first before others, until the bound holds.
    fn purge(&mut self) {
        while self.dirty_bytes > DIRTY_ALLOWANCE
            && self.used_bytes + self.dirty_bytes > self.high_water_mark
        {
            let dirty = (0..self.free_list.len()).filter(|i| self.free_list[*i].is_dirty());
            let Some(oldest) = dirty.min_by_key(|i| self.free_list[*i].freed_at) else {
                return;
            };
            let range = self.free_list.remove(oldest);
            // SAFETY: whole pages from `map_pages`, which no buffer uses.
            unsafe { libc::madvise(range.address as *mut _, range.bytes, libc::MADV_DONTNEED) };
            self.dirty_bytes -= range.bytes;
            self.insert(FreeRange {
                freed_at: None,
                ..range
            });
        }
    }
}

/// Maps at least `bytes`, all zero, in huge pages where the system has them.
///
/// Returns address and bytes, both multiples of a huge page, or `None` if the system refuses.
fn map_pages(bytes: usize) -> Option<(usize, usize)> {
    let bytes = bytes.checked_next_multiple_of(HUGE_PAGE)?;
    // SAFETY: the kernel chooses the address, so nothing else is mapped there.
    let address = unsafe {
        libc::mmap(
            null_mut(),
            bytes.checked_add(HUGE_PAGE)?, // for the alignment
            PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
            -1,
            0,
        )
    };
    if address == MAP_FAILED {
        return None;
    }
    let aligned = (address as usize).next_multiple_of(HUGE_PAGE);
    // SAFETY: advice on pages just mapped; without huge pages it has no effect.
    unsafe { libc::madvise(aligned as *mut _, bytes, libc::MADV_HUGEPAGE) };
    Some((aligned, bytes))
}

/// Maps `bytes` and unmaps them again; returns whether the system allowed it.
pub(super) fn can_map(bytes: usize) -> bool {
    let protection = PROT_READ | PROT_WRITE;
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    // SAFETY: the kernel chooses the address, and nothing is written there.
    unsafe {
        let address = libc::mmap(null_mut(), bytes, protection, flags, -1, 0);
        address != MAP_FAILED && libc::munmap(address, bytes) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn freed_buffers_coalesce_and_are_reused_at_any_size() {
        let mut heap = Heap::new();
        let sizes = [3 * MIB, 5 * MIB, 4 * MIB];
        let addresses = sizes.map(|bytes| heap.allocate(bytes).unwrap().0);
        for i in [0, 2, 1] {
            heap.free(addresses[i], sizes[i]);
        }
        assert_eq!(heap.allocate(12 * MIB), Some((addresses[0], false)));
        assert!(heap.allocate(MIB).unwrap().1, "no range is dirty");
    }

    #[test]
    fn reserved_addresses_are_found_by_the_next_buffers() {
        let mut heap = Heap::new();
        assert!(heap.reserve(600 * MIB));
        let used = [heap.used_bytes, heap.dirty_bytes, heap.high_water_mark];
        assert_eq!(used, [0; 3], "no buffer was allocated");
        let (first, is_zero) = heap.allocate(500 * MIB).unwrap();
        let (second, _) = heap.allocate(100 * MIB).unwrap();
        assert_eq!(second, first + 500 * MIB);
        assert!(is_zero);
        assert!(!heap.reserve(usize::MAX - MIB));
    }

    #[test]
    fn dirty_bytes_are_bounded_and_purged_ones_are_zero() {
        let mut heap = Heap::new();
        let address = heap.allocate(2 * DIRTY_ALLOWANCE).unwrap().0;
        let byte = address as *mut u8;
        // SAFETY, here and below: the page stays mapped, and no buffer uses it.
        unsafe { byte.write(1) };
        heap.free(address, 2 * DIRTY_ALLOWANCE);
        assert_eq!(heap.dirty_bytes, 2 * DIRTY_ALLOWANCE, "the high-water mark");
        assert!(heap.allocate(4 * DIRTY_ALLOWANCE).unwrap().1);
        assert_eq!(heap.dirty_bytes, 0, "used bytes are at the high-water mark");
        assert_eq!(unsafe { byte.read() }, 0);
    }
}
