//! Numbers on their way to the GPU, from host memory that it reads by itself: whoever sends them goes on at once.
//!
//! ```text
//! all else   ..──alloc────── kernels of this batch ─────────wait── the next one's ──..
//! beside           └─ wait, copy the next one's targets ──────┘
//! ```
//!
//! Two buffers take turns; the host writes a buffer when what it last held has been sent.
use super::gpu::{Address, done, gpu};
use cudarc::driver::result::{DriverError, event, memcpy_htod_async, stream};
use cudarc::driver::sys::{self, CUevent, CUstream};
use rayon::prelude::*;
use std::cell::RefCell;
use std::ffi::c_void;
use std::mem::take;
use std::ptr;
use std::rc::Rc;

/// What the driver takes at once from any memory: 64 KiB.
pub const FEW: usize = (64 << 10) / 4;

/// Of all that is queued, but for what is sent beside it.
const USUAL: CUstream = ptr::null_mut();

/// Rows, one behind the other, and where they go.
pub type Part<'a> = (&'a [&'a [f32]], Address);

/// Sends them in the order of all else.
pub fn send(parts: &[Part]) {
    POST.with_borrow_mut(|post| post.send(parts, USUAL));
}

/// Sends them beside all that is queued from now on. What they go to must not be read or freed before they have landed.
pub fn send_beside(parts: &[Part]) -> Landing {
    POST.with_borrow_mut(|post| {
        done(Event::after(USUAL).hold(post.beside)); // the memory is theirs in the usual order
        Landing(post.send(parts, post.beside))
    })
}

/// When what was sent has come.
#[derive(Clone)]
pub struct Landing(Rc<Event>);

impl Landing {
    /// Before what is queued from now on.
    pub fn wait(&self) {
        done(self.0.hold(USUAL));
    }
}

/// Then what it went to may be freed, which happens in the usual order.
impl Drop for Landing {
    fn drop(&mut self) {
        let _ = self.0.hold(USUAL); // what the GPU refuses now it has refused, and told, before
    }
}

struct Event(CUevent);

impl Event {
    /// Of what is queued on a stream by now.
    fn after(stream: CUstream) -> Event {
        let event = Event(done(event::create(
            sys::CUevent_flags::CU_EVENT_DISABLE_TIMING,
        )));
        // SAFETY: both are there.
        done(unsafe { event::record(event.0, stream) });
        event
    }
    /// Has a stream wait for it.
    fn hold(&self, stream: CUstream) -> Result<(), DriverError> {
        // SAFETY: both are there.
        unsafe {
            stream::wait_event(
                stream,
                self.0,
                sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT,
            )
        }
    }
    /// Has the host wait for it.
    fn wait(&self) -> Result<(), DriverError> {
        // SAFETY: it is there.
        unsafe { sys::cuEventSynchronize(self.0).result() }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: nobody else has it. Where it is not done yet the driver keeps it until then.
        let _ = unsafe { event::destroy(self.0) };
    }
}

thread_local!(static POST: RefCell<Post> = RefCell::new(Post::open()));

struct Post {
    beside: CUstream,
    buffers: [Buffer; 2],
}

impl Post {
    fn open() -> Post {
        gpu(); // the context of this thread
        Post {
            beside: done(stream::create(stream::StreamKind::NonBlocking)),
            buffers: [Buffer::NONE; 2],
        }
    }

    fn send(&mut self, parts: &[Part], stream: CUstream) -> Rc<Event> {
        self.buffers.swap(0, 1);
        let rows = || parts.iter().flat_map(|(rows, _)| *rows);
        let all = self.buffers[0].of(rows().map(|row| row.len()).sum());
        let mut rest = &mut *all;
        let own = |row: &&[f32]| {
            let (own, after) = take(&mut rest).split_at_mut(row.len());
            rest = after;
            own
        };
        let pieces: Vec<_> = rows().map(own).zip(rows()).collect();
        pieces
            .into_par_iter()
            .for_each(|(to, from)| to.copy_from_slice(from));
        let mut rest = &*all;
        for (rows, to) in parts {
            let (part, after) = rest.split_at(rows.iter().map(|row| row.len()).sum());
            // SAFETY: the caller has as much memory there, and nobody writes the buffer before this is done.
            done(unsafe { memcpy_htod_async(*to, part, stream) });
            rest = after;
        }
        self.buffers[0]
            .sent
            .insert(Rc::new(Event::after(stream)))
            .clone()
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        // SAFETY: nobody else has it; what it still has to do is done.
        let _ = unsafe { stream::destroy(self.beside) };
    }
}

/// Pinned memory.
struct Buffer {
    at: *mut f32,
    len: usize,
    /// What it last held.
    sent: Option<Rc<Event>>,
}

impl Buffer {
    const NONE: Buffer = Buffer {
        at: ptr::dangling_mut(),
        len: 0,
        sent: None,
    };

    /// So many numbers, to be written.
    fn of(&mut self, len: usize) -> &mut [f32] {
        if let Some(sent) = self.sent.take() {
            done(sent.wait());
        }
        if self.len < len {
            *self = Buffer::NONE; // two at once might not fit
            *self = Buffer::new(len + len / 8);
        }
        // SAFETY: it has as many numbers, of which any bits are one, and nobody else reads or writes them by now.
        unsafe { std::slice::from_raw_parts_mut(self.at, len) }
    }

    fn new(len: usize) -> Buffer {
        let mut at: *mut c_void = ptr::null_mut();
        // SAFETY: the driver writes the address.
        done(unsafe { sys::cuMemHostAlloc(&mut at, 4 * len, 0).result() });
        Buffer {
            at: at.cast(),
            len,
            sent: None,
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(sent) = self.sent.take() {
            let _ = sent.wait();
        }
        if self.len > 0 {
            // SAFETY: nobody else has it, and nothing is sent from it any more.
            let _ = unsafe { sys::cuMemFreeHost(self.at.cast()).result() };
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::op::check::noise;
    use crate::tensor::Spans;
    use crate::tensor::cuda::{PendingUpload, read, tensor};

    /// Buffers take turns, grow, and are not written before what they hold has been sent.
    #[test]
    fn what_is_sent_beside_arrives_as_it_is() {
        let spans = Spans::new([70, 0, 30]);
        let batch = |width: usize| -> [Vec<f32>; 2] {
            [0, 1].map(|l| noise(&format!("{width}.{l}"), 100 * width))
        };
        let sent = [2, 3, 5, 4].map(|width| {
            let batch = batch(width);
            let of = |layer: usize| {
                spans
                    .iter()
                    .map(|row| &batch[layer][row.start * width..row.end * width])
                    .collect()
            };
            (
                width,
                PendingUpload::send(&[of(0), of(1)], width, spans.clone()),
            )
        });
        for (width, arriving) in &sent {
            let arrived: Vec<Vec<f32>> = arriving
                .wait()
                .iter()
                .map(|hidden| read(&hidden.values))
                .collect();
            assert!(arrived == batch(*width), "{width}");
        }
        let large = noise("large", super::FEW + 1);
        assert_eq!(read(&tensor(large.clone(), (large.len(),))), large);
        drop(PendingUpload::send(
            &[vec![&large[..4]]],
            4,
            Spans::new([1]),
        )); // whose memory is free when it has arrived, and not before
    }
}
