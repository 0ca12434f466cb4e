//! Signals: the first one asks the run to stop with a checkpoint, a second Ctrl-C ends the process
//! at once.
use crate::ending::{CommandError, FAILED, INTERRUPTED, REQUEUE};
use crate::screen::Screen;
use compute::memory;
use signal_hook::consts::{SIGABRT, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator;
use signal_hook::{flag, low_level};
use std::fs::File;
use std::io;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::thread;

/// The signals that ask a run to stop, and the exit codes after them.
const STOPPING: [(i32, i32); 4] = [
    (SIGINT, INTERRUPTED),
    (SIGTERM, REQUEUE),
    (SIGUSR1, REQUEUE),
    (SIGUSR2, REQUEUE),
];

/// The handlers of signals.
pub(crate) struct Signals {
    /// Set by the first signal.
    pub(crate) stop: Arc<AtomicBool>,
    exit_code: Arc<AtomicUsize>,
    /// Says on the screen that the first signal came, once.
    answer: Option<Arc<Answer>>,
}

struct Answer {
    screen: Arc<Screen>,
    given: Once,
}

impl Answer {
    fn give(&self, signal_is_interrupt: bool) {
        self.given
            .call_once(|| self.screen.answer_signal(signal_is_interrupt));
    }
}

impl Signals {
    /// Installs the handlers.
    pub(crate) fn catch() -> io::Result<Signals> {
        let signals = Signals {
            stop: Arc::default(),
            exit_code: Arc::new(AtomicUsize::new(REQUEUE as usize)),
            answer: None,
        };
        stop_at_second_interrupt()?;
        for (signal, exit_code) in STOPPING {
            flag::register_usize(signal, signals.exit_code.clone(), exit_code as usize)?;
            flag::register(signal, signals.stop.clone())?;
        }
        Ok(signals)
    }

    /// Installs the handlers, and answers the first signal on the screen.
    pub(crate) fn catch_and_answer(screen: &Arc<Screen>) -> io::Result<Signals> {
        let mut signals = Signals::catch()?;
        let mut received = iterator::Signals::new(STOPPING.map(|(signal, _)| signal))?;
        let answer = Arc::new(Answer {
            screen: screen.clone(),
            given: Once::new(),
        });
        signals.answer = Some(answer.clone());
        thread::Builder::new().spawn(move || {
            if let Some(signal) = received.forever().next() {
                answer.give(signal == SIGINT);
            }
        })?;
        Ok(signals)
    }

    /// Returns whether a signal has come.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Returns the error that ends a command after the last signal.
    pub(crate) fn interruption(&self) -> CommandError {
        let exit_code = self.exit_code.load(Ordering::Relaxed) as i32;
        // The thread that answers may have had no turn before the command ended.
        if let Some(answer) = self.answer.as_ref().filter(|_| self.stopped()) {
            answer.give(exit_code == INTERRUPTED);
        }
        CommandError::Interrupted { exit_code }
    }
}

/// Ends the process at the second SIGINT, whatever its threads do.
fn stop_at_second_interrupt() -> io::Result<()> {
    let interrupted = AtomicBool::new(false);
    let handler = move || {
        if interrupted.swap(true, Ordering::Relaxed) {
            // The file is a view of stderr without its lock, which a thread may hold for good.
            // SAFETY: the descriptor is open as long as the process, and is not closed here.
            let mut stderr = ManuallyDrop::new(unsafe { File::from_raw_fd(2) });
            let _ = stderr.write_all(b"\nstopped at once, without a checkpoint\n");
            low_level::exit(INTERRUPTED);
        }
    };
    // SAFETY: the handler neither allocates nor waits for a lock.
    unsafe { low_level::register(SIGINT, handler) }.map(|_| ())
}

/// Ends the process with a message and an exit code instead of an abort, which is how the standard
/// library ends it when an allocation fails. It has then printed the bytes; this names the file.
pub(crate) fn name_file_on_abort() -> io::Result<()> {
    let handler = || {
        memory::with_purpose(|purpose| {
            let mut stderr = io::stderr();
            let _ = stderr.write_all(b"the process was aborted");
            if !purpose.is_empty() {
                let _ = stderr.write_all(b", perhaps for want of memory at ");
                let _ = stderr.write_all(purpose.as_bytes());
            }
            let _ = stderr.write_all(b"\n");
        });
        low_level::exit(FAILED);
    };
    // SAFETY: the handler neither allocates nor waits for a lock of this thread's, and ends the
    // process.
    unsafe { low_level::register(SIGABRT, handler) }.map(|_| ())
}
