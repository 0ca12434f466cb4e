pub mod extract;
pub mod inspect;
pub mod probe;
pub mod tap;
