//! Columns of the batches, one constant each, and the way between them and plain slices.
use crate::Result;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch, StringArray, UInt32Array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Float32Type, UInt32Type, UInt64Type};
use std::sync::Arc;

/// A column by its name; the functions below say what it holds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Column {
    pub name: &'static str,
}

/// What the manifest calls the utterance.
pub const ID: Column = Column { name: "id" };
/// The waveform at 16 kHz.
pub const SAMPLES: Column = Column { name: "samples" };
/// Which deterministic crop of the utterance this is.
pub const VIEW: Column = Column { name: "view" };
/// Log-mel frames or cepstra, frames x width, row-major.
pub const FEATURES: Column = Column { name: "features" };
/// Which 20 ms frames are masked.
pub const MASK: Column = Column { name: "mask" };
/// How many 20 ms frames the row has.
pub const FRAMES: Column = Column { name: "frames" };
/// The teacher's hidden states.
pub const HIDDEN: Column = Column { name: "hidden" };
/// The cluster of each 20 ms frame.
pub const LABEL: Column = Column { name: "labels" };
pub const STEP: Column = Column { name: "step" };
pub const EPOCH: Column = Column { name: "epoch" };
pub const NAME: Column = Column { name: "name" };
pub const VALUE: Column = Column { name: "value" };

/// What `decode` sends.
pub const SPEECH: &[Column] = &[ID, SAMPLES, VIEW];
/// What `fbank` sends.
pub const FBANK: &[Column] = &[ID, FEATURES, VIEW];
/// What `mask` sends.
pub const MASKS: &[Column] = &[ID, MASK, VIEW];
/// What `teacher` sends.
pub const TARGETS: &[Column] = &[ID, FRAMES, HIDDEN];
/// What `label` sends.
pub const LABELS: &[Column] = &[ID, FRAMES, LABEL];
/// What `optimize` sends.
pub const METRICS: &[Column] = &[STEP, EPOCH, NAME, VALUE];

pub fn get(batch: &RecordBatch, column: Column) -> Result<&ArrayRef> {
    batch
        .column_by_name(column.name)
        .ok_or_else(|| format!("a batch has no column `{}`", column.name).into())
}

fn item(kind: DataType) -> Arc<Field> {
    Arc::new(Field::new_list_field(kind, false))
}

/// One list a row, of `lengths` numbers each, taken from `values` without a copy.
pub fn list(values: Vec<f32>, lengths: impl IntoIterator<Item = usize>) -> Result<ListArray> {
    if values.len() > i32::MAX as usize {
        return Err(
            "a batch has more numbers than a column holds; lower `seconds_per_batch`".into(),
        );
    }
    let values = arrow::array::Float32Array::new(ScalarBuffer::from(values), None);
    Ok(ListArray::new(
        item(DataType::Float32),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(values),
        None,
    ))
}

/// One list of `layers` lists a row: `lists[row * layers + layer]`.
pub fn list_by_layer(
    values: Vec<f32>,
    lengths: impl IntoIterator<Item = usize>,
    rows: usize,
    layers: usize,
) -> Result<ListArray> {
    let inner = list(values, lengths)?;
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(layers, rows));
    Ok(ListArray::new(
        item(inner.data_type().clone()),
        offsets,
        Arc::new(inner),
        None,
    ))
}

/// One list of flags a row.
pub fn flag_lists(rows: &[Vec<bool>]) -> ListArray {
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(Vec::len));
    ListArray::new(
        item(DataType::Boolean),
        offsets,
        Arc::new(BooleanArray::from(rows.concat())),
        None,
    )
}

/// One list a row, of `lengths` labels each.
pub fn label_lists(labels: Vec<u32>, lengths: impl IntoIterator<Item = usize>) -> ListArray {
    let values = UInt32Array::new(ScalarBuffer::from(labels), None);
    ListArray::new(
        item(DataType::UInt32),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(values),
        None,
    )
}

pub fn batch(columns: Vec<(Column, ArrayRef)>) -> Result<RecordBatch> {
    Ok(RecordBatch::try_from_iter(
        columns.into_iter().map(|(c, a)| (c.name, a)),
    )?)
}

pub fn texts(batch: &RecordBatch, column: Column) -> Result<&StringArray> {
    Ok(get(batch, column)?
        .as_string_opt::<i32>()
        .ok_or("a column of text holds something else")?)
}

pub fn u32s(batch: &RecordBatch, column: Column) -> Result<&[u32]> {
    let array = get(batch, column)?
        .as_primitive_opt::<UInt32Type>()
        .ok_or("a column of u32 holds something else")?;
    Ok(array.values())
}

pub fn u64s(batch: &RecordBatch, column: Column) -> Result<&[u64]> {
    let array = get(batch, column)?
        .as_primitive_opt::<UInt64Type>()
        .ok_or("a column of u64 holds something else")?;
    Ok(array.values())
}

/// The flags of each row.
pub fn flags_by_row(batch: &RecordBatch, column: Column) -> Result<Vec<Vec<bool>>> {
    let lists = get(batch, column)?
        .as_list_opt::<i32>()
        .ok_or("a column of lists holds something else")?;
    let flags = lists
        .values()
        .as_boolean_opt()
        .ok_or("a list of flags holds something else")?;
    let row = |at: &[i32]| {
        (at[0] as usize..at[1] as usize)
            .map(|i| flags.value(i))
            .collect()
    };
    Ok(lists.value_offsets().windows(2).map(row).collect())
}

/// The labels of each row, where they lie.
pub fn labels_by_row(batch: &RecordBatch, column: Column) -> Result<Vec<&[u32]>> {
    let lists = get(batch, column)?
        .as_list_opt::<i32>()
        .ok_or("a column of lists holds something else")?;
    let labels = lists
        .values()
        .as_primitive_opt::<UInt32Type>()
        .ok_or("a list of labels holds something else")?;
    Ok(lists
        .value_offsets()
        .windows(2)
        .map(|at| &labels.values()[at[0] as usize..at[1] as usize])
        .collect())
}

/// The numbers of each row, where they lie.
pub fn floats_by_row(batch: &RecordBatch, column: Column) -> Result<Vec<&[f32]>> {
    (0..batch.num_rows())
        .map(|row| floats(batch, column, row))
        .collect()
}

/// The numbers of row `row`, where they lie.
pub fn floats(batch: &RecordBatch, column: Column, row: usize) -> Result<&[f32]> {
    slice(
        get(batch, column)?
            .as_list_opt::<i32>()
            .ok_or("a column of lists holds something else")?,
        row,
    )
}

/// The numbers of row `row` and the `layer`-th of its layers, where they lie.
pub fn floats_of_layer(
    batch: &RecordBatch,
    column: Column,
    row: usize,
    layer: usize,
) -> Result<&[f32]> {
    let outer = get(batch, column)?
        .as_list_opt::<i32>()
        .ok_or("a column of lists holds something else")?;
    let at = outer.value_offsets()[row] as usize + layer;
    if at >= outer.value_offsets()[row + 1] as usize {
        return Err(format!("a row has no layer at place {layer}").into());
    }
    slice(
        outer
            .values()
            .as_list_opt::<i32>()
            .ok_or("a column of lists of lists holds something else")?,
        at,
    )
}

fn slice(lists: &ListArray, at: usize) -> Result<&[f32]> {
    let floats = lists
        .values()
        .as_primitive_opt::<Float32Type>()
        .ok_or("a list of floats holds something else")?;
    let offsets = lists.value_offsets();
    Ok(&floats.values()[offsets[at] as usize..offsets[at + 1] as usize])
}
