//! Warns of a student that reads rows from their beginning alone behind a front end that sees them whole.
use super::Options;
use crate::model::{Architecture, ExtractNorm, FrontEnd};

impl Options {
    /// Returns what sees a whole row in front of an LSTM of one direction, and what to use in its place.
    pub(super) fn look_ahead_warning(&self, architecture: &Architecture) -> Option<String> {
        let is_causal = architecture.is_lstm() && !architecture.lstm_bidirectional;
        if !is_causal || architecture.front_end != FrontEnd::Waveform {
            return None;
        }
        let group_norm = architecture.feat_extract_norm == ExtractNorm::Group;
        // Where `init` names a folder, its file says it when the run opens it.
        let normalizes = self.normalize.unwrap_or(self.init.is_none() && !group_norm);
        let (cause, remedy) = if group_norm {
            (
                "the group norm of its first convolution",
                "`\"feat_extract_norm\": \"layer\"` with `\"normalize\": false`",
            )
        } else if normalizes {
            (
                "the normalisation of its waveforms",
                "`\"normalize\": false`",
            )
        } else {
            return None;
        };
        Some(format!(
            "its LSTM reads a row from its beginning alone, but {cause} sees the row whole, so it cannot \
             run on a stream; with {remedy} it sees nothing ahead, over log-mel frames 20 ms"
        ))
    }
}
