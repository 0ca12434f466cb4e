use super::super::parquet::read;
use super::super::tests::TestFolder;
use super::*;
use arrow::array::{
    Array, ArrayRef, BinaryArray, Int32Array, RecordBatch, StringArray, StructArray,
};
use arrow::datatypes::Field;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use std::io::Cursor;
use std::sync::Arc;

/// Returns a 16-bit WAV at 16 kHz whose samples are all `value`.
fn wav(value: i16, samples: usize) -> Vec<u8> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut bytes = Cursor::new(vec![]);
    let mut wav = hound::WavWriter::new(&mut bytes, spec).unwrap();
    for _ in 0..samples {
        wav.write_sample(value).unwrap();
    }
    wav.finalize().unwrap();
    bytes.into_inner()
}

fn batch(rows: &[(Option<Vec<u8>>, Option<&str>)]) -> RecordBatch {
    let bytes: BinaryArray = rows.iter().map(|(bytes, _)| bytes.as_deref()).collect();
    let paths: StringArray = rows.iter().map(|(_, path)| *path).collect();
    let field = |name, array: ArrayRef| {
        let field = Field::new(name, array.data_type().clone(), true);
        (Arc::new(field), array)
    };
    let audio = StructArray::from(vec![
        field("bytes", Arc::new(bytes)),
        field("path", Arc::new(paths)),
    ]);
    RecordBatch::try_from_iter([("audio", Arc::new(audio) as ArrayRef)]).unwrap()
}

/// Returns the bytes of a Parquet file with row groups of `group` rows.
fn write(batch: &RecordBatch, compression: Compression, group: usize) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_max_row_group_row_count(Some(group))
        .build();
    let mut writer = ArrowWriter::try_new(vec![], batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn bytes_and_paths() {
    let scratch = TestFolder::new("parquet");
    let beside = scratch.file("beside.wav", wav(9, 50));
    let mut rows = vec![];
    for i in 0..40 {
        let path = (i % 2 == 0).then_some("x.wav");
        rows.push((Some(wav(i as i16, 100 + i)), path));
    }
    rows.push((None, beside.to_str()));
    rows.push((None, None));
    rows.push((Some(b"no audio".to_vec()), None));
    let bytes = write(&batch(&rows), Compression::SNAPPY, 17);
    let listed = read(&scratch.file("x.parquet", bytes)).unwrap();
    let utterances: Vec<_> = listed.iter().collect();
    assert_eq!(utterances[2].id, "x.wav");
    assert_eq!(utterances[3].id, "3");
    assert_eq!(utterances[40].id, beside.to_str().unwrap());

    let lengths: Vec<_> = utterances
        .iter()
        .map(|utterance| utterance.length())
        .collect();
    for i in 0..40 {
        assert_eq!(*lengths[i].as_ref().unwrap(), 100 + i as u64);
        let samples = utterances[i].read().unwrap();
        assert_eq!(samples, vec![i as f32 / 32_768.0; 100 + i]);
    }
    assert_eq!(*lengths[40].as_ref().unwrap(), 50);
    assert_eq!(utterances[40].read().unwrap().len(), 50);

    let error = |row: usize| {
        let error = lengths[row].as_ref().unwrap_err().to_string();
        assert_eq!(utterances[row].read().unwrap_err().to_string(), error);
        scratch.shorten(&error)
    };
    assert_eq!(error(41), "x.parquet: row 41 has neither bytes nor a path");
    let start = "x.parquet: row 42 cannot be read: ";
    assert!(error(42).starts_with(start), "{}", error(42));
}

#[test]
fn wrong_files() {
    let scratch = TestFolder::new("parquet-wrong");
    let error = |bytes: &[u8]| scratch.error(&scratch.file("x.parquet", bytes));
    let column: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let other = RecordBatch::try_from_iter([("text", column)]).unwrap();
    assert_eq!(
        error(&write(&other, Compression::UNCOMPRESSED, 10)),
        "x.parquet: has no column `audio` of struct<bytes: binary, path: string>, but `text`"
    );
    let rows = batch(&[(Some(wav(1, 3000)), None)]);
    let intact = write(&rows, Compression::GZIP(Default::default()), 10);
    let path = scratch.file("x.parquet", &intact);
    assert_eq!(read(&path).unwrap().len(), 1);
    let mut damaged = intact.clone();
    damaged[100..200].fill(0xff);
    for bytes in [&intact[..intact.len() - 9], &[], &damaged] {
        let error = error(bytes);
        assert!(error.starts_with("x.parquet: "), "{error}");
    }
}

#[test]
fn the_headers_of_pages_tell_their_sizes() {
    let scratch = TestFolder::new("parquet-pages");
    let rows: Vec<_> = (0..40)
        .map(|i| (Some(wav(i, 3000)), Some("a.wav")))
        .collect();
    let bytes = write(&batch(&rows), Compression::SNAPPY, 20);
    let path = scratch.file("x.parquet", bytes);
    let table = AudioTable::from_footer(&path).unwrap();
    let mut columns = 0;
    for group in table.metadata.metadata().row_groups() {
        for column in group.columns() {
            let (start, length) = column.byte_range();
            let file = crate::data::regular::open(&path).unwrap();
            let page = pages::largest(file, start, start + length).unwrap();
            let column_bytes = column.uncompressed_size() as u64;
            assert!(page <= column_bytes && page > 0, "{page} of {column_bytes}");
            columns += usize::from(page > 20 * 6000);
        }
    }
    assert_eq!(columns, 2, "a page of 20 files in each row group");
}
