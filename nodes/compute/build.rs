//! Compiles the kernels of `cuda/all.cu` and writes the Rust functions that launch them.
//!
//! With the feature `cuda` nvcc compiles them to PTX, which the driver compiles for its GPU. With
//! `simulated-gpu` a C++ compiler compiles them for the host, together with a driver that runs them
//! there. With `cuda` and `ci-check` alone only the launchers are written.
#[path = "build/kernels.rs"]
mod kernels;

use kernels::{Source, entry_points, launchers};
use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    for path in ["adamw", "cuda", "op"] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rerun-if-env-changed=CUDA_COMPUTE_CAP");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return Ok(());
    }
    let folder = env::var("OUT_DIR")?;
    let folder = Path::new(&folder);
    write_launchers(folder)?;
    #[cfg(feature = "simulated-gpu")]
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .flag("-w")
        .opt_level(2)
        .include(folder)
        .file("cuda/simulated.cpp")
        .compile("simulated_gpu");
    if env::var_os("CARGO_FEATURE_CI_CHECK").is_some() {
        fs::write(folder.join("kernels.ptx"), "")?;
        return Ok(());
    }
    compile(folder)
}

/// Writes `entries.cuh` and `kernels.rs` for the kernels of all files that `cuda/all.cu` includes.
fn write_launchers(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut sources = Vec::new();
    let mut kernels = Vec::new();
    for line in fs::read_to_string("cuda/all.cu")?.lines() {
        let included = line.strip_prefix("#include \"");
        let Some(included) = included.and_then(|rest| rest.strip_suffix(".cu\"")) else {
            continue;
        };
        let path = match included.strip_prefix("../") {
            Some(path) => format!("{path}.cu"),
            None => format!("cuda/{included}.cu"),
        };
        let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
        let source = Source::new(&path, &text);
        kernels.extend(source.kernels()?);
        sources.push(source);
    }
    fs::write(folder.join("entries.cuh"), entry_points(&kernels))?;
    fs::write(folder.join("kernels.rs"), launchers(&kernels, &sources)?)?;
    Ok(())
}

/// Compiles `cuda/all.cu` to `kernels.ptx`.
fn compile(folder: &Path) -> Result<(), Box<dyn Error>> {
    let capability = env::var("CUDA_COMPUTE_CAP").unwrap_or("80".into());
    let status = std::process::Command::new("nvcc")
        .args(["--ptx", "-lineinfo", "-O3"])
        .arg(format!("--gpu-architecture=compute_{capability}"))
        .arg("-I")
        .arg(folder)
        .arg("-o")
        .args([&*folder.join("kernels.ptx"), Path::new("cuda/all.cu")])
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
