//! What the driver and cuBLAS refuse.
use std::fmt::Debug;

/// Unwraps what the driver or cuBLAS returned.
///
/// # Panics
/// On any error, since no op can recover from one: the node ends with the message.
pub(crate) fn done<T, E: Debug>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|e| match format!("{e:?}") {
        e if e.contains("OUT_OF_MEMORY") || e.contains("ALLOC_FAILED") => {
            panic!("the GPU's memory is full: smaller batches need less")
        }
        e => panic!("the GPU refused: {e}"),
    })
}

/// Prints an error of the driver where none can be returned, in a `drop`.
///
/// While the thread panics it prints nothing: the panic has told the first error, and the driver
/// answers every later call with the same one. Nor does it once the driver has been shut down, as
/// it is when the process ends.
pub(crate) fn report<E: Debug>(what: &str, result: Result<(), E>) {
    let Err(error) = result else {
        return;
    };
    let error = format!("{error:?}");
    if !std::thread::panicking() && !error.contains("DEINITIALIZED") {
        eprintln!("the GPU refused {what}: {error}");
    }
}
