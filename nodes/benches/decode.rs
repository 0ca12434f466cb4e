//! Prints the seconds of audio that one core reads from FLAC per second, the best of 10 passes over
//! a folder of 16 kHz files: `cargo bench -p nodes --bench decode -- FOLDER`. tests/speed/decode.py
//! compares it with libsndfile.
use nodes::data::audio::read_audio;
use nodes::data::audio::resample::RATE;
use std::path::PathBuf;
use std::time::Instant;

fn main() {
    let folder = std::env::args()
        .nth(1)
        .filter(|word| !word.starts_with('-'))
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../data/sample/audio").into());
    let files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|e| e == "flac"))
        .collect();
    let mut best = 0.0f64;
    for _ in 0..10 {
        let started = Instant::now();
        let samples: usize = files
            .iter()
            .map(|path| read_audio(path).expect("FLAC").len())
            .sum();
        let seconds = samples as f64 / RATE as f64;
        best = best.max(seconds / started.elapsed().as_secs_f64());
    }
    println!("{best:.0}");
}
