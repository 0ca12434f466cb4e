//! `--device`: what computes. A build computes either on the CPU or on GPUs, and a graph names
//! neither.
use crate::ending::CommandError;
#[cfg(feature = "cuda")]
use crate::ranks;
use std::num::ParseIntError;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Device that computes: cpu; in a build for GPUs cuda, or cuda:1 for the second GPU. Under
    /// mpirun, cuda is another GPU for each process of a machine
    #[arg(long, value_name = "DEVICE", default_value = DEFAULT, value_parser = parse_device)]
    device: String,
}

const DEFAULT: &str = if cfg!(feature = "cuda") {
    "cuda"
} else {
    "cpu"
};

/// Returns `text` if this build has the device that it names.
fn parse_device(text: &str) -> Result<String, &'static str> {
    match gpu_number(text) {
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

/// Returns the number of a GPU: 0 for `cuda`, N for `cuda:N`; `None` if `text` names no GPU.
fn gpu_number(text: &str) -> Option<Result<u16, ParseIntError>> {
    let suffix = text.strip_prefix("cuda")?;
    if suffix.is_empty() {
        return Some(Ok(0));
    }
    Some(suffix.strip_prefix(':')?.parse())
}

impl Arguments {
    /// Selects the device for the rest of the process and returns its name, for run.json.
    pub(crate) fn choose(&self) -> Result<String, CommandError> {
        #[cfg(feature = "cuda")]
        if let Some(Ok(number)) = gpu_number(&self.device) {
            let number = match self.device.as_str() {
                "cuda" => ranks::number_on_host(),
                _ => number.into(),
            };
            compute::cuda::gpu::choose(number)
                .map_err(|error| CommandError::Usage(error.to_string()))?;
        }
        Ok(self.device.clone())
    }
}

/// Starts the measurement of [`peak_bytes`] again.
pub(crate) fn reset_peak() {
    #[cfg(feature = "cuda")]
    compute::cuda::gpu::gpu().reset_peak();
}

/// Returns the largest number of bytes of GPU memory in use at once; `None` on the CPU.
pub(crate) fn peak_bytes() -> Option<u64> {
    #[cfg(feature = "cuda")]
    return Some(compute::cuda::gpu::gpu().peak_bytes());
    #[cfg(not(feature = "cuda"))]
    None
}
