//! Writes hidden states of audio files as Parquet: one row per (utterance, layer), utterances in
//! the given order, then by layer; columns id, layer, frames, width, hidden (frames x width,
//! row-major).
use crate::Result;
use crate::data::audio::read_audio;
use crate::data::audio::resample::audio_seconds;
use crate::data::column::list;
use crate::data::printable::printable;
use crate::data::table::TableWriter;
use crate::data::{file, manifest};
use crate::model::row_memory::check_file;
use crate::model::{Convention, Forward, Model, OPEN, model_files};
use crate::node::layer_outputs::check_command_layers;
use crate::tool::layers::LayerChoice;
use crate::tool::model_options::ModelOptions;
use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use compute::gemm::Precision;
use compute::tensor::{Hidden, len, read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is extracted.
pub struct ExtractOptions<'a> {
    pub model: ModelOptions,
    pub layers: &'a LayerChoice,
    pub convention: Convention,
    /// What operands of products are rounded to.
    pub precision: Precision,
    /// How many audio files may be damaged or too short before it fails.
    pub bad_files: u64,
}

/// How far an extraction is.
#[derive(Clone, Copy)]
pub struct ExtractProgress {
    pub files: u64,
    pub files_done: u64,
    /// Seconds of audio in the files that are done and not left out.
    pub audio_seconds: f64,
    /// Since the first file was begun.
    pub elapsed: Duration,
}

impl ExtractProgress {
    /// Returns the seconds that a second of audio takes; `None` before the first file.
    pub fn real_time_factor(&self) -> Option<f64> {
        let seconds = self.elapsed.as_secs_f64();
        (self.audio_seconds > 0.0).then(|| seconds / self.audio_seconds)
    }
}

/// Receives what happens in an extraction.
pub trait ExtractReport {
    /// Receives a line about a file, such as that it is left out.
    fn say(&mut self, line: &str);
    /// Receives that one file more is done.
    fn advance(&mut self, progress: ExtractProgress);
}

/// Writes the hidden states of the layers for each audio file into `out`. A folder stands for the
/// audio files in it and below.
///
/// # Errors
/// The model or more than `bad_files` audio files cannot be read, no file is left, or a layer does
/// not exist. There is no `out` then.
pub fn extract(
    model: &Path,
    audio: &[String],
    options: &ExtractOptions,
    out: &Path,
    report: &mut impl ExtractReport,
) -> Result<ExtractProgress> {
    let model_paths = model_files(model);
    let mut model = options.model.load(model)?;
    let layers = options
        .layers
        .layers(model.architecture.num_hidden_layers)?;
    check_command_layers(&layers, &model.architecture)?;
    if let Some(reason) = model.why_not_normalized() {
        report.say(&reason);
    }
    if options.precision != Precision::F32
        && let Some(warning) = options.precision.warning()
    {
        report.say(&warning);
    }
    let files = audio_files(audio, report)?;
    let model_paths = model_paths.iter().map(PathBuf::as_path);
    file::refuse_input(out, files.iter().map(Path::new).chain(model_paths))?;
    let mut table = TableWriter::create(out, schema())?;
    model.pack(options.precision);
    let forward = Forward::frozen(&model, OPEN, options.precision);
    let mut bad_files = 0;
    let started = Instant::now();
    let mut progress = ExtractProgress {
        files: files.len() as u64,
        files_done: 0,
        audio_seconds: 0.0,
        elapsed: Duration::ZERO,
    };
    for path in &files {
        match read_utterance(path, &model, layers.len()) {
            Ok(samples) => {
                let hiddens = forward.hiddens(&[&samples], &layers, options.convention);
                if let Some(layer) = first_not_finite(&layers, &hiddens) {
                    let path = printable(path);
                    report.say(&format!(
                        "warning: {path}: layer {layer} has numbers that are not finite; look at the \
                         model's weights"
                    ));
                }
                table.write(&rows(path, &layers, &hiddens)?)?;
                progress.audio_seconds += audio_seconds(samples.len() as u64);
            }
            Err(error) => {
                bad_files += 1;
                if bad_files > options.bad_files {
                    let allowed = options.bad_files;
                    let count = format!("(bad file {bad_files}; `--bad-files` is {allowed})");
                    return Err(format!("{error} {count}").into());
                }
                report.say(&format!("{error}: left out"));
            }
        }
        progress.files_done += 1;
        progress.elapsed = started.elapsed();
        report.advance(progress);
    }
    if bad_files == files.len() as u64 {
        return Err("no audio file is left".into());
    }
    table.finish()?;
    Ok(progress)
}

/// Reads an audio file of at least one frame.
fn read_utterance(path: &str, model: &Model, layers: usize) -> Result<Vec<f32>> {
    check_file(&model.architecture, layers, Path::new(path))?;
    let samples = read_audio(Path::new(path))?;
    if model.architecture.frames(samples.len()) == 0 {
        let samples = samples.len();
        let path = printable(path);
        return Err(format!("{path}: {samples} samples are too short for a single frame").into());
    }
    Ok(samples)
}

/// Returns the first layer with a number that is not finite.
fn first_not_finite(layers: &[usize], hiddens: &[Hidden]) -> Option<usize> {
    let is_finite = |hidden: &Hidden| read(&hidden.values).iter().all(|x| x.is_finite());
    let first = hiddens.iter().position(|hidden| !is_finite(hidden))?;
    Some(layers[first])
}

/// Replaces folders by the audio files in them and below.
fn audio_files(audio: &[String], report: &mut impl ExtractReport) -> Result<Vec<String>> {
    let mut files = vec![];
    for path in audio {
        let folder = Path::new(path);
        if !folder.is_dir() {
            files.push(path.clone());
            continue;
        }
        let listing = manifest::read(folder)?;
        let left_out = listing.left_out;
        if listing.utterances.is_empty() {
            let left_out = if left_out.is_empty() {
                String::new()
            } else {
                format!("; left out: {left_out}")
            };
            let path = printable(path);
            return Err(format!("{path} has no audio file to read{left_out}").into());
        }
        if !left_out.is_empty() {
            report.say(&format!("{}: left out: {left_out}", printable(path)));
        }
        for id in listing.utterances.ids().iter() {
            files.push(folder.join(id).to_string_lossy().into_owned());
        }
    }
    Ok(files)
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
