//! `pipeline --version`: the version, and what decides how this program computes.
use compute::gemm::{Precision, has_tiles};
use compute::parallel::Vectors;
use std::env::consts::{ARCH, OS};

/// The features of a build that change what it computes on, or what it reads.
const FEATURES: [(&str, bool); 6] = [
    ("cuda", cfg!(feature = "cuda")),
    ("hub", cfg!(feature = "hub")),
    ("mpi", cfg!(feature = "mpi")),
    ("nccl", cfg!(feature = "nccl")),
    ("simulated-gpu", cfg!(feature = "simulated-gpu")),
    ("store", cfg!(feature = "store")),
];

/// Describes version, commit, features, and the code that this CPU runs.
pub(crate) fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let commit = env!("PIPELINE_COMMIT");
    let features: Vec<&str> = FEATURES
        .into_iter()
        .filter_map(|(name, is_on)| is_on.then_some(name))
        .collect();
    let features = match features.as_slice() {
        [] => "none".to_owned(),
        names => names.join(" "),
    };
    let cpu = cpu();
    format!("{version}\ncommit {commit}\nfeatures {features}\nCPU {ARCH} {OS}, {cpu}")
}

/// Names the code for matrix products that this CPU runs.
fn cpu() -> String {
    let bf16 = match Precision::Bf16.on_cpu() {
        Precision::Bf16 if has_tiles() => "bf16 products in AMX",
        Precision::Bf16 => "bf16 products",
        _ => "no bf16 products",
    };
    format!("f32 in {}, {bf16}", Vectors::detect().name())
}
