//! How near an update comes to the machine's roofline:
//! share = Σ 2 M_p / peak_p / seconds of an update, where M_p are the multiply-accumulates of the
//! products of precision p.
use super::recording::Measured;
use compute::gemm::Precision;
use compute::roofline::Roofline;
use nodes::node::report::Measurement;
use serde_json::{Value, json};

/// Returns the roofline and the share of it that `updates` updates of `seconds` each have reached.
///
/// The share is null if the machine has no peak for a precision that was used.
pub(super) fn share(
    roofline: &Roofline,
    measured: &[Measured],
    updates: usize,
    seconds: f64,
) -> Value {
    let macs_per_update = |precision: Precision| {
        let macs = |(_, measurement): &Measured| match *measurement {
            Measurement::Products {
                precision: used,
                macs,
            } if used == precision => macs,
            _ => 0,
        };
        measured.iter().map(macs).sum::<u64>() as f64 / updates as f64
    };
    let least_seconds = |precision: Precision, macs: f64| {
        if macs > 0.0 {
            roofline.peak(precision).map(|peak| 2.0 * macs / peak)
        } else {
            Some(0.0)
        }
    };
    let f32_macs = macs_per_update(Precision::F32);
    let bf16_macs = macs_per_update(Precision::Bf16);
    let f32_seconds = least_seconds(Precision::F32, f32_macs);
    let bf16_seconds = least_seconds(Precision::Bf16, bf16_macs);
    let least_seconds = f32_seconds.zip(bf16_seconds).map(|(f32, bf16)| f32 + bf16);
    json!({
        "f32_gflops": roofline.f32.map(|rate| rate / 1e9),
        "bf16_gflops": roofline.bf16.map(|rate| rate / 1e9),
        "read_gb_per_second": roofline.read / 1e9,
        "macs": f32_macs + bf16_macs,
        "seconds": least_seconds,
        "share": least_seconds.map(|least| least / seconds),
    })
}

/// Formats the JSON of [`share`].
pub(super) fn text(share: &Value) -> String {
    let number = |key: &str| share[key].as_f64();
    let peak = |name: &str, key: &str| match number(key) {
        Some(rate) => format!(", {name} {rate:.0} GFLOP/s"),
        None => String::new(),
    };
    let best = match (number("seconds"), number("share")) {
        (Some(seconds), Some(share)) => {
            format!(" in {seconds:.4} s at best: {:.0} %", 100.0 * share)
        }
        _ => String::new(),
    };
    format!(
        "floor   {:.2} GMAC an update{best}\nmachine reads {:.1} GB/s{}{}\n",
        number("macs").unwrap_or(0.0) / 1e9,
        number("read_gb_per_second").unwrap_or(0.0),
        peak("f32", "f32_gflops"),
        peak("bf16", "bf16_gflops"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_follows_its_formula() {
        let roofline = Roofline {
            f32: Some(100e9),
            bf16: Some(200e9),
            read: 1e9,
        };
        let products = |precision, macs| ("node", Measurement::Products { precision, macs });
        let measured = [
            products(Precision::F32, 20_000_000_000),
            products(Precision::Bf16, 40_000_000_000),
        ];
        // In each of 2 updates, 10 G at 100 GFLOP/s take 0.2 s, and so do 20 G at 200 GFLOP/s.
        let found = share(&roofline, &measured, 2, 0.8);
        assert_eq!(found["macs"], json!(3e10));
        assert_eq!(found["seconds"], json!(0.4));
        assert_eq!(found["share"], json!(0.5));
        let without_bf16 = Roofline {
            bf16: None,
            ..roofline
        };
        let found = share(&without_bf16, &measured, 2, 0.8);
        assert_eq!(found["seconds"], Value::Null);
        assert_eq!(found["share"], Value::Null);
    }
}
