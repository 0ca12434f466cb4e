//! What crosses one output port, as Parquet, update by update.
//!
//! ```text
//! batch    step, and the columns as they cross (metrics have a step of their own)
//! hiddens  step, layer, row, frames, width, hidden (frames x width, row-major): a row of the batch and a layer each
//! gates    step, unit, gates (one number a unit): a unit vector each
//! a loss   step, name, value: a number that is logged each, the loss itself first
//! ```
use crate::Result;
use crate::data::column;
use crate::data::column::{NAME, STEP, VALUE, list};
use crate::data::table::TableWriter;
use crate::node::port::{Gates, Hiddens, Scalar, Value};
use crate::node::step::StepInfo;
use arrow::array::{ArrayRef, Float32Array, Int32Array, RecordBatch, StringArray, UInt64Array};
use compute::tensor::{Hidden, Tape, read};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub struct Tap {
    out: PathBuf,
    /// Since the first value, which tells the columns.
    table: Option<TableWriter>,
}

impl Tap {
    pub fn new(out: &Path) -> Tap {
        Tap {
            out: out.to_owned(),
            table: None,
        }
    }

    /// What a port sent in the step of this info.
    pub fn write(&mut self, info: StepInfo, value: &Value) -> Result<()> {
        let rows = rows(info.update, value)?;
        if self.table.is_none() {
            self.table = Some(TableWriter::create(&self.out, rows.schema())?);
        }
        self.table
            .as_mut()
            .map_or(Ok(()), |table| table.write(&rows))
    }

    /// # Errors
    /// The file cannot be written, or nothing crossed.
    pub fn finish(self) -> Result<()> {
        self.table
            .ok_or("nothing crossed the port: the data ended before the first update")?
            .finish()
    }
}

fn rows(update: u64, value: &Value) -> Result<RecordBatch> {
    let (n, columns) = match value {
        Value::Batch(batch) if batch.column_by_name(STEP.name).is_some() => {
            return Ok(batch.clone());
        }
        Value::Batch(batch) => {
            let names = batch
                .schema()
                .fields()
                .iter()
                .map(|f| f.name().clone())
                .collect::<Vec<_>>();
            (
                batch.num_rows(),
                names
                    .into_iter()
                    .zip(batch.columns().iter().cloned())
                    .collect(),
            )
        }
        Value::Targets(targets) => return rows(update, &Value::Batch(targets.batch()?)),
        Value::Hiddens(hiddens) => of_hiddens(hiddens)?,
        Value::Gates(gates) => of_gates(gates)?,
        Value::Scalar(scalar) => of_scalar(scalar),
    };
    let step: ArrayRef = Arc::new(UInt64Array::from(vec![update; n]));
    Ok(RecordBatch::try_from_iter(
        [(STEP.name.to_owned(), step)].into_iter().chain(columns),
    )?)
}

/// How many rows, and their columns.
type Columns = (usize, Vec<(String, ArrayRef)>);

/// A layer of a row of the batch: (frames, width).
struct Part<'a> {
    layer: usize,
    row: usize,
    frames: usize,
    width: usize,
    values: &'a [f32],
}

impl<'a> Part<'a> {
    /// `values` are those of all rows.
    fn of(row: usize, (layer, hidden): &(usize, Hidden<Tape>), values: &'a [f32]) -> Part<'a> {
        let (frames, width) = (hidden.spans.of(row), hidden.width());
        let values = &values[frames.start * width..frames.end * width];
        Part {
            layer: *layer,
            row,
            frames: frames.len(),
            width,
            values,
        }
    }
}

fn of_hiddens(hiddens: &Hiddens) -> Result<Columns> {
    let rows = hiddens
        .layers
        .first()
        .map_or(0, |(_, hidden)| hidden.spans.rows());
    let values: Vec<_> = hiddens
        .layers
        .iter()
        .map(|(_, hidden)| read(&hidden.values))
        .collect();
    let layers = || hiddens.layers.iter().zip(&values);
    let parts: Vec<Part> = (0..rows)
        .flat_map(|row| layers().map(move |(l, v)| Part::of(row, l, v)))
        .collect();
    let int = |of: fn(&Part) -> usize| {
        Arc::new(parts.iter().map(|p| of(p) as i32).collect::<Int32Array>()) as ArrayRef
    };
    let values = parts.iter().flat_map(|p| p.values).copied().collect();
    let columns = [
        ("layer", int(|p| p.layer)),
        ("row", int(|p| p.row)),
        ("frames", int(|p| p.frames)),
        ("width", int(|p| p.width)),
        (
            "hidden",
            Arc::new(list(values, parts.iter().map(|p| p.values.len()))?),
        ),
    ];
    Ok((
        parts.len(),
        columns.map(|(name, array)| (name.to_owned(), array)).into(),
    ))
}

fn of_gates(gates: &Gates) -> Result<Columns> {
    let all: Vec<(&str, Cow<[f32]>)> = gates
        .vectors
        .iter()
        .map(|(name, gates)| (name.as_str(), read(gates)))
        .collect();
    let names = StringArray::from_iter_values(all.iter().map(|(name, _)| name));
    let values = all
        .iter()
        .flat_map(|(_, gates)| gates.iter())
        .copied()
        .collect();
    let values = list(values, all.iter().map(|(_, gates)| gates.len()))?;
    Ok((
        all.len(),
        vec![
            ("unit".to_owned(), Arc::new(names) as ArrayRef),
            ("gates".to_owned(), Arc::new(values)),
        ],
    ))
}

fn of_scalar(scalar: &Scalar) -> Columns {
    let names = StringArray::from_iter_values(scalar.parts.iter().map(|(name, _)| name));
    let values = Float32Array::from_iter_values(scalar.parts.iter().map(|(_, value)| *value));
    let columns: [(column::Column, ArrayRef); 2] =
        [(NAME, Arc::new(names)), (VALUE, Arc::new(values))];
    (
        scalar.parts.len(),
        columns
            .map(|(column, array)| (column.name.to_owned(), array))
            .into(),
    )
}
