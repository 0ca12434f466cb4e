//! `pipeline doctor`: what this machine and this folder have. The exit code is 1 if a file of the sample is damaged.
use crate::table::columns;
use crate::{Outcome, print};
use compute::gemm::Precision;
use compute::parallel::Vectors;
use pipeline::run::threads;
use pipeline::run::{data, machine};
use std::path::Path;

#[derive(clap::Args)]
pub struct Arguments {}

impl Arguments {
    pub fn run(self) -> Outcome {
        let (sample, broken) = sample(Path::new("data/sample"));
        let about = [
            ("version", version()),
            ("cores", cores()),
            ("instructions", instructions()),
            ("products", products()),
            ("GPU", gpu()),
            ("memory", memory()),
            (
                "disk",
                disk(".").unwrap_or("the system does not tell".into()),
            ),
            (
                "cache",
                disk("data/cache").map_or("none here".into(), |free| format!("data/cache, {free}")),
            ),
            ("sample", sample),
        ];
        let rows: Vec<Vec<String>> = about
            .into_iter()
            .map(|(what, says)| vec![what.to_owned(), says])
            .collect();
        print(&columns(&rows))?;
        Ok(i32::from(broken))
    }
}

fn version() -> String {
    use std::env::consts::{ARCH, OS};
    let device = if cfg!(feature = "cuda") {
        "a GPU"
    } else {
        "the CPU"
    };
    format!(
        "{} for {ARCH} {OS}, computes on {device}",
        env!("CARGO_PKG_VERSION")
    )
}

fn cores() -> String {
    let all = std::thread::available_parallelism().map_or(1, |n| n.get());
    match threads() {
        used if used < all => {
            format!("{all}, {used} in use: RAYON_NUM_THREADS leaves the others idle")
        }
        used => format!("{all}, {used} threads in use"),
    }
}

/// Those that this program has code for.
fn instructions() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! found {
            ($($name:tt)*) => {
                [$(($name, is_x86_feature_detected!($name))),*]
            };
        }
        let all = found!["avx2" "fma" "avx512f" "avx512bw" "avx512dq" "avx512vl" "avx512bf16"];
        let of = |there: bool| {
            all.iter()
                .filter(|(_, t)| *t == there)
                .map(|(name, _)| *name)
                .collect::<Vec<_>>()
                .join(" ")
        };
        match of(false) {
            missing if missing.is_empty() => of(true),
            missing => format!("{} (not here: {missing})", of(true)),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    "none of this machine's in particular".into()
}

/// How matrix products are computed, and what another machine would change.
fn products() -> String {
    let (vectors, bf16) = (Vectors::here(), Precision::Bf16.on_cpu() == Precision::Bf16);
    let buys = match (vectors, bf16) {
        (_, true) => {
            "bf16 with `\"precision\": \"bf16\"`, which takes about 0.6 of the time of f32"
        }
        (Vectors::Plain, _) => {
            "no bf16; an x86-64 CPU with AVX2 or AVX-512 has code of its own here, and is faster"
        }
        _ if vectors.name() == "AVX2" => {
            "no bf16; a CPU with AVX-512 computes twice as many numbers at once"
        }
        _ => {
            "no bf16; a CPU with avx512_bf16 takes about 0.6 of the time with `\"precision\": \"bf16\"`"
        }
    };
    format!("f32 in {}; {buys}", vectors.name())
}

fn gpu() -> String {
    let uses = if cfg!(feature = "cuda") {
        "computes on one"
    } else {
        "does not use one"
    };
    match machine::gpus() {
        None => format!("none with NVIDIA's driver; this program {uses}"),
        Some((driver, gpus)) => {
            let names = if gpus.is_empty() {
                "no device".into()
            } else {
                gpus.join(", ")
            };
            format!("{names} ({driver}); this program {uses}")
        }
    }
}

fn memory() -> String {
    let Some([all, free]) = machine::memory() else {
        return "the system does not tell".into();
    };
    let limit = machine::memory_limit();
    let limit = limit.map_or(String::new(), |limit| {
        format!("; the control group's limit is {}", gigabytes(limit))
    });
    format!("{}, {} free{limit}", gigabytes(all), gigabytes(free))
}

fn disk(folder: &str) -> Option<String> {
    machine::disk(Path::new(folder)).map(|free| format!("{} free", gigabytes(free)))
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// Whether every file is as its BLAKE3SUMS says (`hash  path` a line), and whether one is not.
fn sample(folder: &Path) -> (String, bool) {
    let Ok(sums) = std::fs::read_to_string(folder.join("BLAKE3SUMS")) else {
        return (
            "not in this folder; it is `data/sample` of the project's repository".into(),
            false,
        );
    };
    let files: Vec<(&str, &str)> = sums
        .lines()
        .filter_map(|line| line.split_once("  "))
        .collect();
    let wrong = |(hash, path): &&(&str, &str)| {
        data::hash(&folder.join(path)).ok().as_deref() != Some(*hash)
    };
    let damaged: Vec<&str> = files.iter().filter(wrong).map(|(_, path)| *path).collect();
    match damaged.is_empty() {
        true => (format!("whole, {} files", files.len()), false),
        false => (
            format!(
                "missing or damaged in {}: {}",
                folder.display(),
                damaged.join(", ")
            ),
            true,
        ),
    }
}
