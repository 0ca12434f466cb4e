//! Fits k-means to the frames in a file of raw f32 and prints the seconds and the sum of squared
//! distances to the nearest centroids: `cargo bench -p nodes --bench kmeans -- FILE WIDTH CLUSTERS
//! BATCH PASSES`.
use compute::random::Key;
use nodes::kmeans::{FitOptions, fit};
use std::time::Instant;

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let [file, width, clusters, batch, passes] = &words[..] else {
        eprintln!("usage: kmeans FILE WIDTH CLUSTERS BATCH PASSES");
        return;
    };
    let number = |word: &String| -> usize { word.parse().expect("a number") };
    let width = number(width);
    let options = FitOptions {
        clusters: number(clusters),
        batch: number(batch),
        passes: number(passes),
        key: Key::new(0, &["bench"]),
    };
    let bytes = std::fs::read(file).expect("a file");
    let frames: Vec<f32> = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|word| f32::from_le_bytes(*word))
        .collect();
    let started = Instant::now();
    let (centroids, _) = fit(&frames, width, &options);
    let seconds = started.elapsed().as_secs_f64();
    let inertia: f64 = centroids
        .nearest(&frames)
        .iter()
        .map(|nearest| nearest.distance as f64)
        .sum();
    println!("{seconds} {inertia}");
}
