//! How long a recipe takes on this machine: what a phase needs, and what `bench` measured of it.
pub mod needs;
pub mod record;
pub mod records;
