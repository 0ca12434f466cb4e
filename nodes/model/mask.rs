//! Whether frames of a model can be masked.
use super::Architecture;

impl Architecture {
    /// As in transformers, a model has a mask embedding exactly if its config masks anything; one
    /// with an LSTM has none.
    pub fn has_mask_embedding(&self) -> bool {
        !self.is_lstm() && (self.mask_time_prob > 0.0 || self.mask_feature_prob > 0.0)
    }

    /// Leaves the mask embedding out, since the model's folder has none.
    pub(super) fn remove_mask_embedding(&mut self) {
        self.mask_time_prob = 0.0;
        self.mask_feature_prob = 0.0;
    }

    /// Returns why no frame of the model can be masked, if that is so.
    pub fn mask_problem(&self) -> Option<&'static str> {
        if self.is_lstm() {
            return Some("the model's layers are an LSTM, which has no mask embedding");
        }
        if !self.has_mask_embedding() {
            return Some(
                "the model has no mask embedding: its `mask_time_prob` and `mask_feature_prob` \
                 are 0, or there is no tensor `masked_spec_embed`",
            );
        }
        let hubert = Architecture::default();
        (self.window_and_hop() != hubert.window_and_hop())
            .then_some("a mask has frames of 400 samples every 320, this model has others")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_need_an_embedding_and_hubert_frames() {
        let hubert = Architecture::default();
        assert_eq!(hubert.window_and_hop(), (400, 320));
        assert_eq!(hubert.mask_problem(), None);
        let finer = Architecture {
            conv_stride: vec![5, 2, 2, 2, 2, 2, 1],
            ..hubert.clone()
        };
        let problem = finer.mask_problem().expect("other frames");
        assert!(problem.contains("every 320"));
        let bare = Architecture {
            mask_time_prob: 0.0,
            ..hubert
        };
        let problem = bare.mask_problem().expect("no embedding");
        assert!(problem.contains("no mask embedding"));
    }
}
