//! Seconds of audio a second that one core reads from FLAC, the best of 10 passes over a folder of 16 kHz files:
//! `cargo bench -p nodes --bench decode -- FOLDER`; tests/speed/decode.py sets libsndfile beside it.
use nodes::kind::decode::{RATE, read_audio};
use std::path::PathBuf;
use std::time::Instant;

fn main() {
    let folder = std::env::args()
        .nth(1)
        .filter(|word| !word.starts_with('-'));
    let folder = folder
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../data/sample/audio").into());
    let files = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("a file").path());
    let files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|e| e == "flac"))
        .collect();
    let pass = |_| {
        let begun = Instant::now();
        let samples: usize = files
            .iter()
            .map(|path| read_audio(path).expect("FLAC").len())
            .sum();
        samples as f64 / RATE as f64 / begun.elapsed().as_secs_f64()
    };
    println!("{:.0}", (0..10).map(pass).fold(0.0, f64::max));
}
