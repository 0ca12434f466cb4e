//! Fits k-means on the frames of a file of raw f32 and prints seconds and the sum of squared distances to what was found:
//! `cargo bench -p nodes --bench kmeans -- FILE WIDTH CLUSTERS BATCH PASSES`
use compute::random::Key;
use nodes::kmeans::{Fit, fit};
use std::time::Instant;

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let [file, numbers @ ..] = &words[..] else {
        return;
    };
    let [width, clusters, batch, passes] = <[usize; 4]>::try_from(
        numbers
            .iter()
            .map(|n| n.parse().expect("a number"))
            .collect::<Vec<_>>(),
    )
    .expect("four numbers");
    let bytes = std::fs::read(file).expect("a file");
    let frames: Vec<f32> = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect();
    let begun = Instant::now();
    let (centroids, _) = fit(
        &frames,
        width,
        &Fit {
            clusters,
            batch,
            passes,
            key: Key::new(0, &["bench"]),
        },
    );
    let seconds = begun.elapsed().as_secs_f64();
    let inertia: f64 = centroids
        .nearest(&frames)
        .iter()
        .map(|near| near.distance as f64)
        .sum();
    println!("{seconds} {inertia}");
}
