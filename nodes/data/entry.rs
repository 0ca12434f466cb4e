//! Features of one layer of one utterance: the unit that a cache stores.

/// The features of one layer of one row, (frames, width) row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The number of frames.
    pub frames: u32,
    /// The features, frame by frame.
    pub values: Vec<f32>,
}

impl Entry {
    /// Returns whether all values are finite.
    pub fn is_finite(&self) -> bool {
        self.values.iter().all(|x| x.is_finite())
    }

    /// Returns the number of values per frame, or `None` if they do not divide evenly among the
    /// frames.
    pub fn width(&self) -> Option<u32> {
        let frames = self.frames as usize;
        let width = self.values.len().checked_div(frames).unwrap_or(0);
        (frames * width == self.values.len()).then_some(width as u32)
    }
}
