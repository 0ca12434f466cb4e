//! Checks the options of a source.
use super::Options;
use super::crop::Crop;
use super::order::Order;
use crate::data::{manifest, store};
use crate::node::OptionError;
use std::path::Path;

/// The longest batch, a day; far below the 31 bits in which a batch's samples are counted.
const MAX_BATCH_SECONDS: f64 = 86_400.0;

impl Options {
    /// Returns everything that is wrong with the options.
    pub(super) fn errors(&self) -> Vec<OptionError> {
        let mut errors = vec![];
        for (option, manifest) in [
            ("manifest", Some(&self.manifest)),
            ("dev", self.dev.as_ref()),
        ] {
            let unsupported = manifest.and_then(|manifest| store::unsupported(Path::new(manifest)));
            if let Some(reason) = unsupported {
                let message = format!("`{option}`: {reason}");
                errors.push(OptionError::at(option, message));
            } else if !manifest.is_none_or(|manifest| manifest::is_known(manifest)) {
                let message = format!(
                    "`{option}` is no `*.tsv`, `wav.scp`, `*.jsonl`, `*.jsonl.gz`, `*.parquet` or \
                     folder"
                );
                errors.push(OptionError::at(option, message));
            }
        }
        let lengths = [
            ("seconds_per_batch", self.seconds_per_batch),
            ("bucket_seconds", self.bucket_seconds),
        ];
        for (option, seconds) in lengths {
            if !(seconds > 0.0 && seconds <= MAX_BATCH_SECONDS) {
                let message = format!("`{option}` must be above 0 and at most {MAX_BATCH_SECONDS}");
                errors.push(OptionError::at(option, message));
            }
        }
        errors.extend(OptionError::unless(
            self.rows_per_batch != Some(0),
            "rows_per_batch",
            "must be at least 1, or null",
        ));
        errors.extend(self.window_error());
        errors.extend(self.order.errors());
        errors.extend(OptionError::unless(
            self.rows_per_batch.is_none() || self.order == Order::default(),
            "order",
            "`rows_per_batch` draws the rows of each epoch anew, and so has no order of batches",
        ));
        if !(0.0..=MAX_BATCH_SECONDS).contains(&self.min_seconds) {
            let message =
                format!("`min_seconds` must be at least 0 and at most {MAX_BATCH_SECONDS}");
            errors.push(OptionError::at("min_seconds", message));
        }
        if let Some(max) = self.max_seconds
            && !(max.is_finite() && max >= self.min_seconds)
        {
            let message = "`max_seconds` must not be below `min_seconds`";
            errors.push(OptionError::at("max_seconds", message));
        }
        errors
    }

    /// Checks that `window_seconds` is there exactly with windows.
    fn window_error(&self) -> Option<OptionError> {
        match (self.window_seconds, self.crop) {
            (Some(seconds), Crop::Window) => OptionError::unless(
                seconds > 0.0 && seconds <= MAX_BATCH_SECONDS,
                "window_seconds",
                format!("must be above 0 and at most {MAX_BATCH_SECONDS}"),
            ),
            (Some(_), _) => Some(OptionError::option(
                "window_seconds",
                "is for the crop \"window\"",
            )),
            (None, Crop::Window) => Some(OptionError::option(
                "crop",
                "\"window\" needs the option `window_seconds`",
            )),
            (None, _) => None,
        }
    }
}
