//! The columns of the batches that nodes exchange, and conversions between Arrow arrays and slices.
use crate::Result;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, ListArray, RecordBatch, StringArray,
    UInt32Array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Float32Type, UInt32Type, UInt64Type};
use std::ops::Range;
use std::sync::Arc;

/// A column, identified by its name.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Column {
    pub name: &'static str,
}

/// The utterance's id in its manifest: text.
pub const ID: Column = Column { name: "id" };
/// The waveform at 16 kHz: a list of f32.
pub const SAMPLES: Column = Column { name: "samples" };
/// The number of the deterministic crop of the utterance: u64.
pub const VIEW: Column = Column { name: "view" };
/// Log-mel frames or cepstra, (frames, width) row-major: a list of f32.
pub const FEATURES: Column = Column { name: "features" };
/// Whether each 20 ms frame is masked: a list of booleans.
pub const MASK: Column = Column { name: "mask" };
/// The number of 20 ms frames of the row: u32.
pub const FRAMES: Column = Column { name: "frames" };
/// The teacher's hidden states, (frames, width) row-major of each layer: a list of lists of f32.
pub const HIDDEN: Column = Column { name: "hidden" };
/// The attention map of each layer, averaged over its heads, (frames, frames) row-major: a list of
/// lists of f32.
pub const MAP: Column = Column { name: "maps" };
/// The cluster of each 20 ms frame: a list of u32.
pub const LABEL: Column = Column { name: "labels" };
/// What is said in the whole utterance, a number for each unit: a list of u32.
pub const SEQUENCE: Column = Column { name: "sequence" };
/// The update at which a metric was measured: u64.
pub const STEP: Column = Column { name: "step" };
/// The epoch in which a metric was measured: u64.
pub const EPOCH: Column = Column { name: "epoch" };
/// The metric's name: text.
pub const NAME: Column = Column { name: "name" };
/// The metric's value: f32.
pub const VALUE: Column = Column { name: "value" };

/// The columns that `decode` sends.
pub const SPEECH: &[Column] = &[ID, SAMPLES, VIEW];
/// The columns that `fbank` sends.
pub const FBANK: &[Column] = &[ID, FEATURES, VIEW];
/// The columns that `mask` sends.
pub const MASKS: &[Column] = &[ID, MASK, VIEW];
/// The columns that `teacher` sends.
pub const TARGETS: &[Column] = &[ID, FRAMES, HIDDEN];
/// The columns that `teacher` sends on `maps`.
pub const MAPS: &[Column] = &[ID, FRAMES, MAP];
/// The columns that `label` and `label-file` send.
pub const LABELS: &[Column] = &[ID, FRAMES, LABEL];
/// The columns that `transcripts` sends.
pub const SEQUENCES: &[Column] = &[ID, SEQUENCE];
/// The columns that `optimize` sends.
pub const METRICS: &[Column] = &[STEP, EPOCH, NAME, VALUE];

/// Builds a batch of these columns, in this order.
pub fn batch(columns: Vec<(Column, ArrayRef)>) -> Result<RecordBatch> {
    let columns = columns
        .into_iter()
        .map(|(column, array)| (column.name, array));
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn list_item(kind: DataType) -> Arc<Field> {
    Arc::new(Field::new_list_field(kind, false))
}

/// Splits `values` into one list per row, of `lengths` values each, without a copy.
pub fn list(values: Vec<f32>, lengths: impl IntoIterator<Item = usize>) -> Result<ListArray> {
    if values.len() > i32::MAX as usize {
        let message = "a batch has more numbers than a column holds; lower `seconds_per_batch`";
        return Err(message.into());
    }
    let values = Float32Array::new(ScalarBuffer::from(values), None);
    Ok(ListArray::new(
        list_item(DataType::Float32),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(values),
        None,
    ))
}

/// Splits `values` into `layers` lists per row; `lengths[row * layers + layer]` is the length of a
/// layer's list.
pub fn list_by_layer(
    values: Vec<f32>,
    lengths: impl IntoIterator<Item = usize>,
    rows: usize,
    layers: usize,
) -> Result<ListArray> {
    let lists = list(values, lengths)?;
    Ok(ListArray::new(
        list_item(lists.data_type().clone()),
        OffsetBuffer::from_lengths(std::iter::repeat_n(layers, rows)),
        Arc::new(lists),
        None,
    ))
}

/// Builds one list of booleans per row.
pub fn flag_lists(rows: &[Vec<bool>]) -> ListArray {
    ListArray::new(
        list_item(DataType::Boolean),
        OffsetBuffer::from_lengths(rows.iter().map(Vec::len)),
        Arc::new(BooleanArray::from(rows.concat())),
        None,
    )
}

/// Splits `labels` into one list per row, of `lengths` labels each, without a copy.
pub fn label_lists(labels: Vec<u32>, lengths: impl IntoIterator<Item = usize>) -> ListArray {
    let values = UInt32Array::new(ScalarBuffer::from(labels), None);
    ListArray::new(
        list_item(DataType::UInt32),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(values),
        None,
    )
}

/// Returns a column's array, or an error if the batch does not have the column.
pub fn get(batch: &RecordBatch, column: Column) -> Result<&ArrayRef> {
    batch
        .column_by_name(column.name)
        .ok_or_else(|| format!("a batch has no column `{}`", column.name).into())
}

/// Returns a column of text.
pub fn texts(batch: &RecordBatch, column: Column) -> Result<&StringArray> {
    Ok(get(batch, column)?
        .as_string_opt::<i32>()
        .ok_or("a column of text holds something else")?)
}

/// Returns the values of a column of u32.
pub fn u32s(batch: &RecordBatch, column: Column) -> Result<&[u32]> {
    let array = get(batch, column)?
        .as_primitive_opt::<UInt32Type>()
        .ok_or("a column of u32 holds something else")?;
    Ok(array.values())
}

/// Returns the values of a column of u64.
pub fn u64s(batch: &RecordBatch, column: Column) -> Result<&[u64]> {
    let array = get(batch, column)?
        .as_primitive_opt::<UInt64Type>()
        .ok_or("a column of u64 holds something else")?;
    Ok(array.values())
}

/// Returns a copy of each row's list of booleans.
pub fn flags_by_row(batch: &RecordBatch, column: Column) -> Result<Vec<Vec<bool>>> {
    let lists = lists(batch, column)?;
    let flags = lists
        .values()
        .as_boolean_opt()
        .ok_or("a list of flags holds something else")?;
    let row = |row| range(lists, row).map(|i| flags.value(i)).collect();
    Ok((0..lists.len()).map(row).collect())
}

/// Returns each row's list of u32, without a copy.
pub fn labels_by_row(batch: &RecordBatch, column: Column) -> Result<Vec<&[u32]>> {
    let lists = lists(batch, column)?;
    let labels = lists
        .values()
        .as_primitive_opt::<UInt32Type>()
        .ok_or("a list of labels holds something else")?;
    let row = |row| &labels.values()[range(lists, row)];
    Ok((0..lists.len()).map(row).collect())
}

/// Returns each row's list of f32, without a copy.
pub fn floats_by_row(batch: &RecordBatch, column: Column) -> Result<Vec<&[f32]>> {
    (0..batch.num_rows())
        .map(|row| floats(batch, column, row))
        .collect()
}

/// Returns the list of f32 of row `row`, without a copy.
pub fn floats(batch: &RecordBatch, column: Column, row: usize) -> Result<&[f32]> {
    float_list(lists(batch, column)?, row)
}

/// Returns the list of f32 of row `row` and the layer with the index `layer` in the batch, without
/// a copy.
pub fn floats_of_layer(
    batch: &RecordBatch,
    column: Column,
    row: usize,
    layer: usize,
) -> Result<&[f32]> {
    let rows = lists(batch, column)?;
    let layers = range(rows, row);
    let list = layers.start + layer;
    if list >= layers.end {
        return Err(format!("a row has no layer at place {layer}").into());
    }
    let lists = rows
        .values()
        .as_list_opt::<i32>()
        .ok_or("a column of lists of lists holds something else")?;
    float_list(lists, list)
}

fn lists(batch: &RecordBatch, column: Column) -> Result<&ListArray> {
    Ok(get(batch, column)?
        .as_list_opt::<i32>()
        .ok_or("a column of lists holds something else")?)
}

fn float_list(lists: &ListArray, list: usize) -> Result<&[f32]> {
    let floats = lists
        .values()
        .as_primitive_opt::<Float32Type>()
        .ok_or("a list of floats holds something else")?;
    Ok(&floats.values()[range(lists, list)])
}

/// Returns the range that a list takes of the values of all lists.
fn range(lists: &ListArray, list: usize) -> Range<usize> {
    let offsets = lists.value_offsets();
    offsets[list] as usize..offsets[list + 1] as usize
}
