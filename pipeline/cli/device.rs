//! `--device`: what computes. A build has the CPU or GPUs, and a graph never names either.
use crate::Failure;
use std::num::ParseIntError;

#[derive(clap::Args)]
pub struct Arguments {
    /// What computes: cpu, or in a build for GPUs cuda, or cuda:1 for the second
    #[arg(long, value_name = "DEVICE", default_value = HERE, value_parser = known)]
    device: String,
}

const HERE: &str = if cfg!(feature = "cuda") {
    "cuda"
} else {
    "cpu"
};

/// The text, or why this build does not have what it names.
fn known(text: &str) -> Result<String, &'static str> {
    match gpu(text) {
        None if text != "cpu" => Err("write cpu, or cuda, or cuda:1 for the second GPU"),
        Some(Err(_)) => Err("write cpu, or cuda, or cuda:1 for the second GPU"),
        None if cfg!(feature = "cuda") => {
            Err("this build computes on a GPU; one without the feature `cuda` does not")
        }
        Some(_) if !cfg!(feature = "cuda") => {
            Err("this build computes on the CPU; docs/cuda.md says how to build for a GPU")
        }
        _ => Ok(text.into()),
    }
}

/// The number of a GPU; None of what is none.
fn gpu(text: &str) -> Option<Result<u16, ParseIntError>> {
    let rest = text.strip_prefix("cuda")?;
    Some(if rest.is_empty() {
        Ok(0)
    } else {
        rest.strip_prefix(':')?.parse()
    })
}

impl Arguments {
    /// From now on this computes. The text, for whoever reads of the run.
    pub fn choose(&self) -> Result<String, Failure> {
        #[cfg(feature = "cuda")]
        if let Some(Ok(number)) = gpu(&self.device) {
            compute::cuda::gpu::choose(number.into()).map_err(|e| Failure::Usage(e.to_string()))?;
        }
        Ok(self.device.clone())
    }
}

/// Begins [`peak_bytes`] anew.
pub fn forget_peak() {
    #[cfg(feature = "cuda")]
    compute::cuda::gpu::gpu().forget_peak();
}

/// The most bytes of the GPU's memory in use at once; None where the CPU computes.
pub fn peak_bytes() -> Option<u64> {
    #[cfg(feature = "cuda")]
    return Some(compute::cuda::gpu::gpu().peak_bytes());
    #[cfg(not(feature = "cuda"))]
    None
}
