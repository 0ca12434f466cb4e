//! Reads the memory, disks and GPUs of this machine from the system; `None` if it does not tell.
use std::fs::{read_dir, read_to_string};
use std::path::Path;

/// Returns the process's peak resident set, in bytes.
pub fn peak() -> Option<u64> {
    bytes_of_line("/proc/self/status", "VmHWM:")
}

/// Returns the total memory and the memory free for a new process, in bytes.
pub fn memory() -> Option<[u64; 2]> {
    let total = bytes_of_line("/proc/meminfo", "MemTotal:")?;
    let available = bytes_of_line("/proc/meminfo", "MemAvailable:")?;
    Some([total, available])
}

/// Returns the memory limit of the process's control group (version 2, else 1), in bytes.
pub fn memory_limit() -> Option<u64> {
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let files = [
        format!("/sys/fs/cgroup{}/memory.max", group.unwrap_or("/")),
        "/sys/fs/cgroup/memory.max".into(),
        "/sys/fs/cgroup/memory/memory.limit_in_bytes".into(),
    ];
    let limit = files
        .iter()
        .find_map(|file| read_to_string(file).ok()?.trim().parse::<u64>().ok())?;
    // Version 1 writes a huge number if there is no limit.
    match memory() {
        Some([total, _]) if limit >= total => None,
        _ => Some(limit),
    }
}

/// Returns the free bytes of the file system that holds a folder.
pub fn disk(folder: &Path) -> Option<u64> {
    let status = rustix::fs::statvfs(folder).ok()?;
    Some(status.f_bavail.saturating_mul(status.f_frsize))
}

/// Returns the version of NVIDIA's driver and the names of the GPUs.
pub fn gpus() -> Option<(String, Vec<String>)> {
    let version = read_to_string("/proc/driver/nvidia/version").ok()?;
    let first_line = version.lines().next()?;
    let driver = first_line.trim_start_matches("NVRM version:").trim();
    let mut models = vec![];
    for gpu in read_dir("/proc/driver/nvidia/gpus")
        .into_iter()
        .flatten()
        .flatten()
    {
        let information = read_to_string(gpu.path().join("information")).unwrap_or_default();
        let model = information
            .lines()
            .find_map(|line| line.strip_prefix("Model:"));
        models.extend(model.map(|model| model.trim().to_owned()));
    }
    Some((driver.to_owned(), models))
}

/// Returns the model of the CPU, in a build for GPUs those of the GPUs; if the system does not
/// tell, the kind of CPU.
pub fn processor() -> String {
    if compute::tensor::ON_GPU
        && let Some((_, gpus)) = gpus()
    {
        return gpus.join(", ");
    }
    let text = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let model = lines.find(|(key, _)| key.trim() == "model name");
    model.map_or(std::env::consts::ARCH.to_owned(), |(_, name)| {
        name.trim().to_owned()
    })
}

/// Returns the number of a line such as `MemTotal:  4096 kB`, in bytes.
fn bytes_of_line(file: &str, key: &str) -> Option<u64> {
    let text = read_to_string(file).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kilobytes: u64 = rest.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}
