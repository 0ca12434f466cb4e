//! Parquet as Hugging Face's datasets write it: a column `audio` of struct<bytes, path>. A row without bytes is the file
//! at `path`. An id is `path`, else the row's number from 0.
use super::super::audio;
use super::{Utterance, named};
use crate::data::audio::piece::Piece;
use crate::data::table::calmly;
use crate::{Error, Result};
use arrow::array::{Array, AsArray, BinaryArray, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelector,
};
use parquet::basic::Compression;
use parquet::file::metadata::PageIndexPolicy;
use rayon::prelude::*;
use std::fs::File;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use symphonia::core::io::MediaSource;

/// Rows that are in memory at once when all are read.
const AT_ONCE: usize = 16;

/// Samples at 16 kHz, or why there are none.
type Length = Result<u64, String>;

pub struct Table {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    /// Of each row.
    lengths: Vec<Length>,
}

/// Reads the whole file once, for its ids and the headers of its audio.
pub fn read(path: &Path) -> Result<Vec<Utterance>> {
    let (ids, table) = calmly(|| Table::open(path)).map_err(|e| named(path, e))?;
    let table = Arc::new(table);
    let utterance = |(row, id): (usize, Option<String>)| Utterance {
        audio: super::Audio::Row(table.clone(), row),
        said: table.lengths[row].as_ref().ok().copied(),
        ..Utterance::file(id.unwrap_or_else(|| row.to_string()), PathBuf::new())
    };
    Ok(ids.into_iter().enumerate().map(utterance).collect())
}

impl Table {
    /// With the ids of its rows, where they have some.
    fn open(path: &Path) -> Result<(Vec<Option<String>>, Table)> {
        let mut table = Table::of(path)?;
        let groups: Vec<_> = (0..table.metadata.metadata().num_row_groups()).collect();
        let groups: Result<Vec<_>> = groups
            .into_par_iter()
            .map(|group| table.group(group))
            .collect();
        let (ids, lengths) = groups?.into_iter().flatten().unzip();
        table.lengths = lengths;
        Ok((ids, table))
    }
    /// By its footer.
    fn of(path: &Path) -> Result<Table> {
        let options = ArrowReaderOptions::new()
            .with_skip_arrow_metadata(true) // so that types are Parquet's own: binary and text
            .with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load(&File::open(path)?, options)?;
        let schema = metadata.schema();
        let has =
            |name: &str, kind: DataType| match schema.field_with_name("audio").ok()?.data_type() {
                DataType::Struct(fields) => fields
                    .find(name)
                    .filter(|(_, field)| *field.data_type() == kind),
                _ => None,
            };
        if has("bytes", DataType::Binary).is_none() || has("path", DataType::Utf8).is_none() {
            let columns: Vec<_> = schema
                .fields()
                .iter()
                .map(|field| format!("`{}`", field.name()))
                .collect();
            let columns = columns.join(", ");
            return Err(format!(
                "has no column `audio` of struct<bytes: binary, path: string>, but {columns}"
            )
            .into());
        }
        let table = Table {
            path: path.into(),
            metadata,
            lengths: vec![],
        };
        match table.compression() {
            Some(other) => Err(format!(
                "is packed with {other:?}; Snappy, gzip and no compression are read"
            )
            .into()),
            None => Ok(table),
        }
    }
    /// One that is not read.
    fn compression(&self) -> Option<Compression> {
        let ours = self.mask();
        let columns = |group: &parquet::file::metadata::RowGroupMetaData| {
            let columns = group
                .columns()
                .iter()
                .enumerate()
                .filter(|(leaf, _)| ours.leaf_included(*leaf));
            columns
                .map(|(_, column)| column.compression())
                .collect::<Vec<_>>()
        };
        let all = self
            .metadata
            .metadata()
            .row_groups()
            .iter()
            .flat_map(columns);
        let read = |c: &Compression| {
            matches!(
                c,
                Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_)
            )
        };
        all.into_iter().find(|compression| !read(compression))
    }
    fn mask(&self) -> ProjectionMask {
        ProjectionMask::columns(
            self.metadata.parquet_schema(),
            ["audio.bytes", "audio.path"],
        )
    }
    fn reader(&self, group: usize) -> Result<ParquetRecordBatchReaderBuilder<File>> {
        let file = File::open(&self.path)?;
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        Ok(builder
            .with_row_groups(vec![group])
            .with_projection(self.mask())
            .with_batch_size(AT_ONCE))
    }
    /// Path and length of each row of a row group.
    fn group(&self, group: usize) -> Result<Vec<(Option<String>, Length)>> {
        let before: i64 = self.metadata.metadata().row_groups()[..group]
            .iter()
            .map(|g| g.num_rows())
            .sum();
        let mut rows = vec![];
        for batch in self.reader(group)?.build()? {
            let batch = batch?;
            for at in 0..batch.num_rows() {
                let row = Row::new(self, before as usize + rows.len(), &batch, at)?;
                rows.push((row.path.clone(), row.length().map_err(|e| e.to_string())));
            }
        }
        Ok(rows)
    }
    pub fn length(&self, row: usize) -> Result<u64> {
        self.lengths[row].clone().map_err(Error::from)
    }
    /// The row at 16 kHz.
    pub fn read(&self, row: usize) -> Result<Vec<f32>> {
        calmly(|| self.row(row))
            .map_err(|e| named(&self.path, e))?
            .read()
    }
    fn row(&self, row: usize) -> Result<Row> {
        let (mut group, mut at) = (0, row);
        for rows in self
            .metadata
            .metadata()
            .row_groups()
            .iter()
            .map(|g| g.num_rows() as usize)
        {
            if at < rows {
                break;
            }
            (group, at) = (group + 1, at - rows);
        }
        let one = RowSelection::from(vec![RowSelector::skip(at), RowSelector::select(1)]);
        let batch = self.reader(group)?.with_row_selection(one).build()?.next();
        Row::new(
            self,
            row,
            &batch.ok_or_else(|| format!("row {row} is gone"))??,
            0,
        )
    }
}

/// The audio of one row.
struct Row {
    /// For errors.
    name: PathBuf,
    path: Option<String>,
    bytes: Option<Vec<u8>>,
}

impl Row {
    fn new(table: &Table, row: usize, batch: &RecordBatch, at: usize) -> Result<Row> {
        let column = |name: &str| {
            batch
                .column_by_name("audio")?
                .as_struct_opt()?
                .column_by_name(name)
        };
        let bytes: Option<&BinaryArray> = column("bytes").and_then(|c| c.as_binary_opt());
        let paths: Option<&StringArray> = column("path").and_then(|c| c.as_string_opt());
        let (Some(bytes), Some(paths)) = (bytes, paths) else {
            return Err("its columns have changed".into());
        };
        let path = paths.is_valid(at).then(|| paths.value(at).to_owned());
        let bytes = bytes.is_valid(at).then(|| bytes.value(at).to_vec());
        let name = match (&bytes, &path) {
            (None, Some(path)) => path.into(),
            (_, path) => {
                let path = path
                    .as_ref()
                    .map_or(String::new(), |path| format!(", {path}"));
                format!("{}: row {row}{path}", table.path.display()).into()
            }
        };
        Ok(Row { name, path, bytes })
    }
    fn open(self) -> Result<(PathBuf, Box<dyn MediaSource>)> {
        match (self.bytes, &self.path) {
            (Some(bytes), _) => Ok((self.name, Box::new(Cursor::new(bytes)))),
            (None, Some(_)) => audio::open_file(&self.name).map(|file| (self.name, file)),
            (None, None) => {
                Err(format!("{} has neither bytes nor a path", self.name.display()).into())
            }
        }
    }
    fn length(self) -> Result<u64> {
        let (name, source) = self.open()?;
        Ok(audio::lengths(&name, source, &Piece::default())?.row)
    }
    fn read(self) -> Result<Vec<f32>> {
        let (name, source) = self.open()?;
        audio::read(&name, source, &Piece::default())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Scratch;
    use super::*;
    use arrow::array::{ArrayRef, Int32Array, StructArray};
    use arrow::datatypes::Field;
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    /// 16-bit WAV at 16 kHz whose samples are all `value`.
    fn wav(value: i16, samples: u32) -> Vec<u8> {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut bytes = Cursor::new(vec![]);
        let mut wav = hound::WavWriter::new(&mut bytes, spec).unwrap();
        (0..samples).for_each(|_| wav.write_sample(value).unwrap());
        wav.finalize().unwrap();
        bytes.into_inner()
    }
    fn batch(rows: &[(Option<Vec<u8>>, Option<&str>)]) -> RecordBatch {
        let bytes: BinaryArray = rows.iter().map(|(bytes, _)| bytes.as_deref()).collect();
        let paths: StringArray = rows.iter().map(|(_, path)| *path).collect();
        let field = |name, array: ArrayRef| {
            (
                Arc::new(Field::new(name, array.data_type().clone(), true)),
                array,
            )
        };
        let audio = StructArray::from(vec![
            field("bytes", Arc::new(bytes)),
            field("path", Arc::new(paths)),
        ]);
        RecordBatch::try_from_iter([("audio", Arc::new(audio) as ArrayRef)]).unwrap()
    }
    fn write(batch: &RecordBatch, compression: Compression, group: usize) -> Vec<u8> {
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_max_row_group_row_count(Some(group));
        let mut writer =
            ArrowWriter::try_new(vec![], batch.schema(), Some(properties.build())).unwrap();
        writer.write(batch).unwrap();
        writer.into_inner().unwrap()
    }

    #[test]
    fn bytes_and_paths() {
        let scratch = Scratch::new("parquet");
        let beside = scratch.file("beside.wav", wav(9, 50));
        let rows: Vec<_> = (0..40)
            .map(|i| {
                (
                    Some(wav(i, 100 + i as u32)),
                    (i % 2 == 0).then_some("x.wav"),
                )
            })
            .collect();
        let others = [
            (None, beside.to_str()),
            (None, None),
            (Some(b"no audio".to_vec()), None),
        ];
        let bytes = write(
            &batch(&[rows, others.to_vec()].concat()),
            Compression::SNAPPY,
            17,
        );
        let all = read(&scratch.file("x.parquet", bytes)).unwrap();
        assert_eq!(
            (all[2].id.as_str(), all[3].id.as_str(), all[40].id.as_str()),
            ("x.wav", "3", beside.to_str().unwrap())
        );
        let lengths = super::super::lengths(&all);
        for (i, utterance) in all.iter().enumerate().take(40) {
            assert_eq!(*lengths[i].as_ref().unwrap(), 100 + i as u64);
            assert_eq!(
                utterance.read().unwrap(),
                vec![i as f32 / 32_768.0; 100 + i]
            );
        }
        assert_eq!(
            (
                *lengths[40].as_ref().unwrap(),
                all[40].read().unwrap().len()
            ),
            (50, 50)
        );
        let says = |row: usize| {
            let why = lengths[row].as_ref().unwrap_err().to_string();
            assert_eq!(all[row].read().unwrap_err().to_string(), why);
            why.replace(&format!("{}/", scratch.0.display()), "")
        };
        assert_eq!(says(41), "x.parquet: row 41 has neither bytes nor a path");
        assert!(
            says(42).starts_with("x.parquet: row 42 cannot be read: "),
            "{}",
            says(42)
        );
    }

    #[test]
    fn wrong_files() {
        let scratch = Scratch::new("parquet-wrong");
        let wrong = |bytes: &[u8]| scratch.wrong(&scratch.file("x.parquet", bytes));
        let other =
            RecordBatch::try_from_iter([("text", Arc::new(Int32Array::from(vec![1])) as ArrayRef)])
                .unwrap();
        assert_eq!(
            wrong(&write(&other, Compression::UNCOMPRESSED, 10)),
            "x.parquet: has no column `audio` of struct<bytes: binary, path: string>, but `text`"
        );
        let good = write(
            &batch(&[(Some(wav(1, 3000)), None)]),
            Compression::GZIP(Default::default()),
            10,
        );
        assert_eq!(read(&scratch.file("x.parquet", &good)).unwrap().len(), 1);
        assert!(wrong(&good[..good.len() - 9]).starts_with("x.parquet: "));
        assert!(wrong(b"").starts_with("x.parquet: "));
        let mut damaged = good.clone();
        damaged[100..200].fill(0xff);
        assert!(wrong(&damaged).starts_with("x.parquet: "));
    }
}
