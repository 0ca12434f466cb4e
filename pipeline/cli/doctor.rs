//! `pipeline doctor`: what this machine has, and whether the sample data in the working directory
//! is complete. The exit code is 1 if a file of the sample is missing or damaged.
use crate::ending::{CommandError, CommandResult};
use crate::print::print;
use crate::table::columns;
use compute::gemm::{Precision, has_tiles};
use compute::memory::gigabytes;
use compute::parallel::Vectors;
use nodes::node::contents::Contents;
use pipeline::run::machine;
use pipeline::run::threads;
use std::path::Path;

#[derive(clap::Args)]
pub(crate) struct Arguments {}

impl Arguments {
    /// Prints a line for each topic.
    pub(crate) fn run(self) -> CommandResult {
        let disk = free_space(".").unwrap_or("unknown: the system does not report it".into());
        let cache = match free_space("data/cache") {
            Some(free) => format!("data/cache, {free}"),
            None => "none in this folder".into(),
        };
        let sample = check_sample(Path::new("data/sample"));
        let sample_text = match &sample {
            Ok(state) => state,
            Err(damage) => damage,
        };
        let rows = [
            ("version", version()),
            ("cores", cores()),
            ("instructions", instructions()),
            ("products", products()),
            ("GPU", gpu()),
            ("memory", memory()),
            ("disk", disk),
            ("cache", cache),
            ("sample", sample_text.clone()),
        ];
        print(&columns(
            &rows.map(|(topic, text)| vec![topic.to_owned(), text]),
        ))?;
        match sample {
            Ok(_) => Ok(()),
            Err(_) => Err(CommandError::Damaged),
        }
    }
}

fn version() -> String {
    use std::env::consts::{ARCH, OS};
    let version = env!("CARGO_PKG_VERSION");
    let device = if cfg!(feature = "cuda") {
        "a GPU"
    } else {
        "the CPU"
    };
    format!("{version} for {ARCH} {OS}, computes on {device}")
}

fn cores() -> String {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let threads = threads();
    if threads < cores {
        format!("{cores}, {threads} in use: RAYON_NUM_THREADS leaves the others idle")
    } else {
        format!("{cores}, {threads} threads in use")
    }
}

/// Lists the vector instructions that this program has code for: those of this CPU, then those
/// that this CPU lacks.
fn instructions() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! detect {
            ($($name:tt)*) => {
                [$(($name, is_x86_feature_detected!($name))),*]
            };
        }
        let mut present = vec![];
        let mut missing = vec![];
        for (name, detected) in
            detect!["avx2" "fma" "avx512f" "avx512bw" "avx512dq" "avx512vl" "avx512bf16"]
        {
            if detected {
                present.push(name);
            } else {
                missing.push(name);
            }
        }
        let present = present.join(" ");
        if missing.is_empty() {
            present
        } else {
            format!("{present} (not on this CPU: {})", missing.join(" "))
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    "portable code: this program has no code of its own for this CPU".into()
}

/// Describes how matrix products are computed, and what another CPU would change.
fn products() -> String {
    let vectors = Vectors::detect();
    let has_bf16 = Precision::Bf16.on_cpu() == Precision::Bf16;
    let advice = if has_bf16 && has_tiles() {
        "bf16 in AMX with `\"precision\": \"bf16\"`: a model as large as HuBERT Base takes about half of the time of f32"
    } else if has_bf16 {
        "bf16 with `\"precision\": \"bf16\"`, which takes about 0.6 of the time of f32"
    } else if vectors == Vectors::Plain {
        "no bf16; an x86-64 CPU with AVX2 or AVX-512 has code of its own here, and is faster"
    } else if vectors.name() == "AVX2" {
        "no bf16; a CPU with AVX-512 computes twice as many numbers at once"
    } else {
        "no bf16; a CPU with avx512_bf16 takes about 0.6 of the time with `\"precision\": \"bf16\"`"
    };
    format!("f32 in {}; {advice}", vectors.name())
}

fn gpu() -> String {
    let use_of_gpu = if cfg!(feature = "cuda") {
        "this program computes on one"
    } else {
        "this program does not use one"
    };
    match machine::gpus() {
        None => format!("none with NVIDIA's driver; {use_of_gpu}"),
        Some((driver, gpus)) if gpus.is_empty() => format!("no device ({driver}); {use_of_gpu}"),
        Some((driver, gpus)) => format!("{} ({driver}); {use_of_gpu}", gpus.join(", ")),
    }
}

fn memory() -> String {
    let Some([total, free]) = machine::memory() else {
        return "unknown: the system does not report it".into();
    };
    let limit = match machine::memory_limit() {
        Some(limit) => format!("; the control group's limit is {}", in_gigabytes(limit)),
        None => String::new(),
    };
    format!(
        "{}, {} free{limit}",
        in_gigabytes(total),
        in_gigabytes(free)
    )
}

fn free_space(folder: &str) -> Option<String> {
    let bytes = machine::disk(Path::new(folder))?;
    Some(format!("{} free", in_gigabytes(bytes)))
}

fn in_gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", gigabytes(bytes))
}

/// Compares every file of the sample with its line `HASH  PATH` in BLAKE3SUMS.
///
/// # Errors
/// Names the files that are missing or damaged.
fn check_sample(folder: &Path) -> Result<String, String> {
    let Ok(sums) = std::fs::read_to_string(folder.join("BLAKE3SUMS")) else {
        return Ok("not in this folder; `pipeline new DIR --sample` writes it".into());
    };
    let mut files = 0;
    let mut damaged = vec![];
    for (expected, path) in sums.lines().filter_map(|line| line.split_once("  ")) {
        files += 1;
        let hash = Contents::Files.hash(&folder.join(path)).ok();
        if hash.as_deref() != Some(expected) {
            damaged.push(path);
        }
    }
    if damaged.is_empty() {
        Ok(format!("whole, {files} files"))
    } else {
        let folder = folder.display();
        let damaged = damaged.join(", ");
        Err(format!("missing or damaged in {folder}: {damaged}"))
    }
}
