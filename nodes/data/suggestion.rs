//! "did you mean" hints for misspelt names.

/// Returns "; did you mean `x`?" with the name of `known` that is most similar to `word`, or an
/// empty string if the Jaro-Winkler similarity of none is above 0.8.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let similarity = |name: &str| strsim::jaro_winkler(word, name);
    let best = known
        .into_iter()
        .filter(|name| similarity(name) > 0.8)
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    match best {
        Some(name) => format!("; did you mean `{name}`?"),
        None => String::new(),
    }
}
