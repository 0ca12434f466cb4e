//! Turns panics of decoders into errors: some crates panic on damaged files.
use crate::Result;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is caught by [`catch_panic`].
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Calls `read` and turns a panic into an error, of which nothing else is printed.
///
/// Loops on other threads are not covered: each of their bodies needs a call of its own.
pub(crate) fn catch_panic<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    silence_caught_panics();
    let outer = CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    CAUGHT.set(outer);
    result.unwrap_or_else(|_| Err("it is damaged".into()))
}

fn silence_caught_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !CAUGHT.get() {
                print(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let error = catch_panic::<()>(|| panic!("index out of bounds")).expect_err("an error");
        assert_eq!(error.to_string(), "it is damaged");
        assert_eq!(catch_panic(|| Ok(1)).expect("no panic"), 1);
        assert!(!CAUGHT.get());
    }
}
