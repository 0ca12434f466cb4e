//! An upstream of s3prl: `upstream/NAME` with a module that needs PyTorch alone, the weights beside.
use super::compare::describe_difference;
use super::heads::Heads;
use super::huggingface::{ENCODER, write_weights};
use crate::Result;
use crate::data::file::{self, GrowingFolder};
use crate::model::{Model, UnknownKeys};
use serde_json::json;
use std::io::Write;
use std::path::Path;

const EXPERT: &str = include_str!("python/expert.py");
const HUBCONF: &str = include_str!("python/hubconf.py");
/// Words that cannot be names in Python.
const KEYWORDS: [&str; 32] = [
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif",
    "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda",
    "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// Writes the upstream, which returns `layers` or the outputs of the heads in a file.
pub(super) fn write(
    model: &Model,
    layers: &[usize],
    heads: Option<&Path>,
    out: &Path,
    mut say: impl FnMut(&str),
) -> Result<String> {
    let a = &model.architecture;
    let (_, rate) = a.window_and_hop();
    let heads = heads.map(|path| Heads::read(path, a)).transpose()?;
    match &heads {
        Some(heads) => heads.caveats(a).iter().for_each(|caveat| say(caveat)),
        None if a.time_reduction > 1 => say(&format!(
            "layers from 1 have a frame every {} samples, but s3prl is told {rate}: give \
             `--heads`, whose outputs have a frame every {rate}",
            a.time_reduction * rate
        )),
        None => {}
    }
    let name = upstream_name(out);
    let prefix = format!("upstream/{name}/");
    let readme = readme(&name);
    let mut folder = GrowingFolder::create(out, "README.md", readme.as_bytes())?;
    folder.create_folder(&prefix)?;
    let outputs = json!({
        "layers": layers,
        "groups": heads.as_ref().map(|heads| &heads.groups),
        "downsample_rate": rate,
        "normalize_epsilon": model.normalize_epsilon,
    });
    for (file_name, text) in [
        ("config.json", format!("{:#}\n", a.to_config())),
        ("outputs.json", format!("{outputs:#}\n")),
        ("expert.py", format!("{ENCODER}{EXPERT}")),
        ("hubconf.py", HUBCONF.replace("NAME", &name)),
    ] {
        folder.write(&format!("{prefix}{file_name}"), |file| {
            file.write_all(text.as_bytes())
        })?;
    }
    write_weights(&mut folder, &prefix, model)?;
    if let Some(heads) = &heads {
        folder.write(&format!("{prefix}heads.safetensors"), |file| {
            file::write_tensors(file, &heads.tensors(), heads.metadata())
        })?;
    }
    folder.finish()?;
    let mut read = Model::load(&out.join(prefix), UnknownKeys::REFUSE)?;
    read.normalize_epsilon = model.normalize_epsilon; // of outputs.json
    describe_difference(model, &read)
}

/// Returns the folder's name as a name of Python's.
fn upstream_name(out: &Path) -> String {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let name: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    let begins_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    if begins_well && !KEYWORDS.contains(&name.as_str()) {
        name
    } else {
        format!("student_{name}")
    }
}

fn readme(name: &str) -> String {
    format!(
        "# Upstream `{name}`\n\n\
         Copy `upstream/{name}` into `s3prl/upstream/` and add a line to `s3prl/hub.py`:\n\n    \
         from s3prl.upstream.{name}.hubconf import *\n\n\
         Then `run_downstream.py -u {name}` uses it. Without s3prl:\n\n    \
         from upstream.{name}.expert import UpstreamExpert\n    \
         states = UpstreamExpert()([waveform])[\"hidden_states\"]\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_of_python() {
        for (out, name) in [
            ("out/ARM-student", "arm_student"),
            ("2by6", "student_2by6"),
            ("out/class", "student_class"),
            ("..", "student_"),
        ] {
            assert_eq!(upstream_name(Path::new(out)), name);
        }
    }
}
