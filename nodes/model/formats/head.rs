//! The rows of label embeddings in the order of clusters.
//!
//! fairseq's rows are those of a dictionary: four symbols of its own (beginning, padding, end,
//! unknown), then the clusters in the order in which the dictionary's file lists them.
use crate::data::torch::Value;

/// Symbols that every dictionary of fairseq begins with.
const SPECIAL: [&str; 4] = ["<s>", "<pad>", "</s>", "<unk>"];
/// Beginnings of symbols that fill a dictionary up.
const FILLER: &str = "madeupword";

/// Returns a list of symbols.
pub(super) fn symbols(value: Value) -> Option<Vec<String>> {
    let symbols = value.elements()?.into_iter();
    symbols
        .map(|symbol| symbol.text().map(str::to_owned))
        .collect()
}

/// Returns the row of each class: of cluster k, if the symbols are the numbers of clusters; else the
/// rows of the dictionary without its own symbols, in its order.
///
/// # Errors
/// The dictionary has not as many symbols as there are rows.
pub(in crate::model) fn rows(
    symbols: Option<&[String]>,
    rows: usize,
) -> Result<Vec<usize>, String> {
    let Some(symbols) = symbols else {
        return Ok((SPECIAL.len().min(rows)..rows).collect());
    };
    if symbols.len() != rows {
        return Err(format!(
            "its dictionary has {} symbols, but there are {rows} label embeddings",
            symbols.len()
        ));
    }
    let is_class = |symbol: &str| !SPECIAL.contains(&symbol) && !symbol.starts_with(FILLER);
    let classes: Vec<usize> = (0..rows).filter(|row| is_class(&symbols[*row])).collect();
    let numbers: Option<Vec<usize>> = classes
        .iter()
        .map(|row| symbols[*row].parse().ok())
        .collect();
    let mut by_number = vec![None; classes.len()];
    for (number, row) in numbers.unwrap_or_default().into_iter().zip(&classes) {
        if let Some(place) = by_number.get_mut(number) {
            *place = Some(*row);
        }
    }
    let by_number: Option<Vec<usize>> = by_number.into_iter().collect();
    Ok(by_number.unwrap_or(classes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(words: &str) -> Vec<usize> {
        let symbols: Vec<String> = words.split(' ').map(str::to_owned).collect();
        rows(Some(&symbols), symbols.len()).expect("as many")
    }

    #[test]
    fn a_cluster_is_found_by_its_number() {
        assert_eq!(order("<s> <pad> </s> <unk> 0 1 2"), [4, 5, 6]);
        assert_eq!(
            order("<s> <pad> </s> <unk> 2 0 1 madeupword0000"),
            [5, 6, 4]
        );
        // What is no numbering of clusters keeps the dictionary's order.
        assert_eq!(order("<s> <pad> </s> <unk> AA B"), [4, 5]);
        assert_eq!(order("<s> <pad> </s> <unk> 7 3"), [4, 5]);
        assert_eq!(rows(None, 6).expect("four are special"), [4, 5]);
        let error = rows(Some(&["<s>".into()]), 3).expect_err("fewer");
        assert_eq!(
            error,
            "its dictionary has 1 symbols, but there are 3 label embeddings"
        );
    }
}
