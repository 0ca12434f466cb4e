//! Lists in Parquet, with the audio in the rows.
use super::Utterances;
use super::audio_table::AudioTable;
use super::utterance::DeclaredLengths;
use crate::Result;
use crate::data::audio::piece::Piece;
use std::path::Path;
use std::sync::Arc;

/// Reads the whole file once. Errors name it.
pub(super) fn read(path: &Path) -> Result<Utterances> {
    let (ids, table) = AudioTable::open(path)?;
    let table = Arc::new(table);
    let mut utterances = Utterances::of_rows(table.clone());
    for (row, id) in ids.iter().enumerate() {
        let declared = DeclaredLengths {
            samples: table.length(row).ok(),
            ..DeclaredLengths::default()
        };
        utterances.push(&id, Piece::default(), declared);
    }
    Ok(utterances)
}
