//! Whether the memory for a computation can be had, asked before it begins.
//!
//! An allocation that fails ends the process, and memory that the system has promised but does not
//! have ends it later. So what one utterance alone decides is estimated first.
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Bytes beside an estimate: small buffers and stacks, which do not come from the heap.
const MARGIN: usize = 64 << 20;

/// Returns bytes in GB, for messages.
pub fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

/// Memory that cannot be had.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shortage {
    pub bytes: usize,
    /// What can be had, if the system tells; `None` where it refused the addresses.
    pub available: Option<usize>,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:.2} GB of memory", gigabytes(self.bytes as u64))?;
        match self.available {
            Some(free) => write!(f, ", and {:.2} GB are free", gigabytes(free as u64)),
            None => write!(
                f,
                ", which the system refuses (`ulimit -v` prints its limit)"
            ),
        }
    }
}

/// What [`reserve`] was last called for.
static PURPOSE: Mutex<String> = Mutex::new(String::new());

/// Calls `f` with what [`reserve`] was last called for, empty if it was not called, for a message
/// when memory runs out all the same. Neither allocates nor waits.
pub fn with_purpose(f: impl FnOnce(&str)) {
    match PURPOSE.try_lock() {
        Ok(purpose) => f(&purpose),
        Err(_) => f(""),
    }
}

/// Checks that `bytes` more can be allocated, and takes their addresses from the system.
///
/// The addresses stay with this process's allocator, so what is allocated next finds them: half as
/// many again, since buffers of several sizes leave gaps. Threads that begin at once share them.
///
/// # Errors
/// The system refuses the addresses, or has less memory.
pub fn reserve(bytes: usize, purpose: String) -> Result<(), Shortage> {
    *PURPOSE.lock().unwrap_or_else(PoisonError::into_inner) = purpose;
    let shortage = |available| Shortage { bytes, available };
    if let Some(available) = available_bytes()
        && bytes > available
    {
        return Err(shortage(Some(available)));
    }
    if takes_addresses(bytes.saturating_add(bytes / 2)) {
        Ok(())
    } else {
        Err(shortage(None))
    }
}

#[cfg(target_os = "linux")]
fn takes_addresses(bytes: usize) -> bool {
    crate::allocator::reserve(bytes) && crate::allocator::can_map(MARGIN)
}

#[cfg(not(target_os = "linux"))]
fn takes_addresses(bytes: usize) -> bool {
    let bytes = bytes.saturating_add(MARGIN);
    Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
}

/// Returns the bytes that the system can still give this process, if it tells: of the machine, or
/// of a control group with a limit.
#[cfg(target_os = "linux")]
fn available_bytes() -> Option<usize> {
    let reusable = crate::allocator::reusable_bytes();
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let machine = field(&meminfo, "MemAvailable:")? + field(&meminfo, "SwapFree:").unwrap_or(0);
    let group = group_available_bytes().unwrap_or(usize::MAX);
    Some(machine.saturating_mul(1024).min(group) + reusable)
}

#[cfg(not(target_os = "linux"))]
fn available_bytes() -> Option<usize> {
    None
}

/// Returns what is left of the limit of the process's control group (version 2) or of one above it.
///
/// Pages of files count as used there, though the system can drop them: they are left.
#[cfg(target_os = "linux")]
fn group_available_bytes() -> Option<usize> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let folder = std::path::Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    let left = folder.ancestors().filter_map(|folder| {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        let limit: usize = read("memory.max")?.trim().parse().ok()?;
        let used: usize = read("memory.current")?.trim().parse().ok()?;
        let files = field(&read("memory.stat")?, "file")?;
        Some((limit + files).saturating_sub(used))
    });
    left.min()
}

/// Returns the number after a key at the start of a line.
#[cfg(target_os = "linux")]
fn field(text: &str, key: &str) -> Option<usize> {
    let mut lines = text.lines().map(str::split_whitespace);
    lines.find_map(|mut words| (words.next()? == key).then(|| words.next()?.parse().ok())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_megabyte_can_be_had_and_all_addresses_cannot() {
        assert_eq!(reserve(1 << 20, "a file".into()), Ok(()));
        with_purpose(|purpose| assert_eq!(purpose, "a file"));
        let bytes = usize::MAX / 2;
        let shortage = reserve(bytes, "another".into()).expect_err("no machine has it");
        assert_eq!(shortage.bytes, bytes);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "inactive_file 7\nfile 12\nMemAvailable:    34 kB";
        assert_eq!(field(text, "file"), Some(12));
        assert_eq!(field(text, "MemAvailable:"), Some(34));
        assert_eq!(field(text, "SwapFree:"), None);
    }
}
