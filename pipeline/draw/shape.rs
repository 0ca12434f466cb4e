//! The shapes that a layout consists of, in pixels.

/// A box; y counts downwards.
#[derive(Clone, Copy)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Rect {
    /// Returns the x of the middle.
    pub(super) fn middle(&self) -> f64 {
        self.x + self.width / 2.0
    }
    /// Returns the y of the bottom.
    pub(super) fn bottom(&self) -> f64 {
        self.y + self.height
    }
}

/// A vertical piece of an edge.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    pub(super) x: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

/// An edge: vertical segments from its first to its last end, joined by curves.
pub(super) type EdgePath = Vec<Segment>;
