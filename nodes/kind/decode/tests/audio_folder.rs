//! Audio for tests.
use crate::kind::decode::Options;
use compute::random::Key;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

/// A folder of noise at 16 kHz in files of 3000 to 12000 samples, with train.tsv and with dev.tsv
/// of the last three files.
pub(super) struct AudioFolder(pub(super) PathBuf);

impl AudioFolder {
    pub(super) fn new(name: &str, files: u64) -> AudioFolder {
        let folder = std::env::temp_dir().join(format!("speech-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let key = Key::new(1, &["data"]);
        let mut rows = vec![];
        for file in 0..files {
            let samples = 3000 + 500 * key.below(0, file, 19);
            write_wav(&folder.join(format!("{file}.wav")), samples, key, 1 + file);
            rows.push(format!("{file}.wav\t{samples}"));
        }
        let manifest = |rows: &[String]| format!("{}\n{}\n", folder.display(), rows.join("\n"));
        std::fs::write(folder.join("train.tsv"), manifest(&rows)).unwrap();
        std::fs::write(folder.join("dev.tsv"), manifest(&rows[rows.len() - 3..])).unwrap();
        AudioFolder(folder)
    }

    /// Returns options for the folder, with these changes.
    pub(super) fn options(&self, changes: &[(&str, Json)]) -> Options {
        let mut options = json!({
            "manifest": self.0.join("train.tsv"),
            "dev": self.0.join("dev.tsv"),
            "seconds_per_batch": 2.5,
            "views": 2,
        });
        for (option, value) in changes {
            options[option] = value.clone();
        }
        serde_json::from_value(options).unwrap()
    }
}

impl Drop for AudioFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn write_wav(path: &Path, samples: u64, key: Key, stream: u64) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(path, spec).unwrap();
    for i in 0..samples {
        wav.write_sample((key.draw(stream, i)[0] >> 17) as i16)
            .unwrap();
    }
    wav.finalize().unwrap();
}
