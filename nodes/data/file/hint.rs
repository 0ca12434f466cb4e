//! What to do about a path at which nothing is.
use std::path::Path;

/// Returns a hint, in parentheses, for the error that nothing is at `path`: for the sample files of
/// the shipped graphs, and for names of models on the Hugging Face hub. Empty for other paths.
pub fn hint(path: &str) -> String {
    if path.starts_with("data/sample") {
        return " (`pipeline new DIR --sample` writes it; paths are relative to the working directory)"
            .to_owned();
    }
    if is_hub_name(path) {
        return format!(
            " (if it is a model on the Hugging Face hub, this makes the folder: `hf \
             download {path} --local-dir {path}`, or `pipeline fetch {path} --out {path}` if it was \
             downloaded before)"
        );
    }
    String::new()
}

/// Names of folders that people keep models in, which own nothing on the hub.
const LOCAL: [&str; 9] = [
    "checkpoints",
    "ckpt",
    "data",
    "exp",
    "graphs",
    "model",
    "models",
    "out",
    "runs",
];

/// Whether a path may be the name of a model on the hub, `owner/name`, and no local folder is called
/// as the owner.
fn is_hub_name(path: &str) -> bool {
    let is_name = |name: &str| {
        let mut letters = name.chars();
        letters.next().is_some_and(|c| c.is_ascii_alphanumeric())
            && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    match path.split_once('/') {
        Some((owner, name)) => {
            let is_local = LOCAL.contains(&owner) || Path::new(owner).exists();
            is_name(owner) && is_name(name) && !is_local
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_hub_are_told_from_paths() {
        let said = hint("facebook/hubert-base-ls960");
        let command = "`hf download facebook/hubert-base-ls960 --local-dir \
                       facebook/hubert-base-ls960`";
        assert!(said.contains(command), "{said}");
        for path in [
            "hubert",
            "/models/hubert",
            "./models/hubert",
            "../hubert",
            "models/hubert/base",
            "models/hubert",
            "my/hubert base",
            "",
        ] {
            assert_eq!(hint(path), "", "{path}");
        }
        // Tests run in the folder of their crate.
        assert!(Path::new("compute").exists() && !is_hub_name("compute/hubert"));
        assert!(hint("data/sample/teacher").contains("`pipeline new DIR --sample`"));
    }
}
