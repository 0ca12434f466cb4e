//! The kernels of `cuda/all.cu`: PTX by nvcc, which the driver compiles for its GPU; with the feature `simulated-gpu`
//! C++, beside a driver of host code; with `ci-check` alone nothing.
use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    for folder in ["adamw", "cuda", "op"] {
        println!("cargo::rerun-if-changed={folder}");
    }
    println!("cargo::rerun-if-env-changed=CUDA_COMPUTE_CAP");
    let ptx = Path::new(&env::var("OUT_DIR")?).join("kernels.ptx");
    #[cfg(feature = "simulated-gpu")]
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .flag("-w")
        .opt_level(2)
        .file("cuda/simulated.cpp")
        .compile("simulated_gpu");
    match (
        env::var_os("CARGO_FEATURE_CUDA"),
        env::var_os("CARGO_FEATURE_CI_CHECK"),
    ) {
        (Some(_), None) => compile(&ptx),
        (Some(_), Some(_)) => Ok(fs::write(&ptx, "")?),
        _ => Ok(()),
    }
}

fn compile(ptx: &Path) -> Result<(), Box<dyn Error>> {
    let capability = env::var("CUDA_COMPUTE_CAP").unwrap_or("80".into());
    let status = std::process::Command::new("nvcc")
        .args([
            "--ptx",
            "-lineinfo",
            "-O3",
            &format!("--gpu-architecture=compute_{capability}"),
            "-o",
        ])
        .args([ptx, Path::new("cuda/all.cu")])
        .status()
        .map_err(|e| {
            format!(
                "nvcc: {e}: install a CUDA toolkit, or see docs/cuda.md for a build without one"
            )
        })?;
    if status.success() {
        Ok(())
    } else {
        Err("nvcc refused the kernels".into())
    }
}
