//! What helps to find a fault on a GPU, which is reported by a later call than its own.
use std::env;
use std::sync::LazyLock;

/// The environment variable that turns the trace on, with any value.
const VARIABLE: &str = "PIPELINE_TRACE_KERNELS";

static IS_ON: LazyLock<bool> = LazyLock::new(|| env::var_os(VARIABLE).is_some());

/// Does what queues a kernel or a GEMM. With the trace on, its name is printed first, and `wait`
/// waits for all work afterwards: so the last name is that of the work that failed, or hangs.
pub(super) fn traced<T>(
    name: impl FnOnce() -> String,
    queue: impl FnOnce() -> T,
    wait: impl FnOnce(),
) -> T {
    if !*IS_ON {
        return queue();
    }
    eprintln!("{}", name());
    let queued = queue();
    wait();
    queued
}
