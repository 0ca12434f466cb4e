//! Signals: the first one asks the run to end with a checkpoint, a second Ctrl-C ends at once.
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Exit codes: stopped by a person; stopped by a scheduler, which may queue the run again.
const INTERRUPTED: usize = 130;
const REQUEUE: usize = 75;

pub struct Signals {
    pub stop: Arc<AtomicBool>,
    code: Arc<AtomicUsize>,
}

impl Signals {
    pub fn catch() -> io::Result<Signals> {
        let signals = Signals {
            stop: Arc::default(),
            code: Arc::new(AtomicUsize::new(REQUEUE)),
        };
        let interrupted = Arc::new(AtomicBool::new(false));
        // Before the flag is set, so that only the second one meets it.
        flag::register_conditional_shutdown(SIGINT, INTERRUPTED as i32, interrupted.clone())?;
        flag::register(SIGINT, interrupted)?;
        for (signal, code) in [
            (SIGINT, INTERRUPTED),
            (SIGTERM, REQUEUE),
            (SIGUSR1, REQUEUE),
            (SIGUSR2, REQUEUE),
        ] {
            flag::register_usize(signal, signals.code.clone(), code)?;
            flag::register(signal, signals.stop.clone())?;
        }
        Ok(signals)
    }

    /// What the process exits with after the last signal.
    pub fn code(&self) -> i32 {
        self.code.load(Ordering::Relaxed) as i32
    }
}
