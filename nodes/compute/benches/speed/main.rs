//! Times of products and of single ops at HuBERT Base's shapes: a batch of 4 x 249 frames (5 s), one row for what is
//! long. `cargo bench -p nodes [-- FILTER]`; tests/speed/ops.py sets PyTorch's beside them.
mod ops;
mod products;
use compute::random::Key;
use criterion::{Criterion, criterion_group, criterion_main};
use std::time::Duration;

/// As the program's: page faults are a part of what an op takes.
#[cfg(target_os = "linux")]
#[global_allocator]
static PAGES: compute::allocator::Pages = compute::allocator::Pages;

/// Uniform in [-0.1, 0.1).
fn noise(n: usize) -> Vec<f32> {
    let key = Key::new(0, &["speed"]);
    (0..n as u64)
        .map(|i| 0.2 * key.uniform(n as u64, i) - 0.1)
        .collect()
}

fn few() -> Criterion {
    let short = Criterion::default().warm_up_time(Duration::from_millis(500));
    short
        .sample_size(10)
        .measurement_time(Duration::from_secs(2))
}

criterion_group! { name = speed; config = few(); targets = products::all, ops::all }
criterion_main!(speed);
