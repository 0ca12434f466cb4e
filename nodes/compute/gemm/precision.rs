//! The precision that the operands of a product are rounded to; its sums are f32 in any case.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    #[default]
    F32,
    /// 11 significant bits, on a GPU; a CPU computes in f32.
    Tf32,
    /// 8 significant bits, to the nearest, ties to even; computed on a GPU, and by a CPU that has `avx512_bf16`.
    Bf16,
}

impl Precision {
    /// Returns the precision that this build computes in if asked for this one.
    pub fn on_device(self) -> Precision {
        if cfg!(feature = "cuda") {
            self
        } else {
            self.on_cpu()
        }
    }

    /// Returns the precision that this CPU computes in: f32 where it cannot multiply in bf16.
    pub fn on_cpu(self) -> Precision {
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx512 = crate::parallel::Vectors::detect() == crate::parallel::Vectors::Avx512;
            if self == Precision::Bf16 && has_avx512 && is_x86_feature_detected!("avx512bf16") {
                return Precision::Bf16;
            }
        }
        Precision::F32
    }

    /// Returns a warning for the user if this build computes in another precision, or in one that
    /// leaves most of a GPU idle.
    pub fn warning(self) -> Option<String> {
        if cfg!(feature = "cuda") && self == Precision::F32 {
            return Some(
                "option `precision`: f32 does not use a GPU's tensor cores; \"bf16\" is several \
                 times as fast"
                    .into(),
            );
        }
        let lacks = if self == Precision::Tf32 {
            "tf32 on a CPU"
        } else {
            "avx512_bf16 on this machine"
        };
        (self != self.on_device())
            .then(|| format!("option `precision`: no {lacks}: it computes in f32"))
    }
}

#[cfg(all(test, not(feature = "cuda")))]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_computes_tf32_in_f32_and_warns() {
        assert_eq!(Precision::Tf32.on_device(), Precision::F32);
        assert!(
            Precision::Tf32
                .warning()
                .is_some_and(|warning| warning.contains("no tf32 on a CPU"))
        );
        assert_eq!(Precision::F32.warning(), None);
    }
}
