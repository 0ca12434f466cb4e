//! Prints the seconds that one core takes for the log-mel frames of 30 s of noise, the least of
//! 100: `cargo bench -p nodes --bench fbank`.
use compute::random::Key;
use nodes::data::mel::Mel;
use std::hint::black_box;
use std::time::Instant;

fn main() {
    let key = Key::new(0, &["noise"]);
    let samples: Vec<f32> = (0..480_000).map(|i| 0.1 * key.normal(0, i)).collect();
    let mel = Mel::new(80);
    let mut least = f64::INFINITY;
    for _ in 0..100 {
        let started = Instant::now();
        black_box(mel.features(black_box(&samples)));
        least = least.min(started.elapsed().as_secs_f64());
    }
    println!("{least}");
}
