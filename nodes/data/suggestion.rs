//! The word that somebody may have meant.

/// `; did you mean `x`?`, or nothing.
pub fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let likeness = |k: &str| strsim::jaro_winkler(word, k);
    let close = known.into_iter().filter(|k| likeness(k) > 0.8);
    let best = close.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    best.map_or(String::new(), |k| format!("; did you mean `{k}`?"))
}
