//! Hints for names that this program does not know: "did you mean" for misspelt ones, and ours for
//! those of other toolkits.
mod other_toolkits;

pub use other_toolkits::{option_elsewhere, variant_elsewhere};

/// Returns "; did you mean `x`?" with the name of `known` that is most similar to `word`, or an
/// empty string if the Jaro-Winkler similarity of none is above 0.8.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match most_similar(word, known) {
        Some(name) => format!("; did you mean `{name}`?"),
        None => String::new(),
    }
}

/// Returns the name of `known` that is most similar to `word`, if its similarity is above 0.8.
pub fn most_similar<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let similarity = |name: &str| strsim::jaro_winkler(word, name);
    known
        .into_iter()
        .filter(|name| similarity(name) > 0.8)
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
}

/// Returns the hint for an unknown option among `known`: the name here of an option of other
/// toolkits, or else the most similar one.
pub fn option_hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match option_elsewhere(word) {
        Some(here) => format!("; {here}"),
        None => suggestion(word, known),
    }
}

/// Returns the hint for an unknown value of an option with these `variants`, as [`option_hint`].
pub fn variant_hint(word: &str, variants: &[&str]) -> String {
    match variant_elsewhere(word, variants) {
        Some(here) => format!("; {here}"),
        None => suggestion(word, variants.iter().copied()),
    }
}
