//! Times matrix products and single ops at the shapes of HuBERT Base: 4 rows of 249 frames (5 s),
//! or one row for an op on samples or on the first convolutions' frames.
//!
//! `cargo bench -p compute --bench speed [-- FILTER]`; tests/speed/ops.py compares with PyTorch.
mod ops;
mod products;

use compute::random::Key;
use criterion::{Criterion, criterion_group, criterion_main};
use std::time::Duration;

/// The program's allocator, since page faults are a part of an op's time.
#[cfg(target_os = "linux")]
#[global_allocator]
static PAGES: compute::allocator::Pages = compute::allocator::Pages;

/// Returns `n` numbers uniform in [-0.1, 0.1).
fn noise(n: usize) -> Vec<f32> {
    let key = Key::new(0, &["speed"]);
    (0..n as u64)
        .map(|i| 0.2 * key.uniform(n as u64, i) - 0.1)
        .collect()
}

fn few_samples() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .sample_size(10)
        .measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = speed;
    config = few_samples();
    targets = products::all, ops::all
}
criterion_main!(speed);
