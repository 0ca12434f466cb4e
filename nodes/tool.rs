//! What commands of the program do with models outside of a graph.
pub mod export;
pub mod extract;
pub mod inspect;
pub mod layers;
pub mod manifest;
pub mod model_options;
pub mod probe;
pub mod tap;
pub mod timing;
