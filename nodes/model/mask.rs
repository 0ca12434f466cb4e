//! What a model must have for frames to be hidden from it: an embedding that stands in their place, and frames where the
//! masks have them.
use super::Architecture;

/// The tensor that stands in for masked frames, after the feature projection.
pub const MASK_EMBEDDING: &str = "masked_spec_embed";

impl Architecture {
    /// As transformers: there is an embedding exactly when something may be masked.
    pub fn has_mask_embedding(&self) -> bool {
        self.mask_time_prob > 0.0 || self.mask_feature_prob > 0.0
    }
    /// Why no frame can be hidden from such a model, if that is so.
    pub fn mask_wrong(&self) -> Option<&'static str> {
        if !self.has_mask_embedding() {
            return Some(
                "the model has no mask embedding: its `mask_time_prob` and `mask_feature_prob` are 0",
            );
        }
        let hubert = Architecture::default();
        (self.reach() != hubert.reach())
            .then_some("a mask has frames of 400 samples every 320, this model has others")
    }
    /// Samples of a frame, and from one frame to the next.
    fn reach(&self) -> (usize, usize) {
        let grow = |(size, step): (usize, usize), (k, s): (&usize, &usize)| {
            (
                size.saturating_add((k - 1).saturating_mul(step)),
                step.saturating_mul(*s),
            )
        };
        self.conv_kernel
            .iter()
            .zip(&self.conv_stride)
            .fold((1, 1), grow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_where_masks_have_them() {
        let hubert = Architecture::default();
        assert_eq!((hubert.reach(), hubert.mask_wrong()), ((400, 320), None));
        let finer = Architecture {
            conv_stride: vec![5, 2, 2, 2, 2, 2, 1],
            ..hubert.clone()
        };
        assert!(
            finer
                .mask_wrong()
                .is_some_and(|says| says.contains("every 320"))
        );
        let bare = Architecture {
            mask_time_prob: 0.0,
            ..hubert
        };
        assert!(
            bare.mask_wrong()
                .is_some_and(|says| says.contains("no mask embedding"))
        );
    }
}
