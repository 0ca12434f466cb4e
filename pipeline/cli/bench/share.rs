//! How near an update comes to the machine's floor:
//! share = Σ 2 M_p / peak_p / seconds of an update, M_p the multiply-accumulates of products of precision p.
use compute::gemm::Precision;
use compute::roofline::Floor;
use nodes::node::report::Measurement;
use serde_json::{Value, json};

/// `told` in so many `updates`, of so many `seconds` each in the mean. Without a peak there is no share: null.
pub fn of(floor: &Floor, told: &[(&str, Measurement)], updates: usize, seconds: f64) -> Value {
    let macs = |of: Precision| {
        let products = |(_, told): &(_, Measurement)| match *told {
            Measurement::Products { precision, macs } if precision == of => macs,
            _ => 0,
        };
        told.iter().map(products).sum::<u64>() as f64 / updates as f64
    };
    let both = [Precision::F32, Precision::Bf16];
    let least = |p: Precision| {
        if macs(p) > 0.0 {
            floor.peak(p).map(|peak| 2.0 * macs(p) / peak)
        } else {
            Some(0.0)
        }
    };
    let least: Option<f64> = both.map(least).into_iter().sum();
    json!({
        "f32_gflops": floor.f32.map(|rate| rate / 1e9),
        "bf16_gflops": floor.bf16.map(|rate| rate / 1e9),
        "read_gb_per_second": floor.read / 1e9,
        "macs": both.map(macs).iter().sum::<f64>(),
        "seconds": least,
        "share": least.map(|least| least / seconds),
    })
}

pub fn text(floor: &Value) -> String {
    let number = |key: &str| floor[key].as_f64();
    let peak = |name, key| number(key).map(|rate| format!(", {name} {rate:.0} GFLOP/s"));
    let share = number("seconds")
        .zip(number("share"))
        .map(|(s, share)| format!(" in {s:.4} s at best: {:.0} %", 100.0 * share));
    format!(
        "floor   {:.2} GMAC an update{}\nmachine reads {:.1} GB/s{}{}\n",
        number("macs").unwrap_or(0.0) / 1e9,
        share.unwrap_or_default(),
        number("read_gb_per_second").unwrap_or(0.0),
        peak("f32", "f32_gflops").unwrap_or_default(),
        peak("bf16", "bf16_gflops").unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_its_formula() {
        let floor = Floor {
            f32: Some(100e9),
            bf16: Some(200e9),
            read: 1e9,
        };
        let did = |precision, macs| ("node", Measurement::Products { precision, macs });
        let told = [
            did(Precision::F32, 20_000_000_000),
            did(Precision::Bf16, 40_000_000_000),
        ];
        // Of each of 2 updates: 10 G at 100 GFLOP/s are 0.2 s, 20 G at 200 are as much.
        let found = of(&floor, &told, 2, 0.8);
        assert_eq!(
            (&found["macs"], &found["seconds"], &found["share"]),
            (&json!(3e10), &json!(0.4), &json!(0.5))
        );
        let without = of(
            &Floor {
                bf16: None,
                ..floor
            },
            &told,
            2,
            0.8,
        );
        assert_eq!(
            (&without["seconds"], &without["share"]),
            (&Value::Null, &Value::Null)
        );
    }
}
