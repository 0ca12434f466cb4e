//! Signals: the first one asks the run to stop with a checkpoint, a second Ctrl-C ends the process
//! at once.
use crate::ending::CommandError;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Exit code after Ctrl-C.
const INTERRUPTED: usize = 130;
/// Exit code after a scheduler's signal: the job can be queued again.
const REQUEUE: usize = 75;

/// The handlers of signals.
pub(crate) struct Signals {
    /// Set by the first signal.
    pub(crate) stop: Arc<AtomicBool>,
    exit_code: Arc<AtomicUsize>,
}

impl Signals {
    /// Installs the handlers.
    pub(crate) fn catch() -> io::Result<Signals> {
        let signals = Signals {
            stop: Arc::default(),
            exit_code: Arc::new(AtomicUsize::new(REQUEUE)),
        };
        let interrupted = Arc::new(AtomicBool::new(false));
        // The shutdown comes before the flag that it depends on, so that the first Ctrl-C only
        // sets the flag.
        flag::register_conditional_shutdown(SIGINT, INTERRUPTED as i32, interrupted.clone())?;
        flag::register(SIGINT, interrupted)?;
        for (signal, exit_code) in [
            (SIGINT, INTERRUPTED),
            (SIGTERM, REQUEUE),
            (SIGUSR1, REQUEUE),
            (SIGUSR2, REQUEUE),
        ] {
            flag::register_usize(signal, signals.exit_code.clone(), exit_code)?;
            flag::register(signal, signals.stop.clone())?;
        }
        Ok(signals)
    }

    /// Returns whether a signal has come.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Returns the error that ends a command after the last signal.
    pub(crate) fn interruption(&self) -> CommandError {
        CommandError::Interrupted {
            exit_code: self.exit_code.load(Ordering::Relaxed) as i32,
        }
    }
}
