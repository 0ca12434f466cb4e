//! Packing buffers: two for each thread, for panels of b and rows of a, kept between products.
use crate::parallel::Shared;
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A packing buffer of each thread.
pub(super) type ThreadBuffer = std::thread::LocalKey<RefCell<Vec<f32>>>;

thread_local! {
    pub static A_BUFFER: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    pub static B_BUFFER: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Bytes of a cache line, and of the widest vector.
const LINE: usize = 64;
/// Words of a cache line: the most that [`aligned`] skips.
pub(super) const LINE_WORDS: usize = LINE / size_of::<f32>();

/// Words in the buffers of all threads.
static TOTAL_WORDS: AtomicUsize = AtomicUsize::new(0);

/// Returns the bytes of all threads' buffers.
pub(super) fn total_bytes() -> usize {
    TOTAL_WORDS.load(Ordering::Relaxed) * size_of::<f32>()
}

/// Returns the index of the first word that begins a cache line.
pub(super) fn line_start(words: &[f32]) -> usize {
    words.as_ptr().align_offset(LINE)
}

/// Returns the words from the first cache line on.
pub(super) fn aligned(words: &mut [f32]) -> Shared<'_> {
    let start = line_start(words);
    Shared::new(&mut words[start..])
}

/// Calls `f` with a buffer of this thread, at least `len` words from a cache line on.
///
/// The buffer is taken out while in use, since a thread that waits for its tasks may steal a task
/// with another product; of two buffers the longer one is kept.
pub(super) fn with_buffer(
    thread_buffer: &'static ThreadBuffer,
    len: usize,
    f: impl FnOnce(Shared),
) {
    let mut buffer = thread_buffer.take();
    if buffer.len() < len + LINE_WORDS {
        TOTAL_WORDS.fetch_add(len + LINE_WORDS - buffer.len(), Ordering::Relaxed);
        buffer = vec![0.0; len + LINE_WORDS];
    }
    f(aligned(&mut buffer));
    thread_buffer.with_borrow_mut(|kept| {
        if kept.len() < buffer.len() {
            std::mem::swap(kept, &mut buffer);
        }
    });
    TOTAL_WORDS.fetch_sub(buffer.len(), Ordering::Relaxed);
}
