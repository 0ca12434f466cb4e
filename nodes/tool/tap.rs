//! Writes the values of one output port as Parquet, update by update.
//!
//! ```text
//! batch    step, and the columns of the batch (metrics have a step of their own)
//! hiddens  step, layer, row, frames, width, hidden (frames x width, row-major):
//!          one row per row of the batch and layer
//! maps     step, layer, row, frames, maps (frames x frames, the mean over heads): as hiddens
//! gates    step, unit, gates (one number per unit): one row per unit vector
//! a loss   step, name, value: one row per logged number, the loss itself first
//! ```
use crate::Result;
use crate::data::column::{NAME, STEP, VALUE, list};
use crate::data::table::TableWriter;
use crate::node::port::{Gates, Hiddens, Maps, Scalar, Value};
use crate::node::step::StepInfo;
use arrow::array::{
    Array, ArrayRef, Float32Array, Int32Array, RecordBatch, StringArray, UInt64Array,
};
use compute::op::mean_map;
use compute::tensor::read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file of one output port.
pub struct Tap {
    out: PathBuf,
    /// `None` before the first value, which determines the columns.
    table: Option<TableWriter>,
}

impl Tap {
    /// Prepares to write `out`, which is created with the first value.
    pub fn new(out: &Path) -> Tap {
        Tap {
            out: out.to_owned(),
            table: None,
        }
    }

    /// Appends what the port sent in a step.
    pub fn write(&mut self, info: StepInfo, value: &Value) -> Result<()> {
        let rows = rows(info.update, value)?;
        let table = match &mut self.table {
            Some(table) => table,
            None => {
                let table = TableWriter::create(&self.out, rows.schema())?;
                self.table.insert(table)
            }
        };
        table.write(&rows)
    }

    /// Completes the file.
    ///
    /// # Errors
    /// The file cannot be written, or the port sent nothing.
    pub fn finish(self) -> Result<()> {
        self.table
            .ok_or("nothing crossed the port: the data ended before the first update")?
            .finish()
    }
}

/// Returns a value as rows, with the update in the column `step`.
fn rows(update: u64, value: &Value) -> Result<RecordBatch> {
    let columns = match value {
        Value::Batch(batch) if batch.column_by_name(STEP.name).is_some() => {
            return Ok(batch.clone());
        }
        Value::Batch(batch) => batch_columns(batch),
        Value::Targets(targets) => return rows(update, &Value::Batch(targets.batch()?)),
        Value::Hiddens(hiddens) => hiddens_columns(hiddens)?,
        Value::Maps(maps) => maps_columns(maps)?,
        Value::Gates(gates) => gates_columns(gates)?,
        Value::Scalar(scalar) => scalar_columns(scalar),
    };
    let rows = columns.first().map_or(0, |(_, array)| array.len());
    let step: ArrayRef = Arc::new(UInt64Array::from(vec![update; rows]));
    let step = (STEP.name.to_owned(), step);
    let columns = std::iter::once(step).chain(columns);
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// Names and values of columns.
type NamedColumns = Vec<(String, ArrayRef)>;

fn named<const N: usize>(columns: [(&str, ArrayRef); N]) -> NamedColumns {
    columns
        .map(|(name, array)| (name.to_owned(), array))
        .to_vec()
}

fn batch_columns(batch: &RecordBatch) -> NamedColumns {
    let schema = batch.schema();
    let names = schema.fields().iter().map(|field| field.name().clone());
    names.zip(batch.columns().iter().cloned()).collect()
}

fn hiddens_columns(hiddens: &Hiddens) -> Result<NamedColumns> {
    let first = hiddens.layers.first();
    let rows = first.map_or(0, |(_, hidden)| hidden.spans.rows());
    let values_by_layer: Vec<_> = hiddens
        .layers
        .iter()
        .map(|(_, hidden)| read(&hidden.values))
        .collect();
    let mut layers = vec![];
    let mut batch_rows = vec![];
    let mut frames = vec![];
    let mut widths = vec![];
    let mut values: Vec<f32> = vec![];
    let mut lengths = vec![];
    for row in 0..rows {
        for ((layer, hidden), layer_values) in hiddens.layers.iter().zip(&values_by_layer) {
            let span = hidden.spans.of(row);
            let width = hidden.width();
            layers.push(*layer as i32);
            batch_rows.push(row as i32);
            frames.push(span.len() as i32);
            widths.push(width as i32);
            values.extend_from_slice(&layer_values[span.start * width..span.end * width]);
            lengths.push(span.len() * width);
        }
    }
    Ok(named([
        ("layer", Arc::new(Int32Array::from(layers))),
        ("row", Arc::new(Int32Array::from(batch_rows))),
        ("frames", Arc::new(Int32Array::from(frames))),
        ("width", Arc::new(Int32Array::from(widths))),
        ("hidden", Arc::new(list(values, lengths)?)),
    ]))
}

fn maps_columns(maps: &Maps) -> Result<NamedColumns> {
    let mut layers = vec![];
    let mut batch_rows = vec![];
    let mut frames = vec![];
    let mut values: Vec<f32> = vec![];
    let mut lengths = vec![];
    for (layer, map) in &maps.layers {
        let mean = mean_map(&map.frozen());
        let numbers = read(&mean.values);
        for (row, pairs) in mean.spans.iter().enumerate() {
            layers.push(*layer as i32);
            batch_rows.push(row as i32);
            frames.push(map.spans.of(row).len() as i32);
            lengths.push(pairs.len());
            values.extend_from_slice(&numbers[pairs]);
        }
    }
    Ok(named([
        ("layer", Arc::new(Int32Array::from(layers))),
        ("row", Arc::new(Int32Array::from(batch_rows))),
        ("frames", Arc::new(Int32Array::from(frames))),
        ("maps", Arc::new(list(values, lengths)?)),
    ]))
}

fn gates_columns(gates: &Gates) -> Result<NamedColumns> {
    let mut units = vec![];
    let mut values: Vec<f32> = vec![];
    let mut lengths = vec![];
    for (unit, vector) in &gates.vectors {
        let vector = read(vector);
        units.push(unit.as_str());
        lengths.push(vector.len());
        values.extend_from_slice(&vector);
    }
    Ok(named([
        ("unit", Arc::new(StringArray::from(units))),
        ("gates", Arc::new(list(values, lengths)?)),
    ]))
}

fn scalar_columns(scalar: &Scalar) -> NamedColumns {
    let names = StringArray::from_iter_values(scalar.parts.iter().map(|(name, _)| name));
    let values = Float32Array::from_iter_values(scalar.parts.iter().map(|(_, value)| *value));
    named([(NAME.name, Arc::new(names)), (VALUE.name, Arc::new(values))])
}
