//! What a teacher gives for one layer of one utterance: the unit that a cache stores.

/// One layer of one row: frames x width floats, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub frames: u32,
    pub values: Vec<f32>,
}

impl Entry {
    /// None if the floats are not frames x width of them.
    pub fn width(&self) -> Option<u32> {
        let (frames, floats) = (self.frames as usize, self.values.len());
        let width = floats.checked_div(frames).unwrap_or(0);
        (frames * width == floats).then_some(width as u32)
    }
}
