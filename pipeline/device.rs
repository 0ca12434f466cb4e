//! `--device`: what computes. A graph never names it.

/// The CPU, or why a GPU cannot be had.
pub fn known(text: &str) -> Result<String, String> {
    let gpu =
        text.strip_prefix("cuda").and_then(|rest| if rest.is_empty() { Some("0") } else { rest.strip_prefix(':') });
    match gpu.map(str::parse::<u16>) {
        None if text == "cpu" => Ok(text.into()),
        Some(Ok(_)) if cfg!(feature = "cuda") => {
            Err("the ops have CUDA forms, but no node uses them yet: docs/cuda.md says what a run lacks".into())
        }
        Some(Ok(_)) => Err("this build computes on the CPU; docs/cuda.md says how to build for a GPU".into()),
        _ => Err("write cpu, or cuda, or cuda:1 for the second GPU".into()),
    }
}
