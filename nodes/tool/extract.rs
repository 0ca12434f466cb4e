//! Hidden states of audio files, as Parquet: one row an (utterance, layer), utterances as given, then by layer; columns
//! id, layer, frames, width, hidden (frames x width, row-major).
use crate::Result;
use crate::data::audio::read_audio;
use crate::data::column::list;
use crate::data::table::TableWriter;
use crate::model::{Convention, Forward, Model, OPEN};
use crate::node::model_option::layers_wrong;
use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use compute::gemm::Precision;
use compute::tensor::{Hidden, len, read};
use std::path::Path;
use std::sync::Arc;

/// Any file that cannot be read is an error, and then there is no `out`.
pub fn extract(
    model: &Path,
    audio: &[String],
    layers: &[usize],
    convention: Convention,
    out: &Path,
) -> Result<()> {
    let model = Model::load(model, None)?;
    let mut layers = layers.to_vec();
    layers.sort_unstable();
    layers_wrong(&layers, &model.architecture).map_err(|wrong| {
        wrong
            .into_iter()
            .map(|w| w.message)
            .collect::<Vec<_>>()
            .join("; ")
    })?;
    let mut table = TableWriter::create(out, schema())?;
    let pass = Forward::frozen(&model, OPEN, Precision::F32);
    for path in audio {
        let samples = read_audio(Path::new(path))?;
        if model.architecture.frames(samples.len()) == 0 {
            return Err(format!(
                "{path}: {} samples are too short for a single frame",
                samples.len()
            )
            .into());
        }
        table.write(&rows(
            path,
            &layers,
            &pass.hiddens(&[&samples], &layers, convention),
        )?)?;
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

fn rows(id: &str, layers: &[usize], hiddens: &[Hidden]) -> Result<RecordBatch> {
    let ints = |of: &dyn Fn(usize) -> usize| {
        Arc::new(
            (0..layers.len())
                .map(|i| of(i) as i32)
                .collect::<Int32Array>(),
        ) as ArrayRef
    };
    let values = hiddens
        .iter()
        .map(|h| read(&h.values))
        .collect::<Vec<_>>()
        .concat();
    let columns = vec![
        Arc::new(StringArray::from(vec![id; layers.len()])) as ArrayRef,
        ints(&|i| layers[i]),
        ints(&|i| hiddens[i].spans.total()),
        ints(&|i| hiddens[i].width()),
        Arc::new(list(values, hiddens.iter().map(|h| len(&h.values)))?) as ArrayRef,
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
