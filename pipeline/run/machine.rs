//! What the system says of this machine and this process; None where it does not tell.
use std::fs::read_to_string;
use std::path::Path;

/// The process's peak resident set, in bytes.
pub fn peak() -> Option<u64> {
    kilobytes("/proc/self/status", "VmHWM:")
}

/// All memory, and what is free for a new process, in bytes.
pub fn memory() -> Option<[u64; 2]> {
    let of = |key| kilobytes("/proc/meminfo", key);
    Some([of("MemTotal:")?, of("MemAvailable:")?])
}

/// The limit that the process's control group sets on memory, in bytes (cgroup v2, else v1).
pub fn memory_limit() -> Option<u64> {
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or("/");
    let files = [
        format!("/sys/fs/cgroup{own}/memory.max"),
        "/sys/fs/cgroup/memory.max".into(),
        "/sys/fs/cgroup/memory/memory.limit_in_bytes".into(),
    ];
    let limit = files
        .iter()
        .find_map(|file| read_to_string(file).ok()?.trim().parse::<u64>().ok());
    limit.filter(|limit| memory().is_none_or(|[all, _]| *limit < all)) // v1 writes a huge number for none
}

/// Bytes that may still be written below a folder.
pub fn disk(folder: &Path) -> Option<u64> {
    let about = rustix::fs::statvfs(folder).ok()?;
    Some(about.f_bavail.saturating_mul(about.f_frsize))
}

/// NVIDIA's driver, and the names of its GPUs.
pub fn gpus() -> Option<(String, Vec<String>)> {
    let driver = read_to_string("/proc/driver/nvidia/version").ok()?;
    let driver = driver
        .lines()
        .next()?
        .trim_start_matches("NVRM version:")
        .trim()
        .to_owned();
    let folders = std::fs::read_dir("/proc/driver/nvidia/gpus")
        .into_iter()
        .flatten()
        .flatten();
    let about = folders.filter_map(|gpu| read_to_string(gpu.path().join("information")).ok());
    let model = |text: String| {
        Some(
            text.lines()
                .find_map(|l| l.strip_prefix("Model:"))?
                .trim()
                .to_owned(),
        )
    };
    Some((driver, about.filter_map(model).collect()))
}

/// The number behind `key` in a file of lines such as `MemTotal:  4096 kB`, in bytes.
fn kilobytes(file: &str, key: &str) -> Option<u64> {
    let text = read_to_string(file).ok()?;
    let number = text
        .lines()
        .find_map(|line| line.strip_prefix(key))?
        .split_whitespace()
        .next()?;
    Some(number.parse::<u64>().ok()? * 1024)
}
