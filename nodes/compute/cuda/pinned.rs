//! Uploads from pinned host memory, which the GPU reads by itself: the caller need not wait.
//!
//! ```text
//! null stream    ──alloc───────── kernels of this batch ─────────wait── the next batch's ──
//! upload stream       └─ wait, copy the targets of the next batch ┘
//! ```
//!
//! Two buffers take turns. The host writes a buffer when its last upload is complete.
use super::gpu::{Address, gpu};
use super::refusal::{done, report};
use cudarc::driver::result::{DriverError, event, memcpy_htod_async, stream};
use cudarc::driver::sys::{self, CUevent, CUstream};
use rayon::prelude::*;
use std::cell::RefCell;
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;

/// Numbers of f32 up to which the driver copies pageable memory without waiting: 64 KiB.
pub(crate) const PAGEABLE_NUMBERS: usize = (64 << 10) / 4;

/// The stream of all work but asynchronous uploads.
const NULL_STREAM: CUstream = ptr::null_mut();

/// Rows, which are uploaded one after another, and their destination.
pub(crate) type Part<'a> = (&'a [&'a [f32]], Address);

/// Uploads in the order of all other work.
pub(crate) fn upload(parts: &[Part]) {
    UPLOADER.with_borrow_mut(|uploader| uploader.upload(parts, NULL_STREAM));
}

/// Uploads while the work that is queued from now on is done. The destinations must not be read or
/// freed before [`Landing::wait`].
pub(crate) fn upload_async(parts: &[Part]) -> Landing {
    UPLOADER.with_borrow_mut(|uploader| {
        // The destinations were allocated in the order of the null stream.
        done(Event::record(NULL_STREAM).delay(uploader.stream));
        Landing(uploader.upload(parts, uploader.stream))
    })
}

/// The completion of an upload. Dropping it lets the null stream wait for the upload, so that the
/// destinations may be freed afterwards.
#[derive(Clone)]
pub(crate) struct Landing(Rc<Event>);

impl Landing {
    /// Lets the work that is queued from now on wait for the upload.
    pub(crate) fn wait(&self) {
        done(self.0.delay(NULL_STREAM));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        report("a wait for an upload", self.0.delay(NULL_STREAM));
    }
}

struct Event(CUevent);

impl Event {
    /// Marks the work that is queued on a stream by now.
    fn record(stream: CUstream) -> Event {
        let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING;
        let event = Event(done(event::create(flags)));
        // SAFETY: event and stream exist.
        done(unsafe { event::record(event.0, stream) });
        event
    }

    /// Lets the work that is queued on a stream from now on wait for the marked work.
    fn delay(&self, stream: CUstream) -> Result<(), DriverError> {
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: event and stream exist.
        unsafe { stream::wait_event(stream, self.0, flags) }
    }

    /// Lets the host wait for the marked work.
    fn synchronise(&self) -> Result<(), DriverError> {
        // SAFETY: the event exists.
        unsafe { sys::cuEventSynchronize(self.0).result() }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: nobody else has the event. The driver keeps one that is not complete until it is.
        report("the end of an event", unsafe { event::destroy(self.0) });
    }
}

thread_local!(static UPLOADER: RefCell<Uploader> = RefCell::new(Uploader::open()));

/// The upload stream and the pinned buffers of a thread.
struct Uploader {
    stream: CUstream,
    buffers: [Buffer; 2],
}

impl Uploader {
    fn open() -> Uploader {
        gpu(); // sets the context of this thread
        Uploader {
            stream: done(stream::create(stream::StreamKind::NonBlocking)),
            buffers: [Buffer::EMPTY; 2],
        }
    }

    /// Copies all rows into a pinned buffer, by all threads, and queues its upload on a stream.
    fn upload(&mut self, parts: &[Part], stream: CUstream) -> Rc<Event> {
        self.buffers.swap(0, 1);
        let buffer = &mut self.buffers[0];
        let rows = || parts.iter().flat_map(|(rows, _)| *rows);
        let numbers = buffer.reserve(rows().map(|row| row.len()).sum());
        let mut pieces = Vec::new();
        let mut rest = &mut *numbers;
        for row in rows() {
            let (piece, after) = rest.split_at_mut(row.len());
            pieces.push((piece, row));
            rest = after;
        }
        pieces
            .into_par_iter()
            .for_each(|(piece, row)| piece.copy_from_slice(row));
        let mut rest = &*numbers;
        for (rows, to) in parts {
            let (part, after) = rest.split_at(rows.iter().map(|row| row.len()).sum());
            // SAFETY: the caller has allocated the destination, and the buffer is not written
            // before the event below.
            done(unsafe { memcpy_htod_async(*to, part, stream) });
            rest = after;
        }
        let event = Rc::new(Event::record(stream));
        buffer.uploaded = Some(event.clone());
        event
    }
}

impl Drop for Uploader {
    fn drop(&mut self) {
        // SAFETY: nobody else has the stream. The driver completes what is queued on it.
        let destroyed = unsafe { stream::destroy(self.stream) };
        report("the end of the upload stream", destroyed);
    }
}

/// Pinned memory of `len` numbers.
struct Buffer {
    at: *mut f32,
    len: usize,
    /// The completion of the last upload.
    uploaded: Option<Rc<Event>>,
}

impl Buffer {
    const EMPTY: Buffer = Buffer {
        at: ptr::dangling_mut(),
        len: 0,
        uploaded: None,
    };

    /// Waits for the last upload, and returns `len` numbers to write.
    fn reserve(&mut self, len: usize) -> &mut [f32] {
        if let Some(uploaded) = self.uploaded.take() {
            done(uploaded.synchronise());
        }
        if self.len < len {
            *self = Buffer::EMPTY; // frees the old memory first: both might not fit
            *self = Buffer::new(len + len / 8);
        }
        // SAFETY: the memory has as many numbers, all bits are numbers, and the upload is complete,
        // so that nobody else reads or writes them.
        unsafe { std::slice::from_raw_parts_mut(self.at, len) }
    }

    fn new(len: usize) -> Buffer {
        let mut at: *mut c_void = ptr::null_mut();
        // SAFETY: the driver writes the address.
        done(unsafe { sys::cuMemHostAlloc(&mut at, 4 * len, 0).result() });
        Buffer {
            at: at.cast(),
            len,
            uploaded: None,
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(uploaded) = self.uploaded.take() {
            report("a wait for an upload", uploaded.synchronise());
        }
        if self.len > 0 {
            // SAFETY: nobody else has the memory, and its last upload is complete.
            let freed = unsafe { sys::cuMemFreeHost(self.at.cast()) };
            report("the end of pinned memory", freed.result());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::op::check::noise;
    use crate::tensor::Spans;
    use crate::tensor::cuda::{PendingUpload, read, tensor};

    fn batch(width: usize) -> [Vec<f32>; 2] {
        ["0", "1"].map(|layer| noise(&format!("{width}.{layer}"), 100 * width))
    }

    /// Buffers take turns, grow, and are not written before their last upload is complete.
    #[test]
    fn uploads_arrive_as_they_were_sent() {
        let spans = Spans::new([70, 0, 30]);
        let mut uploads = Vec::new();
        for width in [2, 3, 5, 4] {
            let batch = batch(width);
            let rows = batch.each_ref().map(|layer| {
                spans
                    .iter()
                    .map(|row| &layer[row.start * width..row.end * width])
                    .collect()
            });
            uploads.push((width, PendingUpload::send(&rows, width, spans.clone())));
        }
        for (width, upload) in &uploads {
            let layers: Vec<Vec<f32>> = upload.wait().iter().map(|x| read(&x.values)).collect();
            assert!(layers == batch(*width), "{width}");
        }
        let large = noise("large", super::PAGEABLE_NUMBERS + 1);
        assert_eq!(read(&tensor(large.clone(), (large.len(),))), large);
        // The memory of an upload that nobody waited for is freed when it is complete.
        drop(PendingUpload::send(
            &[vec![&large[..4]]],
            4,
            Spans::new([1]),
        ));
    }
}
