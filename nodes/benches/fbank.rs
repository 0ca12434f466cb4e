//! Seconds that log-mel frames of 30 s of noise take on one core, the best of 100: `cargo bench -p nodes --bench fbank`.
use compute::random::Key;
use nodes::kind::fbank::Mel;
use std::time::Instant;

fn main() {
    let key = Key::new(0, &["noise"]);
    let samples: Vec<f32> = (0..480_000).map(|i| 0.1 * key.normal(0, i)).collect();
    let mel = Mel::new(80);
    let time = |_| {
        let begun = Instant::now();
        std::hint::black_box(mel.features(std::hint::black_box(&samples)));
        begun.elapsed().as_secs_f64()
    };
    println!("{}", (0..100).map(time).fold(f64::INFINITY, f64::min));
}
