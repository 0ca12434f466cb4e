//! Writes hidden states of audio files as Parquet: one row per (utterance, layer), utterances in
//! the given order, then by layer; columns id, layer, frames, width, hidden (frames x width,
//! row-major).
use crate::Result;
use crate::data::audio::read_audio;
use crate::data::column::list;
use crate::data::table::TableWriter;
use crate::model::row_memory::check_file;
use crate::model::{Convention, Forward, Model, OPEN, UnknownKeys};
use crate::node::model_option::check_command_layers;
use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use compute::gemm::Precision;
use compute::tensor::{Hidden, len, read};
use std::path::Path;
use std::sync::Arc;

/// Writes the hidden states of `layers` for each audio file into `out`.
///
/// # Errors
/// The model or an audio file cannot be read, or a layer does not exist. There is no `out` then.
pub fn extract(
    model: &Path,
    ignore_keys: &[String],
    audio: &[String],
    layers: &[usize],
    convention: Convention,
    out: &Path,
) -> Result<()> {
    let unknown = UnknownKeys::Refuse {
        except: ignore_keys,
    };
    let model = Model::load(model, unknown)?;
    let mut layers = layers.to_vec();
    layers.sort_unstable();
    check_command_layers(&layers, &model.architecture)?;
    let mut table = TableWriter::create(out, schema())?;
    let forward = Forward::frozen(&model, OPEN, Precision::F32);
    for path in audio {
        check_file(&model.architecture, layers.len(), Path::new(path))?;
        let samples = read_audio(Path::new(path))?;
        if model.architecture.frames(samples.len()) == 0 {
            let samples = samples.len();
            return Err(
                format!("{path}: {samples} samples are too short for a single frame").into(),
            );
        }
        let hiddens = forward.hiddens(&[&samples], &layers, convention);
        table.write(&rows(path, &layers, &hiddens)?)?;
    }
    table.finish()
}

fn schema() -> Arc<Schema> {
    let hidden = DataType::List(Arc::new(Field::new_list_field(DataType::Float32, false)));
    let int = |name| Field::new(name, DataType::Int32, false);
    let fields = vec![
        Field::new("id", DataType::Utf8, false),
        int("layer"),
        int("frames"),
        int("width"),
        Field::new("hidden", hidden, false),
    ];
    Arc::new(Schema::new(fields))
}

/// Builds the rows of one utterance.
fn rows(id: &str, layers: &[usize], hiddens: &[Hidden]) -> Result<RecordBatch> {
    let ids = vec![id; layers.len()];
    let frames: Vec<usize> = hiddens.iter().map(|h| h.spans.total()).collect();
    let widths: Vec<usize> = hiddens.iter().map(Hidden::width).collect();
    let values: Vec<_> = hiddens.iter().map(|h| read(&h.values)).collect();
    let lengths = hiddens.iter().map(|h| len(&h.values));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(ids)),
        ints(layers),
        ints(&frames),
        ints(&widths),
        Arc::new(list(values.concat(), lengths)?),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

fn ints(values: &[usize]) -> ArrayRef {
    let values = values.iter().map(|value| *value as i32);
    Arc::new(values.collect::<Int32Array>())
}
