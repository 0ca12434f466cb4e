//! Compiles the kernels of `cuda/all.cu` and writes the Rust functions that launch them.
//!
//! With the feature `cuda` nvcc compiles them for the usual GPUs, and to PTX for others. With
//! `simulated-gpu` a C++ compiler compiles them for the host, together with a driver that runs them
//! there. With `cuda` and `ci-check` alone only the launchers are written.
#[path = "build/kernels.rs"]
mod kernels;

use kernels::{Source, entry_points, launchers};
use std::process::Command;
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
        fs::write(folder.join("kernels.fatbin"), "")?;
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

/// Architectures whose machine code is always made: those of A100 and H100.
const ARCHITECTURES: [&str; 2] = ["80", "90"];

/// Compiles `cuda/all.cu` to `kernels.fatbin`: machine code of the usual GPUs and of
/// `CUDA_COMPUTE_CAP`, and PTX for later ones.
fn compile(folder: &Path) -> Result<(), Box<dyn Error>> {
    println!(
        "cargo::rustc-env=CUDA_TOOLKIT_RELEASE={}",
        toolkit_release()?
    );
    let mut architectures = ARCHITECTURES.map(str::to_owned).to_vec();
    if let Ok(own) = env::var("CUDA_COMPUTE_CAP")
        && !architectures.contains(&own)
    {
        architectures.push(own);
    }
    let machine_code = architectures
        .iter()
        .map(|architecture| format!("arch=compute_{architecture},code=sm_{architecture}"));
    let ptx = "arch=compute_80,code=compute_80".to_owned();
    let targets = machine_code
        .chain([ptx])
        .flat_map(|target| ["-gencode".to_owned(), target]);
    let status = Command::new("nvcc")
        .args(["--fatbin", "-lineinfo", "-O3", "--threads", "0"])
        .args(targets)
        .arg("-I")
        .arg(folder)
        .arg("-o")
        .args([&*folder.join("kernels.fatbin"), Path::new("cuda/all.cu")])
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err("nvcc refused the kernels".into())
    }
}

/// Returns the release of nvcc, such as 13.0.
fn toolkit_release() -> Result<String, Box<dyn Error>> {
    let output = Command::new("nvcc")
        .arg("--version")
        .output()
        .map_err(|e| {
            format!(
                "nvcc: {e}: install a CUDA toolkit, or see docs/cuda.md for a build without one"
            )
        })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let release = text
        .split("release ")
        .nth(1)
        .and_then(|rest| rest.split(',').next());
    Ok(release.ok_or("nvcc --version names no release")?.to_owned())
}
